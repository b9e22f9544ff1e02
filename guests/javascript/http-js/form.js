import { pieces, print } from "./streams.js";

// The longest answer that is printed, in bytes.
const longest = 1 << 20;

// Posts a form and prints the status and what the origin answers.
export async function form([url, ...fields]) {
  const body = new URLSearchParams(
    fields.map((field) => {
      const [name] = field.split("=", 1);
      return [name, field.slice(name.length + 1)];
    }),
  );
  // Without the header, the type would name a character set too, which forms have none of.
  const headers = { "content-type": "application/x-www-form-urlencoded" };
  const response = await fetch(url, { method: "POST", headers, body });
  const parts = [];
  let length = 0;
  for await (const piece of pieces(response.body)) {
    length += piece.length;
    if (length > longest) throw new Error(`the answer is longer than ${longest} bytes`);
    parts.push(piece);
  }
  print(`${response.status}\n`);
  parts.forEach(print);
  print("\n");
}
