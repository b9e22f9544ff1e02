// What the tests call: the package's classes, as functions that the generated bindings can pass through.

import { Form, Headers, Method, Request, RequestBuilder, Response, fetch, request } from "../index";

export function open(url: string, method: string, names: string[], values: string[], body: Uint8Array): Response {
  const builder = new RequestBuilder(url).methodName(method);
  for (let index = 0; index < names.length; ++index) builder.append(names[index], values[index]);
  return builder.body(body.buffer.slice(body.byteOffset, body.byteOffset + body.byteLength)).send();
}

export function get(url: string): Response {
  return fetch(url);
}

/** Sends a request with each named method; `-1` stands for none of them. */
export function send(url: string, method: i32, name: string, value: string): Response {
  const headers = new Map<string, string>();
  headers.set(name, value);
  return request(new Request(url, <Method>method, headers, String.UTF8.encode("text")));
}

export function methodAfter(name: string): i32 {
  const one = new Request("");
  one.methodName = name;
  return one.method;
}

export function status(response: Response): i32 {
  return response.status;
}

export function ok(response: Response): bool {
  return response.ok;
}

/** The code of the last error, 0 for none. */
export function errorCode(response: Response): i32 {
  const error = response.error;
  return error === null ? 0 : error.code;
}

export function errorText(response: Response): string | null {
  const error = response.error;
  return error === null ? null : error.toString();
}

export function header(response: Response, name: string): string | null {
  return response.header(name);
}

export function headerGet(response: Response, name: string): string {
  return response.headerGet(name);
}

export function headerValues(response: Response, name: string): string[] {
  return response.headers.getAll(name);
}

export function headerLines(response: Response): string {
  return response.headersGetAll.toString();
}

export function joined(response: Response, name: string): string | null {
  const all = response.headerGetAll();
  return all.has(name) ? all.get(name) : null;
}

/** What the next read gives; null if it fails. */
export function read(response: Response, room: i32): Uint8Array | null {
  const buffer = new Uint8Array(room);
  const count = response.read(buffer);
  return count < 0 ? null : buffer.slice(0, count);
}

export function bodyRead(response: Response, room: i32): i32 {
  return <i32>response.bodyRead(new ArrayBuffer(room));
}

export function bodyReadAll(response: Response): Uint8Array {
  return response.bodyReadAll();
}

export function bytes(response: Response, limit: i32): Uint8Array | null {
  return response.bytes(limit);
}

export function text(response: Response): string | null {
  return response.text();
}

export function close(response: Response): void {
  response.close();
}

/** The names and values of headers after they were written as lines and read again. */
export function throughLines(names: string[], values: string[]): string[] {
  const headers = new Headers();
  for (let index = 0; index < names.length; ++index) headers.append(names[index], values[index]);
  const again = Headers.parse(headers.toString());
  return again.keys().concat(again.values());
}

/** `set`, `delete` and `has` on headers that have a name twice, in two spellings. */
export function edited(action: string): string {
  const headers = new Headers().append("A", "1").append("b", "2").append("a", "3");
  if (action == "set") headers.set("a", "4");
  if (action == "delete") headers.delete("a");
  return headers.size.toString() + " " + headers.has("a").toString() + "\n" + headers.toString();
}

export function form(names: string[], values: string[]): string {
  const fields = new Form();
  for (let index = 0; index < names.length; ++index) fields.append(names[index], values[index]);
  return fields.toString();
}
