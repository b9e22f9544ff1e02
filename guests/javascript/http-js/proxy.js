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
  return new Response(response.body, { status: response.status, headers: response.headers });
}
