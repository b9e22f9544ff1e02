import { create, pieces, print } from "./streams.js";

// Reads a body of any size, a piece at a time, to a file if one is named, and prints its length and its CRC-32.
export async function download([url, path]) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`the origin answered ${response.status}`);
  const write = path === undefined ? () => {} : create(path);
  let length = 0;
  let sum = -1;
  for await (const piece of pieces(response.body)) {
    sum = crc32(sum, piece);
    length += piece.length;
    write(piece);
  }
  print(`${length} bytes, CRC-32 ${(~sum >>> 0).toString(16).padStart(8, "0")}\n`);
}

const table = new Int32Array(256).map((_, byte) => {
  let sum = byte;
  for (let bit = 0; bit < 8; bit += 1) sum = sum & 1 ? (sum >>> 1) ^ 0xedb88320 : sum >>> 1;
  return sum;
});

function crc32(sum, bytes) {
  for (let index = 0; index < bytes.length; index += 1) sum = (sum >>> 8) ^ table[(sum ^ bytes[index]) & 255];
  return sum;
}
