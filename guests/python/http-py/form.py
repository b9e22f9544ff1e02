"""`form URL [NAME=VALUE]...`"""

import sys
from urllib.parse import urlencode

from wire import method_of, pieces, request_to, send

# The longest answer that is printed, in bytes.
LONGEST = 1 << 20


async def form(url: str, *fields: str) -> None:
    """Posts a form and prints the status and what the origin answers."""
    pairs = [field.partition("=") for field in fields]
    body = urlencode([(name, value) for name, _, value in pairs]).encode()
    headers = [
        ("content-type", b"application/x-www-form-urlencoded"),
        ("content-length", str(len(body)).encode()),
    ]
    response = await send(request_to(url, method_of("POST"), headers), body)
    text = b""
    async for piece in pieces(response.consume()):
        text += piece
        if len(text) > LONGEST:
            raise ValueError(f"the answer is longer than {LONGEST} bytes")
    sys.stdout.buffer.write(f"{response.status()}\n".encode() + text + b"\n")
    sys.stdout.flush()
