import { ErrorCode, HttpError } from "./error";
import { Headers } from "./headers";
import * as raw from "./raw";
import { StatusCode } from "./status";

/** How many bytes of a body are asked for at a time, where the caller does not say. */
const CHUNK: i32 = 16 * 1024;

/** The size of the buffer that headers are read into at first. */
const HEADERS: i32 = 4 * 1024;

/** The size at which a host that still asks for more room is not believed. */
const HEADERS_MAX: i32 = 16 * 1024 * 1024;

/** The largest body that `bytes` reads: the largest buffer that AssemblyScript makes has hardly more room. */
const BODY_MAX: i32 = (1 << 30) - 64;

/** Where the host writes the count of bytes. */
const written = memory.data(4, 4);

/**
 * The answer to a request, or the reason that there is none: then `error` is set, the status is 0, and there are no
 * headers and no body.
 *
 * The body is read as it comes. A response that is neither read to its end nor closed takes one of the open responses
 * that the guest may have.
 */
export class Response {
  /** The status code. */
  readonly status: StatusCode;

  private failure: HttpError | null;
  private handle: u32;
  private open: bool;
  private received: Headers | null = null;

  /** Wraps a handle of the ABI, or the code that came in place of one. */
  constructor(status: u16, handle: u32, code: ErrorCode = ErrorCode.SUCCESS) {
    this.status = <StatusCode>status;
    this.handle = handle;
    this.open = code == ErrorCode.SUCCESS;
    this.failure = this.open ? null : new HttpError(code);
  }

  /** What went wrong last: with the request, or with reading from the response. */
  get error(): HttpError | null {
    return this.failure;
  }

  /** Whether there is an answer and its status says success. */
  get ok(): bool {
    const status = <i32>this.status;
    return this.failure === null && status >= 200 && status < 300;
  }

  /** All headers. They are read once, at the latest when the response is closed by `bytes` or `text`. */
  get headers(): Headers {
    const known = this.received;
    if (known !== null) return known;
    const headers = this.readHeaders();
    if (headers === null) return new Headers();
    this.received = headers;
    return headers;
  }

  /** The first value of a header, or null. */
  header(name: string): string | null {
    return this.headers.get(name);
  }

  /** Reads the next bytes of the body: how many there are now, 0 at the end, -1 if `error` says why not. */
  read(into: Uint8Array): i32 {
    return this.readAt(into.dataStart, into.byteLength);
  }

  /**
   * Reads the rest of the body and closes the response. Null if `error` says why not: a body that is longer than
   * `limit` bytes is `ErrorCode.BUFFER_TOO_SMALL`.
   */
  bytes(limit: i32 = BODY_MAX): Uint8Array | null {
    const body = this.readAll(min(max(limit, 0), BODY_MAX));
    // What can still be asked of a closed response: its headers.
    if (body !== null) this.headers;
    this.close();
    return body;
  }

  /** Reads the rest of the body as `bytes` does, and takes it for UTF-8. */
  text(limit: i32 = BODY_MAX): string | null {
    const bytes = this.bytes(limit);
    return bytes === null ? null : String.UTF8.decodeUnsafe(bytes.dataStart, bytes.byteLength);
  }

  /** Lets go of the response. What is left of the body is lost; closing twice does nothing. */
  close(): void {
    if (!this.open) return;
    this.open = false;
    raw.close(this.handle);
  }

  /** As `read`, into a whole `ArrayBuffer`: 0 at the end, and also where `error` says what failed. */
  bodyRead(buffer: ArrayBuffer): usize {
    return max(this.readAt(changetype<usize>(buffer), buffer.byteLength), 0);
  }

  /** As `bytes`; empty where `error` says what failed. */
  bodyReadAll(): Uint8Array {
    const bytes = this.bytes();
    return bytes === null ? new Uint8Array(0) : bytes;
  }

  /** As `header`, with an empty text for a header that is not there. */
  headerGet(name: string): string {
    const value = this.header(name);
    return value === null ? "" : value;
  }

  /** As `headerGet`. */
  getHeader(name: string): string {
    return this.headerGet(name);
  }

  /** All headers by name; several values of a name are joined by a comma and a space. */
  headerGetAll(): Map<string, string> {
    const map = new Map<string, string>();
    const headers = this.headers;
    const names = headers.keys();
    const values = headers.values();
    for (let index = 0; index < names.length; ++index) {
      const name = names[index];
      map.set(name, map.has(name) ? map.get(name) + ", " + values[index] : values[index]);
    }
    return map;
  }

  /** As `headers`. */
  get headersGetAll(): Headers {
    return this.headers;
  }

  private readAll(limit: i32): Uint8Array | null {
    // One byte more than allowed, by which a body that is too long is known.
    let body = new ArrayBuffer(min(CHUNK, limit + 1));
    let length = 0;
    while (true) {
      if (length > limit) {
        this.failed(ErrorCode.BUFFER_TOO_SMALL);
        return null;
      }
      if (length == body.byteLength) {
        const larger = new ArrayBuffer(min(length * 2, limit + 1));
        memory.copy(changetype<usize>(larger), changetype<usize>(body), length);
        body = larger;
      }
      const count = this.readAt(changetype<usize>(body) + length, body.byteLength - length);
      if (count < 0) return null;
      if (!count) return Uint8Array.wrap(body.slice(0, length));
      length += count;
    }
  }

  private readAt(pointer: usize, length: i32): i32 {
    if (!this.open) return this.failed(ErrorCode.INVALID_HANDLE);
    const code = raw.bodyRead(this.handle, pointer, length, written);
    return code ? this.failed(code) : <i32>min(load<u32>(written), <u32>length);
  }

  private readHeaders(): Headers | null {
    if (!this.open) {
      this.failed(ErrorCode.INVALID_HANDLE);
      return null;
    }
    let length = HEADERS;
    let code: u32;
    do {
      const buffer = new ArrayBuffer(length);
      code = raw.headersGetAll(this.handle, changetype<usize>(buffer), length, written);
      if (!code) {
        const count = <i32>min(load<u32>(written), <u32>length);
        return Headers.parse(String.UTF8.decodeUnsafe(changetype<usize>(buffer), count));
      }
      length *= 2;
    } while (code == ErrorCode.BUFFER_TOO_SMALL && length <= HEADERS_MAX);
    this.failed(code);
    return null;
  }

  /** Keeps the reason, unless there was no answer to begin with: then that stays the reason. */
  private failed(code: ErrorCode): i32 {
    if (<i32>this.status || this.failure === null) this.failure = new HttpError(code);
    return -1;
  }
}
