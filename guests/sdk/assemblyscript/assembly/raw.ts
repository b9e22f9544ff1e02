/**
 * The functions of the `wasi_experimental_http` ABI that this package uses. Every one answers an `ErrorCode`; pointers
 * are addresses in this module's memory.
 */

/** Sends a request; `status` gets a `u16` and `handle` a `u32` once the head of the response is there. */
// @ts-ignore: decorator
@external("wasi_experimental_http", "req")
export declare function req(
  url: usize,
  urlLength: usize,
  method: usize,
  methodLength: usize,
  headers: usize,
  headersLength: usize,
  body: usize,
  bodyLength: usize,
  status: usize,
  handle: usize
): u32;

/** Forgets a response. */
// @ts-ignore: decorator
@external("wasi_experimental_http", "close")
export declare function close(handle: u32): u32;

/** Copies all headers, a `name:value` line each, or nothing where the buffer is too small; `written` gets a `u32`. */
// @ts-ignore: decorator
@external("wasi_experimental_http", "headers_get_all")
export declare function headersGetAll(handle: u32, buffer: usize, length: usize, written: usize): u32;

/** Copies the next bytes of the body, none at its end; `written` gets a `u32`. */
// @ts-ignore: decorator
@external("wasi_experimental_http", "body_read")
export declare function bodyRead(handle: u32, buffer: usize, length: usize, written: usize): u32;
