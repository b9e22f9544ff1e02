"""`fetch URL [METHOD [BODY]] [NAME:VALUE]...`"""

import sys

from wire import Headers, method_of, pieces, request_to, send


async def fetch(url: str, *rest: str) -> None:
    """Sends one request and prints the status, the headers by name, and the body as it comes."""
    method, body, headers = options(rest)
    if body:
        headers.append(("content-length", str(len(body)).encode()))
    response = await send(request_to(url, method_of(method), headers), body)
    out = sys.stdout.buffer
    out.write(f"{response.status()}\n".encode())
    # Those of one name stay as they came.
    for name, value in sorted(((name.lower(), value) for name, value in response.headers().entries()), key=by_name):
        if name != "date":
            out.write(name.encode() + b": " + value + b"\n")
    out.write(b"\n")
    out.flush()
    async for piece in pieces(response.consume()):
        out.write(piece)
        out.flush()


def by_name(header: tuple[str, bytes]) -> str:
    return header[0]


def options(args: tuple[str, ...]) -> tuple[str, bytes, Headers]:
    """The method, the body and the headers. What follows the method is the body, whatever it holds."""
    method, body = None, None
    headers: Headers = []
    for arg in args:
        name, colon, value = arg.partition(":")
        if colon and (method is None or body is not None):
            headers.append((name, value.encode()))
        elif method is None:
            method = arg
        else:
            body = arg.encode()
    return method or "GET", body or b"", headers
