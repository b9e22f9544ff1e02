// Bytes in and out of a guest, a piece at a time.

import { getStdout } from "wasi:cli/stdout@0.2.10";
import { getDirectories } from "wasi:filesystem/preopens@0.2.10";

// The pieces of a body as they arrive.
export async function* pieces(body) {
  const reader = body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    yield value;
  }
}

// Prints text, or bytes as they are: console.log would end each with a line.
export function print(what) {
  const bytes = typeof what === "string" ? new TextEncoder().encode(what) : what;
  const stdout = getStdout();
  // No more fits into one call.
  const most = 4096;
  for (let from = 0; from < bytes.length; from += most) {
    stdout.blockingWriteAndFlush(bytes.subarray(from, from + most));
  }
  stdout[Symbol.dispose]();
}

// Makes a file, within a directory that the guest may use, and gives what writes to it.
export function create(path) {
  for (const [directory, name] of getDirectories()) {
    const prefix = name.endsWith("/") ? name : `${name}/`;
    if (!path.startsWith(prefix)) continue;
    const file = directory.openAt({}, path.slice(prefix.length), { create: true, truncate: true }, { write: true });
    let offset = 0n;
    return (bytes) => {
      while (bytes.length > 0) {
        const written = file.write(bytes, offset);
        offset += written;
        bytes = bytes.subarray(Number(written));
      }
    };
  }
  throw new Error(`no directory for ${path} was opened`);
}
