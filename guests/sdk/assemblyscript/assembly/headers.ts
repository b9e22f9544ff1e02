/**
 * Headers in the order in which they were added. Names are compared without regard to ASCII case, a name may have
 * several values, and values are kept as they are.
 */
export class Headers {
  private names: string[] = [];
  private texts: string[] = [];

  /** How many headers there are; a name with two values counts twice. */
  get size(): i32 {
    return this.names.length;
  }

  /** Adds a value, and keeps those that the name has already. */
  append(name: string, value: string): this {
    this.names.push(name);
    this.texts.push(value);
    return this;
  }

  /** Gives the name this value, in place of any that it has. */
  set(name: string, value: string): this {
    this.delete(name);
    return this.append(name, value);
  }

  /** Removes all values of the name; whether there was one. */
  delete(name: string): bool {
    let found = false;
    for (let index = this.names.length - 1; index >= 0; --index) {
      if (same(this.names[index], name)) {
        this.names.splice(index, 1);
        this.texts.splice(index, 1);
        found = true;
      }
    }
    return found;
  }

  /** The first value of the name, or null. */
  get(name: string): string | null {
    for (let index = 0; index < this.names.length; ++index) {
      if (same(this.names[index], name)) return this.texts[index];
    }
    return null;
  }

  /** Every value of the name, in order. */
  getAll(name: string): string[] {
    const found: string[] = [];
    for (let index = 0; index < this.names.length; ++index) {
      if (same(this.names[index], name)) found.push(this.texts[index]);
    }
    return found;
  }

  /** Whether the name has a value. */
  has(name: string): bool {
    return this.get(name) !== null;
  }

  /** The name of each header; one with two values is there twice. */
  keys(): string[] {
    return this.names.slice();
  }

  /** The value of each header, as `keys` has their names. */
  values(): string[] {
    return this.texts.slice();
  }

  /** Lines as the ABI has them: `name:value`, each ended by a line feed. */
  toString(): string {
    let lines = "";
    for (let index = 0; index < this.names.length; ++index) {
      lines += this.names[index] + ":" + this.texts[index] + "\n";
    }
    return lines;
  }

  /** Whether each header is one line, which its own text cannot break or split elsewhere. */
  get sendable(): bool {
    for (let index = 0; index < this.names.length; ++index) {
      const name = this.names[index];
      if (!name.length || name.includes(":") || breaks(name) || breaks(this.texts[index])) return false;
    }
    return true;
  }

  /** Reads lines as the ABI has them. */
  static parse(lines: string): Headers {
    const headers = new Headers();
    let start = 0;
    while (start < lines.length) {
      let end = lines.indexOf("\n", start);
      if (end < 0) end = lines.length;
      const colon = lines.indexOf(":", start);
      // A name cannot hold a colon; all others belong to the value.
      if (colon >= 0 && colon < end) headers.append(lines.slice(start, colon), lines.slice(colon + 1, end));
      start = end + 1;
    }
    return headers;
  }
}

function breaks(text: string): bool {
  return text.includes("\n") || text.includes("\r");
}

function same(a: string, b: string): bool {
  if (a.length != b.length) return false;
  for (let index = 0; index < a.length; ++index) {
    if (lower(a.charCodeAt(index)) != lower(b.charCodeAt(index))) return false;
  }
  return true;
}

// `String.toLowerCase` knows all of Unicode, and would bring its tables into every guest.
// @ts-ignore: decorator
@inline
function lower(char: i32): i32 {
  return char >= 0x41 && char <= 0x5a ? char | 0x20 : char;
}
