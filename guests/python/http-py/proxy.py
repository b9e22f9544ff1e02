"""A handler that passes each request on to one origin, and the response back. Both bodies stream, so neither is held in
memory."""

import sys
from urllib.parse import urlsplit

from componentize_py_types import Err
from wit_world.imports.types import IncomingRequest, Method_Get, Method_Head, ResponseOutparam

from wire import begin, code_of, describe, pieces, request_to, say, send, send_pieces, write


async def proxy(request: IncomingRequest, out: ResponseOutparam, upstream: str) -> None:
    origin = urlsplit(upstream)
    if origin.scheme not in ("http", "https") or not origin.netloc:
        print("the variable UPSTREAM names no origin", file=sys.stderr, flush=True)
        await say(out, 500, "500 Internal Server Error\n")
        return

    # The host says which origin it sends to; which one was asked is said here.
    own = ("host", "x-forwarded-host")
    headers = [(name, value) for name, value in request.headers().entries() if name.lower() not in own]
    has_length = any(name.lower() == "content-length" for name, _ in headers)
    headers.append(("x-forwarded-host", (request.authority() or "").encode()))
    target = f"{origin.scheme}://{origin.netloc}{request.path_with_query() or '/'}"
    method = request.method()
    try:
        to = request_to(target, method, headers)
        if isinstance(method, (Method_Get, Method_Head)) and not has_length:
            response = await send(to, b"")
        else:
            response = await send_pieces(to, pieces(request.consume()))
    except Err as error:
        print(f"the upstream failed: {describe(error)}", file=sys.stderr, flush=True)
        late = type(code_of(error)).__name__.endswith("Timeout")
        await say(out, *((504, "504 Gateway Timeout\n") if late else (502, "502 Bad Gateway\n")))
        return

    body = begin(out, response.status(), response.headers().entries())
    try:
        await write(pieces(response.consume()), body)
    except Err as error:
        # The body is not finished, which shows on the wire.
        print(f"the upstream broke off: {describe(error)}", file=sys.stderr, flush=True)
