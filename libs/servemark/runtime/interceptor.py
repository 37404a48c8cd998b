"""What happens around every call: deadline, errors as statuses with details, log line, metrics.

One interceptor covers all four kinds of handlers. Without it grpc.aio answers an exception with its
text, and malformed bytes with UNKNOWN.
"""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any, Literal, NoReturn
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
from servemark.runtime.telemetry import CallMetrics, MethodMetrics
from servemark.type.v1.error_reason_pb2 import ErrorReason

log = structlog.get_logger()

STATUS_DETAILS_KEY = "grpc-status-details-bin"
WORKER_KEY = "x-servemark-worker"
_CANCELLATION_FOLLOWS_WITHIN = 0.005
_ABORT_SECONDS = 1.0
_UNLIMITED_SERVICES = ("grpc.health.v1.Health", "grpc.reflection.")

Translator = Callable[[BaseException], ServemarkError | None]
Leave = Callable[[], None]
Admit = Callable[[str, Any], Awaitable[Leave | None]]


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


def _or_bytes(serializer: Callable[[Any], bytes] | None) -> Callable[[Any], bytes] | None:
    """Lets a handler answer with a message that is serialized already, as a cache holds it."""
    if serializer is None:
        return None

    def serialize(message: Any) -> bytes:
        return message if type(message) is bytes else serializer(message)

    return serialize


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
        # An idle call must not keep its last message, which may have megabytes.
        del message
    # To grpc.aio a caller who went away looks like one who has finished, until the cancellation
    # follows, half a millisecond later. Nobody may take a broken stream for a whole one.
    await asyncio.sleep(_CANCELLATION_FOLLOWS_WITHIN)


async def _send_answers(handler: Any, request: Any, context: Any) -> None:
    """Runs a handler that streams its answers, whether it yields them or writes them itself.

    Not left to grpc.aio, so that the handler lives and ends in the call's own task: a generator
    dropped half-way would be finished later, in another.
    """
    if inspect.iscoroutinefunction(handler):
        await handler(request, context)
        return
    async with aclosing(handler(request, context)) as answers:
        async for answer in answers:
            await context.write(answer)


async def _not_offered(_: Any, __: Any) -> None:
    raise ServemarkError(
        ErrorReason.ERROR_REASON_METHOD_NOT_OFFERED, "This server does not offer the method."
    )


@dataclass(slots=True)
class _Call:
    """What is known of the call being answered."""

    method: str
    request_id: str
    started: float
    code: grpc.StatusCode = grpc.StatusCode.OK
    reason: str = ""


async def abort(
    context: Any, code: grpc.StatusCode, text: str, trailers: Sequence[tuple[str, str | bytes]]
) -> NoReturn:
    """Ends a call with a status, also where its caller reads nothing.

    The status lies behind what was sent before it. A caller who does not read that is told when it
    does; meanwhile nothing else of the call is kept.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(_ABORT_SECONDS):
            await context.abort(code, text, trailers)
    raise grpc.aio.AbortError


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps every handler of a server.

    `translators` turn exceptions of libraries (database, upstream calls) into `ServemarkError`.
    `admit` is asked before each call, with its method and context, and raises what refuses it; it
    decides before the request is looked at, so a stranger learns nothing from a wrong request. What
    it returns, if anything, is called when the call is over.
    Where the process is one of several on a port, every answer begins with the number of this
    `worker` in its metadata.
    """

    def __init__(
        self,
        metrics: CallMetrics,
        *,
        max_concurrent_calls: int,
        translators: Sequence[Translator] = (),
        admit: Admit | None = None,
        worker: int | None = None,
    ) -> None:
        self._metrics = metrics
        self._limit = max_concurrent_calls
        self._translators = tuple(translators)
        self._admit = admit
        self._head = () if worker is None else ((WORKER_KEY, str(worker)),)
        self._in_flight = 0
        # As many as the server has methods: a name that nothing answers to is never kept.
        self._wrapped: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable["grpc.RpcMethodHandler[Any, Any] | None"]
        ],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "grpc.RpcMethodHandler[Any, Any]":
        """The handler of the called method, wrapped; one that refuses where there is none."""
        method = handler_call_details.method
        wrapped = self._wrapped.get(method)
        if wrapped is not None:
            return wrapped
        handler = await continuation(handler_call_details)
        if handler is None:
            return self.wrap(method, None)
        self._wrapped[method] = self.wrap(method, handler)
        return self._wrapped[method]

    def wrap(self, method: str, handler: Any) -> "grpc.RpcMethodHandler[Any, Any]":
        """A handler of a method, wrapped; one that refuses for None. For ports beside gRPC's."""
        if handler is None:
            # Callers choose this name, so it must not become a label: each would stay for ever.
            return self._wrap(
                grpc.stream_stream_rpc_method_handler(_not_offered), method, ("unknown", "unknown")
            )
        service, _, name = method.lstrip("/").rpartition("/")
        return self._wrap(handler, method, (service, name))

    def _wrap(
        self, handler: Any, method: str, names: tuple[str, str]
    ) -> "grpc.RpcMethodHandler[Any, Any]":
        metrics = self._metrics.of_method(*names)
        parse = _lenient(handler.request_deserializer)
        serialize = _or_bytes(handler.response_serializer)

        if handler.request_streaming and handler.response_streaming:

            async def stream_stream(messages: AsyncIterator[Any], context: Any) -> None:
                async with _Around(self, method, metrics, context, streaming=True):
                    await _send_answers(handler.stream_stream, _checked_stream(messages), context)

            return grpc.stream_stream_rpc_method_handler(stream_stream, parse, serialize)
        if handler.request_streaming:

            async def stream_unary(messages: AsyncIterator[Any], context: Any) -> Any:
                async with _Around(self, method, metrics, context, streaming=True):
                    return await handler.stream_unary(_checked_stream(messages), context)

            return grpc.stream_unary_rpc_method_handler(stream_unary, parse, serialize)
        if handler.response_streaming:

            async def unary_stream(message: Any, context: Any) -> None:
                async with _Around(self, method, metrics, context, streaming=True):
                    await _send_answers(handler.unary_stream, _checked(message), context)

            return grpc.unary_stream_rpc_method_handler(unary_stream, parse, serialize)

        async def unary_unary(message: Any, context: Any) -> Any:
            async with _Around(self, method, metrics, context, streaming=False):
                return await handler.unary_unary(_checked(message), context)

        return grpc.unary_unary_rpc_method_handler(unary_unary, parse, serialize)

    def translate(self, error: BaseException) -> ServemarkError:
        """The error a caller is told of, for any exception; unexpected ones are logged in full."""
        if isinstance(error, ServemarkError):
            return error
        left = deadline.remaining()
        if isinstance(error, TimeoutError) and left is not None and left <= 0.001:
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
        if isinstance(error, TimeoutError):
            return unavailable("A server this call depends on")
        log.error("unexpected", exc_info=error)
        return ServemarkError(ErrorReason.ERROR_REASON_INTERNAL, INTERNAL_TEXT)


