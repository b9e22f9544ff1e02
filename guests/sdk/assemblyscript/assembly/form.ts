/** Names and values as a browser sends a form: `application/x-www-form-urlencoded`, of UTF-8. */
export class Form {
  private pairs: string = "";

  /** The media type, for the header `content-type`. */
  static readonly TYPE: string = "application/x-www-form-urlencoded";

  /** Adds a field. */
  append(name: string, value: string): this {
    if (this.pairs.length) this.pairs += "&";
    this.pairs += encode(name) + "=" + encode(value);
    return this;
  }

  /** The fields so far, encoded. */
  toString(): string {
    return this.pairs;
  }
}

const HEX: string = "0123456789ABCDEF";

function encode(text: string): string {
  const bytes = Uint8Array.wrap(String.UTF8.encode(text));
  let encoded = "";
  for (let index = 0; index < bytes.length; ++index) {
    const byte = bytes[index];
    if (plain(byte)) encoded += String.fromCharCode(byte);
    else if (byte == 0x20) encoded += "+";
    else encoded += "%" + HEX.charAt(byte >> 4) + HEX.charAt(byte & 15);
  }
  return encoded;
}

/** Whether the URL standard leaves this byte of a form as it is: letters, digits and `*-._`. */
function plain(byte: u8): bool {
  const letter = byte | 0x20;
  if (letter >= 0x61 && letter <= 0x7a) return true;
  if (byte >= 0x30 && byte <= 0x39) return true;
  return byte == 0x2a || byte == 0x2d || byte == 0x2e || byte == 0x5f;
}
