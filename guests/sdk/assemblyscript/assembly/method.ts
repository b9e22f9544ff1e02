/** The methods that have a name here; `Request.methodName` takes any other. */
export enum Method {
  GET,
  HEAD,
  POST,
  PUT,
  DELETE,
  CONNECT,
  OPTIONS,
  TRACE,
  PATCH,
  /** A method that is none of the above. */
  EXTENSION,
}

const NAMES: StaticArray<string> = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/** The name of a method, as it is sent; empty for `Method.EXTENSION`. */
export function nameOf(method: Method): string {
  return <u32>method < <u32>NAMES.length ? NAMES[method] : "";
}

/** The method of this name. */
export function methodOf(name: string): Method {
  for (let index = 0; index < NAMES.length; ++index) {
    if (NAMES[index] == name) return <Method>index;
  }
  return Method.EXTENSION;
}
