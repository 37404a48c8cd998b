"""What happens around every call: deadline, errors as statuses with details, log line, metrics.

One interceptor covers all four kinds of handlers. Without it grpc.aio answers an exception with its
text, and malformed bytes with UNKNOWN.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import grpc
import structlog

from servemark.runtime import deadline
from servemark.runtime.errors import (
    INTERNAL_TEXT,
    ServemarkError,
    reason_name,
    status_of,
    unavailable,
)
from servemark.runtime.telemetry import CallMetrics
from servemark.type.v1.error_reason_pb2 import ErrorReason

log = structlog.get_logger()

STATUS_DETAILS_KEY = "grpc-status-details-bin"
_UNLIMITED_SERVICES = ("grpc.health.v1.Health", "grpc.reflection.")

Translator = Callable[[BaseException], ServemarkError | None]


class _Malformed:
    """Stands in for a message whose bytes could not be parsed."""


_MALFORMED = _Malformed()


def _lenient(deserializer: Callable[[bytes], Any] | None) -> Callable[[bytes], Any] | None:
    if deserializer is None:
        return None

    def parse(data: bytes) -> Any:
        try:
            return deserializer(data)
        except Exception:
            return _MALFORMED

    return parse


def _checked(message: Any) -> Any:
    if message is _MALFORMED:
        raise ServemarkError(
            ErrorReason.ERROR_REASON_MALFORMED_MESSAGE,
            "The bytes are not a message of the method's request type.",
        )
    return message


async def _checked_stream(messages: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for message in messages:
        yield _checked(message)


@dataclass(slots=True)
class _Call:
    """What is known of the call being answered."""

    method: str
    request_id: str
    started: float
    code: grpc.StatusCode = grpc.StatusCode.OK
    reason: str = ""


class CallInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Wraps every handler of a server.

    `translators` turn exceptions of libraries (database, upstream calls) into `ServemarkError`.
    """

    def __init__(
        self,
        metrics: CallMetrics,
        *,
        max_concurrent_calls: int,
        translators: Sequence[Translator] = (),
    ) -> None:
        self._metrics = metrics
        self._limit = max_concurrent_calls
        self._translators = tuple(translators)
        self._in_flight = 0

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        """The handler of the called method, wrapped; None where there is no such method."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return handler
        return self._wrap(handler, handler_call_details.method)

    def _wrap(self, handler: Any, method: str) -> Any:
        parse = _lenient(handler.request_deserializer)
        serialize = handler.response_serializer
        if handler.request_streaming and handler.response_streaming:

            async def stream_stream(
                messages: AsyncIterator[Any], context: Any
            ) -> AsyncIterator[Any]:
                async with _Around(self, method, context, streaming=True):
                    async for answer in handler.stream_stream(_checked_stream(messages), context):
                        yield answer

            return grpc.stream_stream_rpc_method_handler(stream_stream, parse, serialize)
        if handler.request_streaming:

            async def stream_unary(messages: AsyncIterator[Any], context: Any) -> Any:
                async with _Around(self, method, context, streaming=True):
                    return await handler.stream_unary(_checked_stream(messages), context)

            return grpc.stream_unary_rpc_method_handler(stream_unary, parse, serialize)
        if handler.response_streaming:

            async def unary_stream(message: Any, context: Any) -> AsyncIterator[Any]:
                async with _Around(self, method, context, streaming=True):
                    async for answer in handler.unary_stream(_checked(message), context):
                        yield answer

            return grpc.unary_stream_rpc_method_handler(unary_stream, parse, serialize)

        async def unary_unary(message: Any, context: Any) -> Any:
            async with _Around(self, method, context, streaming=False):
                return await handler.unary_unary(_checked(message), context)

        return grpc.unary_unary_rpc_method_handler(unary_unary, parse, serialize)

    def translate(self, error: BaseException) -> ServemarkError:
        """The error a caller is told of, for any exception; unexpected ones are logged in full."""
        if isinstance(error, ServemarkError):
            return error
        if isinstance(error, TimeoutError):
            return ServemarkError(
                ErrorReason.ERROR_REASON_DEADLINE_EXCEEDED, "The time the call had is over."
            )
        for translator in self._translators:
            known = translator(error)
            if known is not None:
                return known
        if isinstance(error, grpc.aio.AioRpcError) and error.code() in (
            grpc.StatusCode.UNAVAILABLE,
            grpc.StatusCode.DEADLINE_EXCEEDED,
        ):
            return unavailable("Another Servemark service")
        log.error("unexpected", exc_info=error)
        return ServemarkError(ErrorReason.ERROR_REASON_INTERNAL, INTERNAL_TEXT)


class _Around:
    """The frame of one call, as a context manager so that all four kinds share it."""

    def __init__(self, owner: CallInterceptor, method: str, context: Any, *, streaming: bool):
        self._owner = owner
        self._context = context
        self._streaming = streaming
        self._limited = not method.lstrip("/").startswith(_UNLIMITED_SERVICES)
        self._call = _Call(method, _request_id(context), time.perf_counter())
        self._timeout: asyncio.Timeout | None = None
        _, service, name = method.split("/", 2) if method.count("/") == 2 else ("", method, "")
        self._labels = (service, name)

    async def __aenter__(self) -> None:
        owner = self._owner
        owner._metrics.started.labels(*self._labels).inc()
        owner._metrics.in_flight.inc()
        owner._in_flight += self._limited
        structlog.contextvars.bind_contextvars(request_id=self._call.request_id)
        left = self._context.time_remaining()
        if not self._streaming:
            left = min(left, deadline.UNARY_CAP_SECONDS) if left else deadline.UNARY_CAP_SECONDS
        elif left is not None and left > 10 * 365 * 86400:
            left = None
        deadline.set_deadline(left)
        if self._limited and owner._in_flight > owner._limit:
            await self.__aexit__(
                ServemarkError,
                ServemarkError(
                    ErrorReason.ERROR_REASON_OVERLOADED,
                    "The server has as many calls as it takes. Try again.",
                    retry_after=1.0,
                ),
                None,
            )
        if left is not None:
            self._timeout = asyncio.timeout(left)
            await self._timeout.__aenter__()

    async def __aexit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        if self._timeout is not None:
            timeout, self._timeout = self._timeout, None
            try:
                await timeout.__aexit__(kind, error, trace)
            except TimeoutError as expired:
                error = expired
        try:
            if error is not None:
                await self._fail(error)
        finally:
            self._finish()
        return False

    async def _fail(self, error: BaseException) -> None:
        call = self._call
        if isinstance(error, grpc.aio.AbortError):
            call.code = self._context.code() or grpc.StatusCode.UNKNOWN
            return
        if isinstance(error, (asyncio.CancelledError, GeneratorExit)):
            call.code = grpc.StatusCode.CANCELLED
            return
        known = self._owner.translate(error)
        code, status = status_of(known, call.request_id)
        call.code, call.reason = code, reason_name(known.reason)
        await self._context.abort(
            code, known.message, ((STATUS_DETAILS_KEY, status.SerializeToString()),)
        )

    def _finish(self) -> None:
        owner, call = self._owner, self._call
        owner._metrics.in_flight.dec()
        owner._in_flight -= self._limited
        seconds = time.perf_counter() - call.started
        owner._metrics.handled.labels(*self._labels, call.code.name).inc()
        owner._metrics.latency.labels(*self._labels).observe(seconds)
        if self._limited:
            log.info(
                "call",
                method=call.method,
                code=call.code.name,
                reason=call.reason or None,
                milliseconds=round(seconds * 1000, 2),
            )


def _request_id(context: Any) -> str:
    for key, value in context.invocation_metadata() or ():
        if key == "x-request-id":
            try:
                return str(UUID(value))
            except (ValueError, TypeError, AttributeError):
                break
    return str(uuid4())
