// An HTTP handler. Each request gets an instance of its own, whose globals are as they are here.

addEventListener("fetch", (event) => event.respondWith(handle(event.request)));

async function handle(request) {
  const { pathname } = new URL(request.url);
  switch (pathname) {
    case "/echo":
      // The body goes back while it arrives.
      return new Response(request.body);
    case "/fetch":
      return passOn("https://example.com/");
    default:
      return text(200, `hello from ${pathname}\n`);
  }
}

// What another server says. The operator has to allow it: `wharf serve -a https://example.com ...`.
async function passOn(url) {
  try {
    const response = await fetch(url);
    return new Response(response.body, { status: response.status });
  } catch (error) {
    return text(502, `${url}: ${error}\n`);
  }
}

function text(status, body) {
  return new Response(body, { status, headers: { "content-type": "text/plain" } });
}
