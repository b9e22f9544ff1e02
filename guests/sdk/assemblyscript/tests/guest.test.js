import assert from "node:assert/strict";
import { before, beforeEach, describe, test } from "node:test";
import { guest, published } from "./compile.js";
import { Host } from "./host.js";

const METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
const URL = "http://localhost/";

let instantiate;
let host;
let wharf;

before(async () => {
  instantiate = await guest();
});

beforeEach(async () => {
  host = new Host();
  wharf = await instantiate(host);
});

/** Numbers that look random, and are the same each time. */
function numbers(seed) {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

function answering(answer) {
  host.answer = () => ({ status: 200, headers: "", body: [], ...answer });
}

describe("requests", () => {
  test("are sent as they were built", () => {
    wharf.open("http://localhost/ü?q=1", "PUT", ["a", "B", "a"], ["1", "x:y: z", "2"], Buffer.from([0, 255, 10]));
    assert.deepEqual(host.requests, [
      { url: "http://localhost/ü?q=1", method: "PUT", headers: "a:1\nB:x:y: z\na:2\n", body: new Uint8Array([0, 255, 10]) },
    ]);
  });

  test("have the method's name, whichever it is", () => {
    METHODS.forEach((_, method) => wharf.send(URL, method, "a", "b"));
    assert.deepEqual(host.requests.map((request) => request.method), METHODS);
    for (const name of ["PROPFIND", "get", "M-SEARCH", ""]) wharf.open(URL, name, [], [], Buffer.alloc(0));
    assert.deepEqual(host.requests.slice(METHODS.length).map((request) => request.method), ["PROPFIND", "get", "M-SEARCH", ""]);
    METHODS.forEach((name, method) => assert.equal(wharf.methodAfter(name), method));
    assert.equal(wharf.methodAfter("PROPFIND"), METHODS.length);
  });

  test("with a header that would become two are not sent", () => {
    for (const [name, value] of [["a", "b\nc:d"], ["a", "b\r\nc:d"], ["a\nb", "c"], ["a:b", "c"], ["", "c"], ["a", "b\r"]]) {
      const response = wharf.open(URL, "GET", ["ok", name], ["1", value], Buffer.alloc(0));
      assert.equal(wharf.errorCode(response), 9, JSON.stringify([name, value]));
    }
    assert.equal(host.calls.req, 0);
  });
});

describe("errors", () => {
  test("of a request are values", () => {
    for (let code = 1; code <= 14; ++code) {
      host.answer = () => code;
      const response = wharf.get(URL);
      assert.equal(wharf.errorCode(response), code);
      assert.match(wharf.errorText(response), new RegExp(`^[a-z].* \\(code ${code}\\)$`));
      assert.equal(wharf.status(response), 0);
      assert.equal(wharf.ok(response), false);
      assert.equal(wharf.header(response, "a"), null);
      assert.equal(wharf.read(response, 8), null);
      assert.equal(wharf.bytes(response, 8), null);
      wharf.close(response);
      assert.equal(wharf.errorCode(response), code, "the first reason stays");
    }
    assert.deepEqual({ ...host.calls, req: 0 }, { req: 0, close: 0, headers_get_all: 0, body_read: 0 });
  });

  test("of a body that breaks off are values, and what came is there", () => {
    answering({ body: ["some"], broken: true });
    const response = wharf.get(URL);
    assert.deepEqual(Buffer.from(wharf.read(response, 8)), Buffer.from("some"));
    assert.equal(wharf.errorCode(response), 0);
    assert.equal(wharf.read(response, 8), null);
    assert.equal(wharf.errorCode(response), 11);
    assert.equal(wharf.bytes(wharf.get(URL), 100), null);
    assert.equal(wharf.bodyReadAll(wharf.get(URL)).length, 0);
  });

  test("of a response that is closed do not reach another one", () => {
    answering({ body: ["text"] });
    const response = wharf.get(URL);
    wharf.close(response);
    host.next = 0;
    const other = wharf.get(URL);
    wharf.close(response);
    assert.equal(wharf.read(response, 8), null);
    assert.equal(wharf.errorCode(response), 1);
    assert.equal(wharf.text(other), "text");
  });
});

describe("headers", () => {
  test("have exact values", () => {
    answering({ headers: "x-time:12:30:45\nx-empty:\nx-spaces:  a b \nx-text:é\tü\n" });
    const response = wharf.get(URL);
    assert.equal(wharf.headerGet(response, "X-Time"), "12:30:45");
    assert.equal(wharf.header(response, "x-empty"), "");
    assert.equal(wharf.header(response, "x-spaces"), "  a b ");
    assert.equal(wharf.header(response, "x-text"), "é\tü");
    assert.equal(wharf.header(response, "x-none"), null);
    assert.equal(wharf.headerGet(response, "x-none"), "");
    assert.equal(host.calls.headers_get_all, 1);
  });

  test("may be repeated", () => {
    answering({ headers: "set-cookie:a=1\nvary:x\nset-cookie:b=2; c\n" });
    const response = wharf.get(URL);
    assert.deepEqual(wharf.headerValues(response, "Set-Cookie"), ["a=1", "b=2; c"]);
    assert.equal(wharf.joined(response, "set-cookie"), "a=1, b=2; c");
    assert.equal(wharf.headerLines(response), "set-cookie:a=1\nvary:x\nset-cookie:b=2; c\n");
  });

  test("of any size are read", () => {
    for (const size of [4095, 4096, 4097, 300_000]) {
      answering({ headers: `x:${"v".repeat(size)}\n` });
      assert.equal(wharf.headerGet(wharf.get(URL), "x").length, size);
    }
  });

  test("that the host cannot give are an error, not an endless search", () => {
    for (const code of [3, 4]) {
      answering({ headers: code });
      const response = wharf.get(URL);
      assert.equal(wharf.header(response, "x"), null);
      assert.equal(wharf.errorCode(response), code);
    }
  });

  test("are edited without regard to case", () => {
    assert.equal(wharf.edited(""), "3 true\nA:1\nb:2\na:3\n");
    assert.equal(wharf.edited("set"), "2 true\nb:2\na:4\n");
    assert.equal(wharf.edited("delete"), "1 false\nb:2\n");
  });

  test("come back from lines as they went in, whatever they hold", () => {
    const number = numbers(1);
    const letters = "abcXYZ-_09";
    const characters = ["a", " ", ":", "\t", "é", "€", "😀", "\u0000", ",", ";", '"', "\u2028"];
    const some = (from, least) => Array.from({ length: least + number(12) }, () => from[number(from.length)]).join("");
    for (let round = 0; round < 300; ++round) {
      const names = Array.from({ length: number(6) }, () => some(letters, 1));
      const values = names.map(() => some(characters, 0));
      assert.deepEqual(wharf.throughLines(names, values), [...names, ...values]);
    }
  });
});

describe("bodies", () => {
  test("are read as they come", () => {
    answering({ body: ["one", "twothree"] });
    const response = wharf.get(URL);
    const texts = Array.from({ length: 5 }, () => Buffer.from(wharf.read(response, 4)).toString());
    assert.deepEqual(texts, ["one", "twot", "hree", "", ""]);
    assert.equal(wharf.errorCode(response), 0);
    assert.equal(host.open.size, 1);
    assert.equal(wharf.bodyRead(response, 8), 0);
  });

  test("come back byte for byte, however they are cut", () => {
    const number = numbers(2);
    for (let round = 0; round < 100; ++round) {
      const chunks = Array.from({ length: number(8) }, () =>
        Buffer.from(Array.from({ length: 1 + number(9000) }, () => number(256))));
      answering({ body: chunks });
      const whole = Buffer.concat(chunks);
      assert.ok(whole.equals(Buffer.from(wharf.bytes(wharf.get(URL), whole.length))));
      const response = wharf.get(URL);
      const room = 1 + number(20_000);
      const read = [];
      for (let part = wharf.read(response, room); part.length; part = wharf.read(response, room)) read.push(part);
      assert.ok(whole.equals(Buffer.concat(read)));
    }
  });

  test("have no bytes that were not sent", () => {
    answering({ body: ["text"] });
    assert.equal(wharf.text(wharf.get(URL)), "text");
    const all = wharf.bodyReadAll(wharf.get(URL));
    assert.deepEqual(Buffer.from(all.buffer, all.byteOffset, all.byteLength), Buffer.from("text"));
  });

  test("are limited to what the caller wants", () => {
    for (const [length, limit, whole] of [[0, 0, true], [1, 0, false], [9, 10, true], [10, 10, true], [11, 10, false], [5, -1, false], [40_000, 39_999, false]]) {
      answering({ body: length ? ["x".repeat(length)] : [] });
      const response = wharf.get(URL);
      const bytes = wharf.bytes(response, limit);
      assert.equal(bytes?.length, whole ? length : undefined, `${length} of ${limit}`);
      assert.equal(wharf.errorCode(response), whole ? 0 : 4);
      assert.equal(host.open.size, 0);
    }
  });

  test("that were read close the response, whose headers stay", () => {
    answering({ headers: "a:1\n", body: ["text"] });
    const response = wharf.get(URL);
    assert.equal(wharf.text(response), "text");
    assert.equal(host.open.size, 0);
    wharf.close(response);
    assert.equal(host.calls.close, 1);
    assert.equal(wharf.header(response, "a"), "1");
    assert.ok(wharf.ok(response));
  });
});

test("a form is what a browser makes of it", () => {
  const names = ["a b", "ü", "", "x*-._~'()!", "a\nb", "a b"];
  const values = ["1&2=3", "€😀", "", "+%", "", "again"];
  const expected = new URLSearchParams(names.map((name, index) => [name, values[index]])).toString();
  assert.equal(wharf.form(names, values), expected);
});

test("a program for the published package runs unchanged", async () => {
  const { exports, printed } = await published(host);
  host.answer = ({ method }) =>
    method === "POST"
      ? { status: 200, headers: "content-type:text/plain\nx-time:1:2\n", body: ["you said ", "hello"] }
      : { status: 204, headers: "x-time:12:30:45\n", body: [] };
  exports.post();
  assert.equal(printed.text, "200\ntext/plain\ncontent-type:text/plain\nx-time:1:2\n\nyou said hello\n");
  exports.remove();
  assert.ok(printed.text.endsWith("\n12:30:45\n"), printed.text);
  assert.deepEqual(
    host.requests.map(({ method, headers, body }) => [method, headers, Buffer.from(body).toString()]),
    [["POST", "Content-Type:text/plain\nabc:def\n", "testing the body"], ["DELETE", "", ""]],
  );
  assert.equal(host.open.size, 0);
});
