// `as-download URL`: reads a body of any size, a piece at a time, and prints its length and its CRC-32.

import { fetch } from "@wharf/guest";

process.exit(main(process.argv));

function main(args: string[]): i32 {
  if (args.length != 2) {
    process.stderr.write("usage: as-download URL\n");
    return 2;
  }
  const table = crcTable();
  const response = fetch(args[1]);
  const buffer = new Uint8Array(64 * 1024);
  let length: u64 = 0;
  let crc: u32 = 0xffffffff;
  let count = response.read(buffer);
  while (count > 0) {
    for (let index = 0; index < count; ++index) crc = (crc >>> 8) ^ table[(crc ^ buffer[index]) & 0xff];
    length += count;
    count = response.read(buffer);
  }

  const error = response.error;
  if (error !== null) {
    process.stderr.write("as-download: " + error.toString() + "\n");
    return 1;
  }
  if (!response.ok) {
    process.stderr.write("as-download: the origin answered " + (<i32>response.status).toString() + "\n");
    return 1;
  }
  console.log(length.toString() + " bytes, CRC-32 " + (~crc).toString(16).padStart(8, "0"));
  return 0;
}

function crcTable(): StaticArray<u32> {
  const table = new StaticArray<u32>(256);
  for (let byte = 0; byte < 256; ++byte) {
    let sum: u32 = byte;
    for (let bit = 0; bit < 8; ++bit) sum = sum & 1 ? (sum >>> 1) ^ 0xedb88320 : sum >>> 1;
    table[byte] = sum;
  }
  return table;
}
