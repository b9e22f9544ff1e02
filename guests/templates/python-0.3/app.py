"""An HTTP handler, on asyncio. Bodies are streams, trailers futures."""

from urllib.parse import urlsplit

from componentize_py_async_support import spawn
from componentize_py_async_support.streams import ByteStreamReader
from componentize_py_types import Err, Ok
from wit_world import (
    byte_stream,
    exports,
    result_option_wasi_http_types_fields_wasi_http_types_error_code_future as trailers_future,
    result_unit_wasi_http_types_error_code_future as done_future,
)
from wit_world.imports import client
from wit_world.imports.wasi_http_types import Fields, Request, Response, Scheme_Http, Scheme_Https


class Handler(exports.Handler):
    async def handle(self, request: Request) -> Response:
        path = urlsplit(request.get_path_with_query() or "/").path
        match path:
            case "/echo":
                # The body goes back while it arrives, and its trailers behind it.
                return respond(200, "application/octet-stream", *Request.consume_body(request, all_well()))
            case "/fetch":
                return await pass_on("https://example.com/")
            case _:
                return text(200, f"hello from {path}\n")


async def pass_on(url: str) -> Response:
    """What another server says. The operator has to allow it: `wharf serve -a https://example.com ...`."""
    parts = urlsplit(url)
    request, _ = Request.new(Fields(), None, no_trailers(), None)
    request.set_scheme(Scheme_Https() if parts.scheme == "https" else Scheme_Http())
    request.set_authority(parts.netloc)
    request.set_path_with_query(parts.path or "/")
    try:
        response = await client.send(request)
    except Err as error:
        return text(502, f"{url}: {error.value}\n")
    return respond(response.get_status_code(), "text/html", *Response.consume_body(response, all_well()))


def text(status: int, text: str) -> Response:
    writer, body = byte_stream()

    async def write() -> None:
        with writer:
            await writer.write_all(text.encode())

    # It goes on once the response is returned.
    spawn(write())
    return respond(status, "text/plain", body, no_trailers())


def respond(status: int, kind: str, body: ByteStreamReader, trailers) -> Response:
    response, _ = Response.new(Fields.from_list([("content-type", kind.encode())]), body, trailers)
    response.set_status_code(status)
    return response


def no_trailers():
    return trailers_future(lambda: Ok(None))[1]


def all_well():
    return done_future(lambda: Ok(None))[1]
