"""A server in Python, on the event loop that componentize-py brings. The path says what it does:

- /echo sends the request's body back while it arrives;
- /fetch?URL fetches a URL and passes the response on;
- /send?URL passes the request's body on to a URL while it arrives, and the response back;
- any other is greeted, and told to standard output.
"""

import asyncio
from urllib.parse import urlsplit

import poll_loop
from componentize_py_types import Err, Ok
from poll_loop import PollLoop, Sink, Stream
from wit_world import exports
from wit_world.imports.types import (
    Fields,
    IncomingBody,
    IncomingRequest,
    Method_Post,
    OutgoingBody,
    OutgoingRequest,
    OutgoingResponse,
    ResponseOutparam,
    Scheme_Http,
    Scheme_Https,
)


class IncomingHandler(exports.IncomingHandler):
    def handle(self, request: IncomingRequest, response_out: ResponseOutparam) -> None:
        loop = PollLoop()
        asyncio.set_event_loop(loop)
        loop.run_until_complete(answer(request, response_out))


async def answer(request: IncomingRequest, out: ResponseOutparam) -> None:
    target = request.path_with_query() or "/"
    path, _, url = target.partition("?")
    try:
        if path == "/echo":
            body = begin(out, 200, "application/octet-stream")
            await copy(request.consume(), body)
        elif path == "/fetch":
            await fetch(url, out)
        elif path == "/send":
            await send(url, request.consume(), out)
        else:
            print(f"greeting {target}", flush=True)
            await say(out, 200, f"hello from {target}\n")
    except Err as error:
        await say(out, 502, f"{error.value}\n")


async def fetch(url: str, out: ResponseOutparam) -> None:
    response = await poll_loop.send(request_to(url))
    await copy(response.consume(), begin(out, response.status(), None))


async def send(url: str, body: IncomingBody, out: ResponseOutparam) -> None:
    request = request_to(url)
    request.set_method(Method_Post())
    to = request.body()
    # The response is waited for while the body is sent: an origin may answer before it has read it.
    response, _ = await asyncio.gather(poll_loop.send(request), copy(body, to))
    await copy(response.consume(), begin(out, response.status(), None))


def request_to(url: str) -> OutgoingRequest:
    parts = urlsplit(url)
    request = OutgoingRequest(Fields.from_list([]))
    request.set_scheme(Scheme_Https() if parts.scheme == "https" else Scheme_Http())
    request.set_authority(parts.netloc)
    request.set_path_with_query(parts.path + (f"?{parts.query}" if parts.query else ""))
    return request


def begin(out: ResponseOutparam, status: int, content_type: str | None) -> OutgoingBody:
    headers = [("content-type", content_type.encode())] if content_type else []
    response = OutgoingResponse(Fields.from_list(headers))
    response.set_status_code(status)
    body = response.body()
    ResponseOutparam.set(out, Ok(response))
    return body


async def say(out: ResponseOutparam, status: int, text: str) -> None:
    sink = Sink(begin(out, status, "text/plain"))
    await sink.send(text.encode())
    sink.close()


async def copy(source: IncomingBody, to: OutgoingBody) -> None:
    stream, sink = Stream(source), Sink(to)
    while (chunk := await stream.next()) is not None:
        await sink.send(chunk)
    sink.close()