class _Around:
    """The frame of one call, as a context manager so that all four kinds share it."""

    def __init__(
        self,
        owner: CallInterceptor,
        method: str,
        metrics: MethodMetrics,
        context: Any,
        *,
        streaming: bool,
    ) -> None:
        self._owner = owner
        self._context = context
        self._streaming = streaming
        self._limited = not method.lstrip("/").startswith(_UNLIMITED_SERVICES)
        self._call = _Call(method, _request_id(context), time.perf_counter())
        self._timeout: asyncio.Timeout | None = None
        self._leave: Leave | None = None
        self._metrics = metrics

    async def __aenter__(self) -> None:
        owner = self._owner
        self._metrics.started.inc()
        owner._metrics.in_flight.inc()
        owner._in_flight += self._limited
        structlog.contextvars.bind_contextvars(request_id=self._call.request_id)
        left = self._context.time_remaining()
        if left is None and not self._streaming:
            left = deadline.UNARY_CAP_SECONDS
        deadline.set_deadline(left)
        if left is not None:
            self._timeout = asyncio.timeout(left)
            await self._timeout.__aenter__()
        try:
            if owner._head:
                await self._context.send_initial_metadata(owner._head)
            await self._admit()
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise

    async def _admit(self) -> None:
        owner = self._owner
        if self._limited and owner._in_flight > owner._limit:
            raise ServemarkError(
                ErrorReason.ERROR_REASON_OVERLOADED,
                "The server has as many calls as it takes. Try again.",
                retry_after=1.0,
            )
        if owner._admit is not None:
            self._leave = await owner._admit(self._call.method, self._context)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: Any
    ) -> Literal[False]:
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
        if isinstance(error, (asyncio.CancelledError, grpc.aio.BaseError)):
            # The caller is gone: the task was cancelled, or a write to it failed just before that.
            call.code = grpc.StatusCode.CANCELLED
            return
        known = self._owner.translate(error)
        code, status = status_of(known, call.request_id)
        call.code, call.reason = code, reason_name(known.reason)
        await abort(
            self._context,
            code,
            known.message,
            ((STATUS_DETAILS_KEY, status.SerializeToString()),),
        )

    def _finish(self) -> None:
        owner, call = self._owner, self._call
        owner._metrics.in_flight.dec()
        owner._in_flight -= self._limited
        if self._leave is not None:
            self._leave()
        seconds = time.perf_counter() - call.started
        self._metrics.handled(call.code.name).inc()
        self._metrics.latency.observe(seconds)
        if self._limited:
            log.info(
                "call",
                method=call.method[:200],
                code=call.code.name,
                reason=call.reason or None,
                request_id=call.request_id,
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
