"""An HTTP handler, on the event loop that componentize-py brings. Each request gets an instance of its own."""

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
        loop.run_until_complete(handle(request, response_out))


async def handle(request: IncomingRequest, out: ResponseOutparam) -> None:
    path = urlsplit(request.path_with_query() or "/").path
    match path:
        case "/echo":
            # The body goes back while it arrives.
            await copy(request.consume(), begin(out, 200))
        case "/fetch":
            await pass_on("https://example.com/", out)
        case _:
            await text(out, 200, f"hello from {path}\n")


async def pass_on(url: str, out: ResponseOutparam) -> None:
    """What another server says. The operator has to allow it: `wharf serve -a https://example.com ...`."""
    parts = urlsplit(url)
    request = OutgoingRequest(Fields.from_list([]))
    request.set_scheme(Scheme_Https() if parts.scheme == "https" else Scheme_Http())
    request.set_authority(parts.netloc)
    request.set_path_with_query(parts.path or "/")
    try:
        response = await poll_loop.send(request)
    except Err as error:
        await text(out, 502, f"{url}: {error.value}\n")
        return
    await copy(response.consume(), begin(out, response.status()))


async def text(out: ResponseOutparam, status: int, text: str) -> None:
    sink = Sink(begin(out, status, "text/plain"))
    await sink.send(text.encode())
    sink.close()


async def copy(source: IncomingBody, to: OutgoingBody) -> None:
    stream, sink = Stream(source), Sink(to)
    while (chunk := await stream.next()) is not None:
        await sink.send(chunk)
    sink.close()


def begin(out: ResponseOutparam, status: int, kind: str = "application/octet-stream") -> OutgoingBody:
    response = OutgoingResponse(Fields.from_list([("content-type", kind.encode())]))
    response.set_status_code(status)
    body = response.body()
    ResponseOutparam.set(out, Ok(response))
    return body
