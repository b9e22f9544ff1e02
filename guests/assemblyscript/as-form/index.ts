// `as-form URL [NAME=VALUE]...`: posts a form and prints the status and what the origin answers.

import { Form, Method, RequestBuilder } from "@wharf/guest";

process.exit(main(process.argv));

function main(args: string[]): i32 {
  if (args.length < 2) {
    process.stderr.write("usage: as-form URL [NAME=VALUE]...\n");
    return 2;
  }
  const form = new Form();
  for (let index = 2; index < args.length; ++index) {
    const arg = args[index];
    const equals = arg.indexOf("=");
    if (equals < 0) form.append(arg, "");
    else form.append(arg.slice(0, equals), arg.slice(equals + 1));
  }

  const response = new RequestBuilder(args[1])
    .method(Method.POST)
    .header("content-type", Form.TYPE)
    .text(form.toString())
    .send();
  const text = response.text(1024 * 1024);
  if (text === null) {
    process.stderr.write("as-form: " + response.error!.toString() + "\n");
    return 1;
  }
  console.log((<i32>response.status).toString());
  console.log(text);
  return 0;
}
