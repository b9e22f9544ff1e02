// HTTP from a guest in JavaScript, on what browsers and servers share: fetch(), the fetch event and streams. A component
// that is a command and a server, with a file for each way:
//
//     wharf run http-js.wasm fetch URL [METHOD [BODY]] [NAME:VALUE]...
//     wharf run http-js.wasm form URL [NAME=VALUE]...
//     wharf run http-js.wasm download URL [FILE]
//     wharf serve -e UPSTREAM=ORIGIN http-js.wasm     a proxy
//     wharf serve http-js.wasm                        a server

import { getArguments, getEnvironment } from "wasi:cli/environment@0.2.10";
import { exitWithCode } from "wasi:cli/exit@0.2.10";

import { download } from "./download.js";
import { fetchOne } from "./fetch.js";
import { form } from "./form.js";
import { proxy } from "./proxy.js";
import { answer } from "./server.js";

const commands = new Map([
  ["fetch", fetchOne],
  ["form", form],
  ["download", download],
]);

// What `wharf run` calls. A promise that it returns is waited for; what is thrown is exit code 1.
export const run = {
  async run() {
    const [, name, ...args] = getArguments();
    const command = commands.get(name);
    if (command === undefined || args.length === 0) {
      console.error("usage: http-js fetch|form|download URL ...");
      exitWithCode(2);
    }
    try {
      await command(args);
    } catch (error) {
      // In one line, whatever it tells of.
      console.error(`http-js: ${error.message.trim().replaceAll("\n", "\\n")}`);
      throw undefined;
    }
  },
};

// What `wharf serve` calls.
addEventListener("fetch", (event) => {
  const upstream = new Map(getEnvironment()).get("UPSTREAM");
  event.respondWith(upstream === undefined ? answer(event.request) : proxy(event.request, upstream));
});
