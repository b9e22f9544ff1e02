// Fetches a URL and prints the status and the body, as it comes.

import { HttpError, RequestBuilder } from "@wharf/guest";

process.exit(main(process.argv));

function main(args: string[]): i32 {
  if (args.length != 2) {
    process.stderr.write("usage: {{name}} URL\n");
    return 2;
  }
  const response = new RequestBuilder(args[1]).header("accept", "*/*").send();
  let error = response.error;
  if (error !== null) return failed(error);
  console.log((<i32>response.status).toString());

  const buffer = new Uint8Array(16 * 1024);
  let count = response.read(buffer);
  while (count > 0) {
    process.stdout.write(buffer.buffer.slice(0, count));
    count = response.read(buffer);
  }
  error = response.error;
  return error === null ? 0 : failed(error);
}

function failed(error: HttpError): i32 {
  process.stderr.write("{{name}}: " + error.toString() + "\n");
  return 1;
}
