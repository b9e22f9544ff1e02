// An HTTP handler, on the interfaces of `wit/world.wit`: the engine has no `fetch`. Bodies are streams, trailers futures.

import types from "wasi:http/types@0.3.0";

const { Fields, Request, Response } = types;
const { Future, Stream } = wit;
// What is behind a body, and what becomes of a message: `result<option<trailers>, error-code>`, `result<_, error-code>`.
const TRAILERS = Future.RESULT_OPTION_OTHER_ERROR_CODE;
const DONE = Future.RESULT_VOID_ERROR_CODE;

export const handler = {
  async handle(request) {
    const [path] = (request.getPathWithQuery() ?? "/").split("?");
    switch (path) {
      case "/echo":
        // The body goes back while it arrives, and its trailers behind it.
        return respond(200, "application/octet-stream", ...Request.consumeBody(request, allWell(DONE)));
      default:
        return text(200, `hello from ${path}\n`);
    }
  },
};

function text(status, string) {
  const { readable } = Stream.from([bytes(string)], Stream.U8);
  return respond(status, "text/plain", readable, allWell(TRAILERS, null));
}

function respond(status, type, body, trailers) {
  const [response] = Response.new(Fields.fromList([["content-type", bytes(type)]]), body, trailers);
  response.setStatusCode(status);
  return response;
}

// A future that says that all went well.
function allWell(type, val) {
  return Future.from({ tag: "ok", val }, type).readable;
}

// Text as UTF-8: the engine has no TextEncoder.
function bytes(string) {
  return Uint8Array.from(unescape(encodeURIComponent(string)), (letter) => letter.charCodeAt(0));
}
