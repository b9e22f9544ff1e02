"""A `wasi:http/service` of WASI 0.3 in Python. The path says what it does:

- /echo sends the request's body back while it arrives, and behind it the request's trailers, and `x-bytes`, their count;
- /fetch?URL fetches a URL and passes the response on, with its trailers;
- /send?URL passes the request on to a URL while it arrives, with its trailers, and the response back;
- any other is greeted.
"""

from urllib.parse import urlsplit

from componentize_py_async_support import spawn
from componentize_py_async_support.futures import FutureReader, FutureWriter
from componentize_py_async_support.streams import ByteStreamReader, ByteStreamWriter
from componentize_py_types import Err, Ok, Result
from wit_world import (
    byte_stream,
    exports,
    result_option_wasi_http_types_fields_wasi_http_types_error_code_future as trailers_future,
    result_unit_wasi_http_types_error_code_future as done_future,
)
from wit_world.imports import client
from wit_world.imports.wasi_http_types import (
    ErrorCode,
    ErrorCode_HttpRequestDenied,
    Fields,
    Method_Post,
    Request,
    Response,
    Scheme_Http,
    Scheme_Https,
)

Trailers = Result[Fields | None, ErrorCode]

PIECE = 64 * 1024


class Handler(exports.Handler):
    async def handle(self, request: Request) -> Response:
        target = request.get_path_with_query() or "/"
        path, _, url = target.partition("?")
        if path == "/echo":
            return echo(request)
        if path not in ("/fetch", "/send"):
            return say(200, f"hello from {target}\n")
        try:
            return passed_on(await client.send(request_to(url, request if path == "/send" else None)))
        except Err as error:
            denied = isinstance(error.value, ErrorCode_HttpRequestDenied)
            return say(502, "denied\n" if denied else "failed\n")


def echo(request: Request) -> Response:
    announced = those_of(request.get_headers(), "trailer")
    body, trailers = consume(Request, request)
    writer, reader = byte_stream()
    behind, last = trailers_future(lambda: Ok(None))
    spawn(copy(body, trailers, writer, behind))
    headers = [("content-type", b"application/octet-stream"), *announced, ("trailer", b"x-bytes")]
    return respond(200, headers, reader, last)


async def copy(
    body: ByteStreamReader, trailers: FutureReader[Trailers], writer: ByteStreamWriter, behind: FutureWriter[Trailers]
) -> None:
    count = 0
    with body, writer:
        while not body.writer_dropped:
            piece = await body.read(PIECE)
            count += len(piece)
            if await writer.write_all(piece) < len(piece):
                break
    match await trailers.read():
        case Ok(fields):
            fields = Fields() if fields is None else fields.clone()
            fields.append("x-bytes", str(count).encode())
            await behind.write(Ok(fields))
        case error:
            await behind.write(error)


def request_to(url: str, original: Request | None) -> Request:
    parts = urlsplit(url)
    if original is None:
        headers, body, trailers = [], None, trailers_future(lambda: Ok(None))[1]
    else:
        headers = those_of(original.get_headers(), "trailer")
        body, trailers = consume(Request, original)
    request, _ = Request.new(Fields.from_list(headers), body, trailers, None)
    if original is not None:
        request.set_method(Method_Post())
    request.set_scheme(Scheme_Https() if parts.scheme == "https" else Scheme_Http())
    request.set_authority(parts.netloc)
    request.set_path_with_query(parts._replace(scheme="", netloc="").geturl())
    return request


def passed_on(response: Response) -> Response:
    status = response.get_status_code()
    received = response.get_headers()
    headers = those_of(received, "content-type") + those_of(received, "trailer")
    return respond(status, headers, *consume(Response, response))


def say(status: int, text: str) -> Response:
    writer, reader = byte_stream()

    async def write() -> None:
        with writer:
            await writer.write_all(text.encode())

    spawn(write())
    return respond(status, [("content-type", b"text/plain")], reader, trailers_future(lambda: Ok(None))[1])


def those_of(headers: Fields, name: str) -> list[tuple[str, bytes]]:
    return [(name, value) for value in headers.get(name)]


def consume(kind, message):
    """The body of a request or a response, and what becomes of its trailers."""
    return kind.consume_body(message, done_future(lambda: Ok(None))[1])


def respond(
    status: int, headers: list[tuple[str, bytes]], body: ByteStreamReader, trailers: FutureReader[Trailers]
) -> Response:
    response, _ = Response.new(Fields.from_list(headers), body, trailers)
    response.set_status_code(status)
    return response
