/** What a call of the ABI answers. */
export enum ErrorCode {
  /** It worked. */
  SUCCESS = 0,
  /** No response has this handle: it was closed. */
  INVALID_HANDLE = 1,
  /** The guest exports no memory. */
  MEMORY_NOT_FOUND = 2,
  /** A range to be written leaves the memory. */
  MEMORY_ACCESS = 3,
  /** What was to be read is longer than the limit given. */
  BUFFER_TOO_SMALL = 4,
  /** The response has no such header. */
  HEADER_NOT_FOUND = 5,
  /** Text that is not Unicode, such as half a surrogate pair. */
  NOT_UTF8 = 6,
  /** The policy that the guest runs under does not allow this origin. */
  DESTINATION_NOT_ALLOWED = 7,
  /** Not a method. */
  INVALID_METHOD = 8,
  /** A header that cannot be sent. */
  INVALID_ENCODING = 9,
  /** Not a URL. */
  INVALID_URL = 10,
  /** Sending the request or receiving the response failed: name, connection, TLS, time limit, size limit. */
  REQUEST_FAILED = 11,
  /** The host failed. */
  HOST_FAILED = 12,
  /** The guest holds as many open responses as it may: close one. */
  TOO_MANY_SESSIONS = 13,
}

/** The failure of a request or of a read. */
export class HttpError extends Error {
  /** Which failure. */
  readonly code: ErrorCode;

  constructor(code: ErrorCode) {
    super(describe(code));
    this.code = code;
    this.name = "HttpError";
  }

  toString(): string {
    return this.message + " (code " + (<i32>this.code).toString() + ")";
  }
}

function describe(code: ErrorCode): string {
  switch (code) {
    case ErrorCode.SUCCESS:
      return "success";
    case ErrorCode.INVALID_HANDLE:
      return "the response is closed";
    case ErrorCode.MEMORY_NOT_FOUND:
      return "the guest exports no memory";
    case ErrorCode.MEMORY_ACCESS:
      return "a buffer lies outside the guest's memory";
    case ErrorCode.BUFFER_TOO_SMALL:
      return "the answer is longer than the limit";
    case ErrorCode.HEADER_NOT_FOUND:
      return "the response has no such header";
    case ErrorCode.NOT_UTF8:
      return "text is not UTF-8";
    case ErrorCode.DESTINATION_NOT_ALLOWED:
      return "the destination is not allowed";
    case ErrorCode.INVALID_METHOD:
      return "invalid method";
    case ErrorCode.INVALID_ENCODING:
      return "invalid header";
    case ErrorCode.INVALID_URL:
      return "invalid URL";
    case ErrorCode.REQUEST_FAILED:
      return "the request failed";
    case ErrorCode.HOST_FAILED:
      return "the host failed";
    case ErrorCode.TOO_MANY_SESSIONS:
      return "too many open responses";
    default:
      return "unknown error";
  }
}
