// Compiles the modules that the tests run, with the compiler that a guest is built with.

import { execFile } from "node:child_process";
import { cp, mkdtemp, readFile, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createRequire } from "node:module";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const require = createRequire(import.meta.url);

/** The directory that a package was installed into. */
function packageDirectory(name) {
  return dirname(require.resolve(`${name}/package.json`));
}

const compiler = join(packageDirectory("assemblyscript"), "bin/asc.js");

async function compile(directory, source, output, options) {
  const args = [compiler, source, "--outFile", output, ...options];
  await promisify(execFile)(process.execPath, args, { cwd: directory });
}

/** Calls `use` with a new directory, and removes it afterwards. */
async function inScratch(use) {
  const directory = await mkdtemp(join(tmpdir(), "wharf-guest-"));
  try {
    return await use(directory);
  } finally {
    await rm(directory, { recursive: true });
  }
}

/** The functions of `guest.ts`, on a host. */
export async function guest() {
  return inScratch(async (directory) => {
    await compile(root, "tests/guest.ts", join(directory, "guest.wasm"), ["--bindings", "raw"]);
    const { instantiate } = await import(pathToFileURL(join(directory, "guest.js")));
    const module = await WebAssembly.compile(await readFile(join(directory, "guest.wasm")));
    return async (host) => {
      const exports = await instantiate(module, { wasi_experimental_http: host.imports, env: {} });
      host.memory = exports.memory;
      return exports;
    };
  });
}

/** The functions of `published.ts` on a host, and what they print. */
export async function published(host) {
  const wasm = await inScratch(async (directory) => {
    const modules = join(directory, "node_modules");
    await cp(join(root, "tests/published.ts"), join(directory, "published.ts"));
    await cp(join(root, "assembly"), join(modules, "@deislabs/wasi-experimental-http/assembly"), { recursive: true });
    await cp(join(root, "index.ts"), join(modules, "@deislabs/wasi-experimental-http/index.ts"));
    await symlink(packageDirectory("as-wasi"), join(modules, "as-wasi"));
    await symlink(dirname(packageDirectory("@assemblyscript/wasi-shim")), join(modules, "@assemblyscript"));
    const config = "node_modules/@assemblyscript/wasi-shim/asconfig.json";
    await compile(directory, "published.ts", "published.wasm", ["--config", config, "--exportStart", "_initialize"]);
    return readFile(join(directory, "published.wasm"));
  });
  const printed = { text: "" };
  const preview1 = {
    fd_write(fd, vectors, count, written) {
      const view = new DataView(host.memory.buffer);
      let total = 0;
      for (let index = 0; index < count; ++index) {
        const length = view.getUint32(vectors + 8 * index + 4, true);
        printed.text += host.text(view.getUint32(vectors + 8 * index, true), length);
        total += length;
      }
      view.setUint32(written, total, true);
      return 0;
    },
    proc_exit(code) {
      throw new Error(`the guest exited with ${code}: ${printed.text}`);
    },
  };
  const { instance } = await WebAssembly.instantiate(wasm, {
    wasi_experimental_http: host.imports,
    wasi_snapshot_preview1: preview1,
  });
  host.memory = instance.exports.memory;
  instance.exports._initialize();
  return { exports: instance.exports, printed };
}
