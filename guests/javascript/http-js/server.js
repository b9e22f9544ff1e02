// A server. The path says what it does:
// - /echo sends the request's body back while it arrives;
// - /fetch?URL fetches a URL and passes the response on;
// - /send?URL passes the request's body on to a URL while it arrives, and the response back;
// - /manual?URL fetches a URL, and passes a redirect on instead of following it;
// - /throw fails;
// - any other is greeted, and told to standard output.

export async function answer(request) {
  const url = new URL(request.url);
  const target = url.pathname + url.search;
  switch (url.pathname) {
    case "/echo":
      return new Response(request.body, { headers: { "content-type": "application/octet-stream" } });
    case "/fetch":
      return passOn(url.search.slice(1), {});
    case "/send":
      return passOn(url.search.slice(1), { method: "POST", body: request.body, duplex: "half" });
    case "/manual":
      return passOn(url.search.slice(1), { redirect: "manual" });
    case "/throw":
      throw new Error("asked to");
    default:
      console.log(`greeting ${target}`);
      return new Response(`hello from ${target}\n`, { headers: { "content-type": "text/plain" } });
  }
}

async function passOn(url, options) {
  try {
    const response = await fetch(url, options);
    return new Response(response.body, { status: response.status, headers: response.headers });
  } catch (error) {
    return new Response(`${error}\n`, { status: 502 });
  }
}
