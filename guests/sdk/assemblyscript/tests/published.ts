// A program as the documentation of `@deislabs/wasi-experimental-http` shows it. It compiles unchanged where that name
// stands for this package; only the path of `as-wasi` is another one, as today's compiler wants it.

// @ts-ignore
import { Console } from "as-wasi/assembly";
import { Method, RequestBuilder, Response } from "@deislabs/wasi-experimental-http";

export function post(): void {
  let body = String.UTF8.encode("testing the body");
  let res = new RequestBuilder("http://localhost/post")
    .header("Content-Type", "text/plain")
    .header("abc", "def")
    .method(Method.POST)
    .body(body)
    .send();

  print(res);
}

export function remove(): void {
  let res = new RequestBuilder("http://localhost/item").method(Method.DELETE).send();
  check(res, 204, "x-time");
  res.close();
}

function print(res: Response): void {
  Console.log(res.status.toString());
  Console.log(res.getHeader("Content-Type"));
  Console.log(res.headersGetAll.toString());
  let result = String.UTF8.decode(res.bodyReadAll().buffer);
  Console.log(result);
}

function check(res: Response, expectedStatus: u32, expectedHeader: string): void {
  if (res.status != expectedStatus) {
    Console.write("expected status " + expectedStatus.toString() + " got " + res.status.toString());
    abort();
  }
  let headerValue = res.headerGet(expectedHeader);
  if (!headerValue) {
    abort();
  }
  Console.log(headerValue);
  let headers = res.headerGetAll();
  if (headers.size == 0) {
    abort();
  }
}
