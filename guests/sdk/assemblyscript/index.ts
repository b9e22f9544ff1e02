/**
 * HTTP for guests of wharf.
 *
 * ```ts
 * import { fetch } from "@wharf/guest";
 *
 * const response = fetch("http://localhost:8080/");
 * const error = response.error;
 * if (error !== null) process.stderr.write(error.toString() + "\n");
 * ```
 *
 * Nothing here aborts: what fails, fails as a value. The names of the package `@deislabs/wasi-experimental-http` are
 * all here, so that its sources compile against this one.
 */
export { ErrorCode, HttpError } from "./assembly/error";
export { Form } from "./assembly/form";
export { Headers } from "./assembly/headers";
export { Method } from "./assembly/method";
export { Request, RequestBuilder, fetch, request } from "./assembly/request";
export { Response } from "./assembly/response";
export { StatusCode } from "./assembly/status";
