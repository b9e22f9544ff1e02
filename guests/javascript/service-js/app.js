// A `wasi:http/service` of WASI 0.3 in JavaScript. The path says what it does:
//
// - /echo sends the request's body back while it arrives, and behind it the request's trailers, and `x-bytes`, their count;
// - /fetch?URL fetches a URL and passes the response on, with its trailers;
// - /send?URL passes the request on to a URL while it arrives, with its trailers, and the response back;
// - any other is greeted.

import client from "wasi:http/client@0.3.0";
import types from "wasi:http/types@0.3.0";

const { Fields, Request, Response } = types;
const { Future, Stream } = wit;
// What becomes of trailers, and of a message: `result<option<trailers>, error-code>` and `result<_, error-code>`.
const TRAILERS = Future.RESULT_OPTION_OTHER_ERROR_CODE;
const DONE = Future.RESULT_VOID_ERROR_CODE;
// The engine has no TextEncoder. All text here is ASCII.
const text = (string) => Uint8Array.from(string, (letter) => letter.charCodeAt(0));

export const handler = {
  async handle(request) {
    const target = request.getPathWithQuery() ?? "/";
    const query = target.indexOf("?");
    const [path, url] = query < 0 ? [target, ""] : [target.slice(0, query), target.slice(query + 1)];
    if (path === "/echo") return echo(request);
    if (path !== "/fetch" && path !== "/send") return say(200, `hello from ${target}\n`);
    try {
      return passedOn(await client.send(requestTo(url, path === "/send" ? request : null)));
    } catch (error) {
      const code = error.payload ?? error;
      return say(502, code.tag === "HTTP-request-denied" ? "denied\n" : "failed\n");
    }
  },
};

function echo(request) {
  const announced = thoseOf(request.getHeaders(), "trailer");
  const [body, trailers] = Request.consumeBody(request, ended(DONE, undefined));
  const { readable, writable } = Stream(Stream.U8);
  const behind = Future(TRAILERS);
  copy(body, trailers, writable, behind.writable);
  const headers = [["content-type", text("application/octet-stream")], ...announced, ["trailer", text("x-bytes")]];
  return respond(200, headers, readable, behind.readable);
}

async function copy(body, trailers, writable, behind) {
  let count = 0;
  for await (const piece of body) {
    count += piece.length;
    if ((await writable.writeAll(piece)) < piece.length) break;
  }
  writable.drop();
  const end = await trailers.read();
  if (end.tag === "ok") {
    const fields = end.val?.clone() ?? new Fields();
    fields.append("x-bytes", text(String(count)));
    end.val = fields;
  }
  await behind.write(end);
  behind.drop();
}

function requestTo(url, original) {
  const [, scheme, authority, path] = /^(\w+):\/\/([^/?]*)(.*)$/.exec(url);
  const headers = original === null ? [] : thoseOf(original.getHeaders(), "trailer");
  const [body, trailers] =
    original === null ? [null, ended(TRAILERS, null)] : Request.consumeBody(original, ended(DONE, undefined));
  const [request] = Request.new(Fields.fromList(headers), body, trailers, null);
  if (original !== null) request.setMethod({ tag: "post" });
  request.setScheme({ tag: scheme === "https" ? "HTTPS" : "HTTP" });
  request.setAuthority(authority);
  request.setPathWithQuery(path);
  return request;
}

function passedOn(response) {
  const status = response.getStatusCode();
  const received = response.getHeaders();
  const headers = [...thoseOf(received, "content-type"), ...thoseOf(received, "trailer")];
  return respond(status, headers, ...Response.consumeBody(response, ended(DONE, undefined)));
}

function say(status, string) {
  const { readable } = Stream.from([text(string)], Stream.U8);
  return respond(status, [["content-type", text("text/plain")]], readable, ended(TRAILERS, null));
}

// The fields of this name.
function thoseOf(headers, name) {
  return headers.get(name).map((value) => [name, value]);
}

// A future that says that all went well.
function ended(type, val) {
  return Future.from({ tag: "ok", val }, type).readable;
}

function respond(status, headers, body, trailers) {
  const [response] = Response.new(Fields.fromList(headers), body, trailers);
  response.setStatusCode(status);
  return response;
}
