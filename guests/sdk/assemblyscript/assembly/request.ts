import { ErrorCode } from "./error";
import { Headers } from "./headers";
import { Method, methodOf, nameOf } from "./method";
import * as raw from "./raw";
import { Response } from "./response";

/** A request. */
export class Request {
  /** The URL, with its scheme. */
  url: string;
  /** The method as it is sent: one of `Method`, or any other token. Methods are case-sensitive. */
  methodName: string;
  /** The headers. */
  headers: Headers = new Headers();
  /** The body; empty for none. */
  body: ArrayBuffer;

  constructor(
    url: string,
    method: Method = Method.GET,
    headers: Map<string, string> | null = null,
    body: ArrayBuffer = new ArrayBuffer(0)
  ) {
    this.url = url;
    this.methodName = nameOf(method);
    this.body = body;
    if (headers !== null) {
      const names = headers.keys();
      for (let index = 0; index < names.length; ++index) this.headers.append(names[index], headers.get(names[index]));
    }
  }

  /** The method, `Method.EXTENSION` for one that has no name here. */
  get method(): Method {
    return methodOf(this.methodName);
  }

  set method(method: Method) {
    this.methodName = nameOf(method);
  }

  /** Sends the request and waits for the head of the response. `error` of what comes back says if there is none. */
  send(): Response {
    return send(this);
  }
}

/** Builds a request step by step, and sends it. */
export class RequestBuilder {
  private request: Request;

  constructor(url: string) {
    this.request = new Request(url);
  }

  /** Sets the method. */
  method(method: Method): this {
    this.request.method = method;
    return this;
  }

  /** Sets the method to one that `Method` does not name, such as `PROPFIND`. */
  methodName(name: string): this {
    this.request.methodName = name;
    return this;
  }

  /** Sets a header, in place of any of that name. */
  header(name: string, value: string): this {
    this.request.headers.set(name, value);
    return this;
  }

  /** Adds a header, and keeps those of that name. */
  append(name: string, value: string): this {
    this.request.headers.append(name, value);
    return this;
  }

  /** Sets the body. */
  body(body: ArrayBuffer): this {
    this.request.body = body;
    return this;
  }

  /** Sets the body to a text, as UTF-8. */
  text(text: string): this {
    return this.body(String.UTF8.encode(text));
  }

  /** Sends the request and waits for the head of the response. `error` of what comes back says if there is none. */
  send(): Response {
    return send(this.request);
  }
}

/** Sends a request, as `Request.send` does. */
export function request(request: Request): Response {
  return send(request);
}

/** Gets what a URL names. */
export function fetch(url: string): Response {
  return send(new Request(url));
}

/** Where the host writes the status, a `u16`, and the handle, a `u32`. */
const statusOut = memory.data(2, 2);
const handleOut = memory.data(4, 4);

function send(request: Request): Response {
  // A line feed in a header would make two of it, a colon in its name would move the value's beginning.
  if (!request.headers.sendable) return new Response(0, 0, ErrorCode.INVALID_ENCODING);
  const url = String.UTF8.encode(request.url);
  const method = String.UTF8.encode(request.methodName);
  const headers = String.UTF8.encode(request.headers.toString());
  const body = request.body;
  const code = raw.req(
    changetype<usize>(url),
    url.byteLength,
    changetype<usize>(method),
    method.byteLength,
    changetype<usize>(headers),
    headers.byteLength,
    changetype<usize>(body),
    body.byteLength,
    statusOut,
    handleOut
  );
  return code
    ? new Response(0, 0, <ErrorCode>code)
    : new Response(load<u16>(statusOut), load<u32>(handleOut));
}
