import { pieces, print } from "./streams.js";

// Sends one request and prints the status, the headers by name, and the body as it comes.
export async function fetchOne([url, ...rest]) {
  const response = await fetch(url, options(rest));
  print(`${response.status}\n`);
  for (const [name, value] of response.headers) {
    if (name !== "date") print(`${name}: ${value}\n`);
  }
  print("\n");
  for await (const piece of pieces(response.body)) print(piece);
}

// What the arguments behind the URL ask for. What follows the method is the body, whatever it holds.
function options(args) {
  const headers = new Headers();
  let method, body;
  for (const arg of args) {
    const colon = arg.indexOf(":");
    if (colon >= 0 && (method === undefined || body !== undefined)) {
      headers.append(arg.slice(0, colon), arg.slice(colon + 1));
    } else if (method === undefined) {
      method = arg;
    } else {
      body = arg;
    }
  }
  // A GET that has a body, even an empty one, is an error. As bytes it brings no content-type along.
  return { method, headers, body: body ? new TextEncoder().encode(body) : undefined };
}
