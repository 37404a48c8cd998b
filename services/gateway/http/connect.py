"""The Connect protocol: every unary and server-streaming method as POST /package.Service/Method.

A call goes through the same interceptor as one over gRPC (limits, admission, deadline, errors, log
line, metrics) and into the same handler. Only then is its body read, so that a stranger learns
nothing from a wrong one. https://connectrpc.com/docs/protocol
"""

import asyncio
import gzip
import struct
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import grpc
import orjson
import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from servemark.runtime.interceptor import CallInterceptor
from services.gateway.http import messages
from services.gateway.http.context import HttpContext, as_headers
from services.gateway.http.errors import HTTP_STATUS, error_body, error_of
from services.gateway.http.incoming import Incoming
from services.gateway.http.methods import Method, Methods
from services.gateway.http.wish import UnreadableError, Wish, require_kind, wish_of
from services.gateway.keys import Caller
from services.gateway.metadata import REQUEST_ID, STATUS_DETAILS

_GZIP_FROM: Final = 1024
_GZIP_LEVEL: Final = 5
_THREAD_FROM: Final = 64 * 1024
_END_OF_STREAM: Final = 0x02
_PREFIX: Final = struct.Struct(">BI")


class Connect:
    """An ASGI application for the paths of methods.

    `anonymous` says who calls where no credential was sent, or raises what refuses such a call.
    """

    def __init__(
        self, calls: CallInterceptor, methods: Methods, anonymous: Callable[[Request], Caller]
    ) -> None:
        self._calls = calls
        self._methods = methods
        self._anonymous = anonymous

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one call."""
        request = Request(scope)
        method = self._methods.find(request.url.path)
        try:
            wish = wish_of(request)
            if method is not None:
                require_kind(
                    wish,
                    client_streams=method.descriptor.client_streaming,
                    server_streams=method.descriptor.server_streaming,
                )
        except UnreadableError as no:
            headers = {"content-type": "application/json", **no.headers}
            answer = Response(error_body(no.code, no.text), no.status, headers)
            await answer(scope, receive, send)
            return
        call = _Call(wish, method, Incoming(receive, gzipped=wish.gzipped), send)
        context = HttpContext(request, wish.timeout, call.write, self._anonymous)
        await call.run(self._calls, request.url.path, context)


class _Call:
    """One call: the request's body in, the answer out."""

    def __init__(self, wish: Wish, method: Method | None, incoming: Incoming, send: Send) -> None:
        self._wish = wish
        self._method = method
        self._incoming = incoming
        self._send = send
        self._context: HttpContext
        self._begun = False

    async def run(self, calls: CallInterceptor, path: str, context: HttpContext) -> None:
        """Runs the call around its handler and sends what came of it."""
        self._context = context
        around: Any = calls.wrap(path, self._handler())
        answering = asyncio.ensure_future(
            around.unary_unary(None, context)
            if around.unary_unary
            else around.stream_stream(_nothing(), context)
        )
        leaving = asyncio.ensure_future(self._incoming.gone())
        try:
            await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                return
            try:
                answer = answering.result()
            except grpc.aio.AbortError:
                answer = None
            await self._end(answer)
        finally:
            # Also where the caller went away: the service behind learns of it by this.
            for task in (answering, leaving):
                task.cancel()
            await asyncio.gather(answering, leaving, return_exceptions=True)

    async def write(self, message: bytes) -> None:
        """Sends one message of a stream of answers."""
        await self._envelope(0, await self._written(message))

    def _handler(self) -> Any:
        """The method's handler with the reading of the body before it and the writing after it."""
        if self._method is None:
            return None
        inner = self._method.handler
        parse = messages.strict(inner.request_deserializer or bytes)
        serialize = inner.response_serializer or bytes
        if inner.unary_unary:

            async def unary(_: None, context: HttpContext) -> bytes:
                self._name_request()
                answer = await inner.unary_unary(parse(await self._message()), context)
                return await self._written(serialize(answer))

            return grpc.unary_unary_rpc_method_handler(unary)

        async def stream(_: AsyncIterator[Any], context: HttpContext) -> None:
            self._name_request()
            await inner.stream_stream(_one(await self._message()), context)

        return grpc.stream_stream_rpc_method_handler(stream)

    def _name_request(self) -> None:
        request_id = structlog.contextvars.get_contextvars()["request_id"]
        self._context.head.append((REQUEST_ID, request_id))

    async def _message(self) -> bytes:
        body = await self._incoming.read()
        if self._wish.streams:
            body = _from_envelope(body)
        if self._wish.codec == "json":
            assert self._method is not None  # noqa: S101
            return await messages.from_json(body, self._method.descriptor.input_type)
        return body

    async def _written(self, message: bytes) -> bytes:
        if self._wish.codec == "json":
            assert self._method is not None  # noqa: S101
            return await messages.to_json(message, self._method.descriptor.output_type)
        return message

    async def _end(self, answer: bytes | None) -> None:
        code = self._context.code()
        if self._wish.streams:
            await self._end_stream(code)
        elif code is None and answer is not None:
            await self._respond(200, answer, self._wish.content_type)
        else:
            code = code or grpc.StatusCode.UNKNOWN
            body = orjson.dumps(error_of(code, self._context))
            await self._respond(HTTP_STATUS[code], body, "application/json")

    async def _end_stream(self, code: grpc.StatusCode | None) -> None:
        end: dict[str, Any] = {}
        if code is not None:
            end["error"] = error_of(code, self._context)
        metadata: dict[str, list[str]] = {}
        for key, value in as_headers(_shown(self._context)):
            metadata.setdefault(key, []).append(value)
        if metadata:
            end["metadata"] = metadata
        await self._envelope(_END_OF_STREAM, orjson.dumps(end))
        await self._send({"type": "http.response.body", "body": b""})

    async def _envelope(self, flags: int, data: bytes) -> None:
        if not self._begun:
            self._begun = True
            await self._start(200, [("content-type", self._wish.content_type)])
        body = _PREFIX.pack(flags, len(data)) + data
        await self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def _respond(self, status: int, body: bytes, content_type: str) -> None:
        headers = [("content-type", content_type), ("vary", "accept-encoding")]
        headers += as_headers(_shown(self._context), "trailer-")
        if self._wish.gzip_answer and len(body) >= _GZIP_FROM:
            body = await _zipped(body)
            headers.append(("content-encoding", "gzip"))
        headers.append(("content-length", str(len(body))))
        await self._start(status, headers)
        await self._send({"type": "http.response.body", "body": body})

    async def _start(self, status: int, headers: list[tuple[str, str]]) -> None:
        raw = [
            (key.encode(), value.encode())
            for key, value in headers + as_headers(self._context.head)
        ]
        await self._send({"type": "http.response.start", "status": status, "headers": raw})


def _shown(context: HttpContext) -> list[tuple[str, str | bytes]]:
    """The trailers but for an error's details, which are in its body."""
    return [(key, value) for key, value in context.trailers if key != STATUS_DETAILS]


def _from_envelope(body: bytes) -> bytes:
    """The one message in a stream of one. Raises MALFORMED_MESSAGE."""
    if len(body) >= _PREFIX.size:
        flags, size = _PREFIX.unpack_from(body)
        if flags == 0 and len(body) == _PREFIX.size + size:
            return body[_PREFIX.size :]
    raise messages.malformed(
        "The body has to be one message in Connect's envelope: a zero byte, the message's length "
        "in four bytes, the message."
    )


async def _zipped(body: bytes) -> bytes:
    if len(body) < _THREAD_FROM:
        return gzip.compress(body, _GZIP_LEVEL)
    return await asyncio.to_thread(gzip.compress, body, _GZIP_LEVEL)


async def _one(message: bytes) -> AsyncIterator[bytes]:
    yield message


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield
