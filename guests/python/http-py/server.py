"""A server. The path says what it does:

- /echo sends the request's body back while it arrives;
- /fetch?URL fetches a URL and passes the response on;
- /send?URL passes the request's body on to a URL while it arrives, and the response back;
- any other is greeted, and told to standard output.
"""

from componentize_py_types import Err
from wit_world.imports.types import IncomingRequest, ResponseOutparam

from wire import begin, describe, method_of, pieces, request_to, say, send, send_pieces, write


async def answer(request: IncomingRequest, out: ResponseOutparam) -> None:
    target = request.path_with_query() or "/"
    path, _, url = target.partition("?")
    try:
        if path == "/echo":
            await write(pieces(request.consume()), begin(out, 200, [("content-type", b"application/octet-stream")]))
        elif path == "/fetch":
            response = await send(request_to(url), b"")
            await write(pieces(response.consume()), begin(out, response.status(), []))
        elif path == "/send":
            response = await send_pieces(request_to(url, method_of("POST")), pieces(request.consume()))
            await write(pieces(response.consume()), begin(out, response.status(), []))
        else:
            print(f"greeting {target}", flush=True)
            await say(out, 200, f"hello from {target}\n")
    except Err as error:
        await say(out, 502, f"{describe(error)}\n")
