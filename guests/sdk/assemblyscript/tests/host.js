// A host of the ABI in memory: it answers requests with what a test scripts, and keeps what was sent.

import assert from "node:assert/strict";

const utf8 = new TextDecoder("utf-8", { fatal: true });

export class Host {
  /** The requests so far: `url`, `method`, `headers` (as text) and `body` (as bytes). */
  requests = [];
  /** The handles that are open. */
  open = new Map();
  /** Answers a request with `{status, headers, body}` or with the number of an error. */
  answer = () => ({ status: 200, headers: "", body: [] });
  /** How many calls each function had. */
  calls = { req: 0, close: 0, headers_get_all: 0, body_read: 0 };
  /** What handles are given next. */
  next = 0;
  memory = null;

  /** The functions, to be imported. */
  get imports() {
    const counted = (name, call) => (...args) => {
      this.calls[name] += 1;
      return call.apply(this, args.map((arg) => arg >>> 0));
    };
    return Object.fromEntries(Object.keys(this.calls).map((name) => [name, counted(name, this[name])]));
  }

  bytes(pointer, length) {
    assert.ok(pointer + length <= this.memory.buffer.byteLength, "a range lies in the memory");
    return new Uint8Array(this.memory.buffer, pointer, length);
  }

  text(pointer, length) {
    return utf8.decode(this.bytes(pointer, length));
  }

  u32(pointer, value) {
    assert.equal(pointer % 4, 0);
    new DataView(this.memory.buffer).setUint32(pointer, value, true);
  }

  req(url, urlLength, method, methodLength, headers, headersLength, body, bodyLength, status, handle) {
    const request = {
      url: this.text(url, urlLength),
      method: this.text(method, methodLength),
      headers: this.text(headers, headersLength),
      body: this.bytes(body, bodyLength).slice(),
    };
    this.requests.push(request);
    const answer = this.answer(request);
    if (typeof answer === "number") return answer;
    new DataView(this.memory.buffer).setUint16(status, answer.status, true);
    const given = this.next++;
    this.u32(handle, given);
    this.open.set(given, { ...answer, body: answer.body.map((chunk) => Buffer.from(chunk)) });
    return 0;
  }

  close(handle) {
    this.open.delete(handle);
    return 0;
  }

  headers_get_all(handle, buffer, length, written) {
    const response = this.open.get(handle);
    if (!response) return 1;
    if (typeof response.headers === "number") return response.headers;
    const lines = Buffer.from(response.headers);
    if (lines.length > length) return 4;
    this.bytes(buffer, lines.length).set(lines);
    this.u32(written, lines.length);
    return 0;
  }

  body_read(handle, buffer, length, written) {
    const response = this.open.get(handle);
    if (!response) return 1;
    const chunk = response.body[0];
    if (!chunk) {
      if (response.broken) return 11;
      this.u32(written, 0);
      return 0;
    }
    const taken = chunk.subarray(0, length);
    this.bytes(buffer, taken.length).set(taken);
    if (taken.length === chunk.length) response.body.shift();
    else response.body[0] = chunk.subarray(taken.length);
    this.u32(written, taken.length);
    return 0;
  }
}
