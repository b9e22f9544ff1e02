import { exitWithCode } from "wasi:cli/exit@0.2.10";

// Passes a request on to an origin, and the response back. Both bodies stream, so neither is held in memory.
export async function proxy(request, upstream) {
  const { pathname, search, host } = new URL(request.url);
  let origin;
  try {
    ({ origin } = new URL(upstream));
  } catch {
    console.error("the variable UPSTREAM names no origin");
    return new Response("500 Internal Server Error\n", { status: 500 });
  }
  const { method, body } = request;
  const headers = new Headers(request.headers);
  // The host says which origin it sends to.
  headers.delete("host");
  headers.set("x-forwarded-host", host);
  let response;
  try {
    response = await fetch(origin + pathname + search, { method, headers, body, duplex: "half" });
  } catch (error) {
    console.error(`the upstream failed: ${error.message.trim()}`);
    return new Response("502 Bad Gateway\n", { status: 502 });
  }
  const { status, headers: answered } = response;
  return new Response(response.body && whole(response.body), { status, headers: answered });
}

// The same body, but for what happens when it breaks off: the engine would end the response as if it were whole, and also
// where a stream fails. That the guest exits in the middle of it shows on the wire.
function whole(body) {
  const reader = body.getReader();
  return new ReadableStream({
    async pull(controller) {
      try {
        const { done, value } = await reader.read();
        if (done) controller.close();
        else controller.enqueue(value);
      } catch (error) {
        console.error(`the upstream broke off: ${error.message.trim()}`);
        exitWithCode(1);
      }
    },
  });
}
