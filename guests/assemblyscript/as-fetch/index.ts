// `as-fetch URL [METHOD [BODY]] [NAME:VALUE]...`: sends one request and prints the status, the headers by name, and the
// body as it comes.

import { HttpError, RequestBuilder, Response } from "@wharf/guest";

process.exit(main(process.argv));

function main(args: string[]): i32 {
  if (args.length < 2) {
    process.stderr.write("usage: as-fetch URL [METHOD [BODY]] [NAME:VALUE]...\n");
    return 2;
  }
  const response = build(args).send();
  let error = response.error;
  if (error !== null) return failed(error);
  printHead(response);

  const buffer = new Uint8Array(64 * 1024);
  let count = response.read(buffer);
  while (count > 0) {
    process.stdout.write(buffer.buffer.slice(0, count));
    count = response.read(buffer);
  }
  error = response.error;
  return error === null ? 0 : failed(error);
}

function build(args: string[]): RequestBuilder {
  const request = new RequestBuilder(args[1]);
  let plain = 0;
  for (let index = 2; index < args.length; ++index) {
    const arg = args[index];
    const colon = arg.indexOf(":");
    if (colon >= 0 && plain != 1) {
      request.append(arg.slice(0, colon), arg.slice(colon + 1));
    } else if (!plain) {
      request.methodName(arg);
      plain = 1;
    } else {
      request.text(arg);
      plain = 2;
    }
  }
  return request;
}

function printHead(response: Response): void {
  console.log((<i32>response.status).toString());
  const names = response.headers.keys();
  names.sort();
  for (let index = 0; index < names.length; ++index) {
    const name = names[index];
    if (name == "date" || (index && name == names[index - 1])) continue;
    const values = response.headers.getAll(name);
    for (let nth = 0; nth < values.length; ++nth) console.log(name + ": " + values[nth]);
  }
  console.log();
}

function failed(error: HttpError): i32 {
  process.stderr.write("as-fetch: " + error.toString() + "\n");
  return 1;
}
