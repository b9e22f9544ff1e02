"""Requests, responses and their bodies, as the commands and the handlers make and name them."""

import asyncio
import re
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import poll_loop
from componentize_py_types import Err, Ok
from poll_loop import Sink, Stream
from wit_world.imports.streams import StreamError_Closed, StreamError_LastOperationFailed
from wit_world.imports.types import (
    Fields,
    IncomingBody,
    IncomingResponse,
    Method,
    Method_Connect,
    Method_Delete,
    Method_Get,
    Method_Head,
    Method_Options,
    Method_Other,
    Method_Patch,
    Method_Post,
    Method_Put,
    Method_Trace,
    OutgoingBody,
    OutgoingRequest,
    OutgoingResponse,
    ResponseOutparam,
    Scheme_Http,
    Scheme_Https,
    http_error_code,
)

METHODS = {
    "CONNECT": Method_Connect,
    "DELETE": Method_Delete,
    "GET": Method_Get,
    "HEAD": Method_Head,
    "OPTIONS": Method_Options,
    "PATCH": Method_Patch,
    "POST": Method_Post,
    "PUT": Method_Put,
    "TRACE": Method_Trace,
}

Headers = list[tuple[str, bytes]]


def method_of(name: str) -> Method:
    standard = METHODS.get(name)
    return standard() if standard else Method_Other(name)


def request_to(url: str, method: Method | None = None, headers: Headers | None = None) -> OutgoingRequest:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"no HTTP URL: {url}")
    request = OutgoingRequest(Fields.from_list(headers or []))
    try:
        request.set_method(method or Method_Get())
        request.set_scheme(Scheme_Https() if parts.scheme == "https" else Scheme_Http())
        request.set_authority(parts.netloc)
        request.set_path_with_query((parts.path or "/") + (f"?{parts.query}" if parts.query else ""))
    except Err:
        raise ValueError(f"no request can be made for {url}") from None
    return request


async def send(request: OutgoingRequest, body: bytes) -> IncomingResponse:
    """Sends a request whose body is in memory."""

    async def one() -> AsyncIterator[bytes]:
        yield body

    return await send_pieces(request, one()) if body else await poll_loop.send(request)


async def send_pieces(request: OutgoingRequest, body: AsyncIterator[bytes]) -> IncomingResponse:
    """Sends a request with its body. The response is waited for meanwhile: an origin may answer before it has read all."""
    to = request.body()
    response, _ = await asyncio.gather(poll_loop.send(request), write(body, to))
    return response


async def write(pieces: AsyncIterator[bytes], to: OutgoingBody) -> None:
    sink = Sink(to)
    try:
        async for piece in pieces:
            await sink.send(piece)
    except Err as error:
        # Nobody reads any more. What answers the request says why.
        if not isinstance(error.value, StreamError_Closed):
            raise
    sink.close()


async def pieces(body: IncomingBody) -> AsyncIterator[bytes]:
    """The pieces of a body as they arrive."""
    stream = Stream(body)
    while (piece := await stream.next()) is not None:
        yield piece


def begin(out: ResponseOutparam, status: int, headers: Headers) -> OutgoingBody:
    """Sends the head of a response, and gives its body to write."""
    response = OutgoingResponse(Fields.from_list(headers))
    response.set_status_code(status)
    body = response.body()
    ResponseOutparam.set(out, Ok(response))
    return body


async def say(out: ResponseOutparam, status: int, text: str) -> None:
    sink = Sink(begin(out, status, [("content-type", b"text/plain")]))
    await sink.send(text.encode())
    sink.close()


def code_of(error: Err) -> object:
    """The `error-code` of wasi:http behind an error, if it has one."""
    value = error.value
    if isinstance(value, StreamError_LastOperationFailed):
        return http_error_code(value.value)
    return value


def describe(error: Exception) -> str:
    """What failed, in words, and the code, named as wasi:http does."""
    if not isinstance(error, Err):
        return str(error)
    kind, _, case = type(code_of(error)).__name__.partition("_")
    if kind == "HeaderError":
        return f"invalid header ({wit_name(case)})"
    if kind != "ErrorCode":
        return "the request failed"
    what = "the destination is not allowed" if case == "HttpRequestDenied" else "the request failed"
    return f"{what} (code {wit_name(case)})"


def wit_name(case: str) -> str:
    """`HttpRequestDenied` as `HTTP-request-denied`."""
    words = re.findall("[A-Z][a-z]*", case)
    return "-".join(word.upper() if word in ("Dns", "Http", "Ip", "Tls", "Uri") else word.lower() for word in words)
