"""Forwards calls to the service behind, as bytes: messages, metadata, status, details untouched.

What goes on: the messages one by one as the other side takes them, the time the caller has left,
the request id, and the caller's key id and organization. What ends here: the credential and the
metadata of one hop.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any

import grpc
import structlog
from google.protobuf import descriptor_pool

from servemark.runtime import deadline, tenancy
from servemark.runtime.errors import ServemarkError
from servemark.runtime.interceptor import abort
from servemark.runtime.server import INTERNAL_TOKEN_KEY
from servemark.type.v1.error_reason_pb2 import ErrorReason
from services.gateway.admission import current_caller
from services.gateway.ending import Ending, Status
from services.gateway.keys import Caller, key_invalid
from services.gateway.limits import Limits
from services.gateway.metadata import REQUEST_ID, STATUS_DETAILS, back, onward
from services.gateway.motion import Motion, StreamTimes
from services.gateway.row_count import REQUEST_TYPES, rows_in
from services.gateway.upstream import Upstream

RECHECK_KEY_SECONDS = 1.0
_Code = grpc.StatusCode
# Every error of a Servemark service has details. Without them, these come from the way there.
_OF_THE_WAY = (_Code.UNAVAILABLE, _Code.CANCELLED, _Code.UNKNOWN, _Code.INTERNAL)

StillGood = Callable[[Caller], Awaitable[bool]]


class Forwarder(grpc.GenericRpcHandler):
    """A handler for every method of the services behind, made from their descriptors.

    `still_good` is asked every second of an open stream whether its key still is. Rows of ingest
    streams go on as `limits` allow: a stream that is too fast is read more slowly.
    """

    def __init__(
        self,
        upstreams: Iterable[Upstream],
        *,
        still_good: StillGood,
        limits: Limits,
        times: StreamTimes,
        internal_token: str | None = None,
    ) -> None:
        self._still_good = still_good
        self._limits = limits
        self._times = times
        self._internal_token = internal_token
        self._handlers: Mapping[str, Any] = {
            f"/{upstream.name}/{method.name}": self._handler(upstream, method)
            for upstream in upstreams
            for method in descriptor_pool.Default().FindServiceByName(upstream.name).methods
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """The handler of a method; None for one that is not of a service behind."""
        return self._handlers.get(handler_call_details.method)

    def _handler(self, upstream: Upstream, method: Any) -> Any:
        path = f"/{upstream.name}/{method.name}"
        if not method.client_streaming and not method.server_streaming:

            async def one(message: bytes, context: Any) -> bytes | None:
                return await self._forward_one(upstream, path, message, context)

            return grpc.unary_unary_rpc_method_handler(one)

        async def many(messages: AsyncIterator[bytes], context: Any) -> None:
            await self._forward_stream(upstream, path, messages, context)

        # On the wire all kinds of streaming are the same, so one way forwards them all.
        return grpc.stream_stream_rpc_method_handler(many)

    def _metadata(self, context: Any, caller: Caller) -> tuple[tuple[str, str | bytes], ...]:
        pairs = onward(context.invocation_metadata() or ())
        request_id = structlog.contextvars.get_contextvars()["request_id"]
        pairs += [(REQUEST_ID, request_id), (tenancy.CALLER, caller.key_id)]
        pairs += tenancy.to_metadata(caller.tenant)
        if self._internal_token is not None:
            pairs.append((INTERNAL_TOKEN_KEY, self._internal_token))
        return tuple(pairs)

    async def _forward_one(
        self, upstream: Upstream, path: str, message: bytes, context: Any
    ) -> bytes | None:
        metadata = self._metadata(context, current_caller())
        with upstream.connection() as connection:
            call = connection.unary(path)(message, timeout=deadline.remaining(), metadata=metadata)
            answer: bytes | None
            try:
                answer = await call
            except grpc.aio.AioRpcError as error:
                answer = None
                status = Status(
                    error.code(), error.details() or "", back(error.trailing_metadata())
                )
            else:
                status = Status(_Code.OK, "", back(await call.trailing_metadata()))
            await _send_head(call, context)
            await _end(upstream, status, context)
        return answer

    async def _forward_stream(
        self, upstream: Upstream, path: str, messages: AsyncIterator[bytes], context: Any
    ) -> None:
        caller = current_caller()
        metadata = self._metadata(context, caller)
        with upstream.connection() as connection:
            open_call: Any = connection.channel.stream_stream(path)
            call = open_call(timeout=deadline.remaining(), metadata=metadata)
            ending = Ending(call)
            motion = Motion(self._times)
            if path in REQUEST_TYPES:
                messages = self._within_limits(messages, caller, motion)
            up = asyncio.create_task(_upload(messages, call, motion))
            down = asyncio.create_task(_download(call, context, motion))
            watch = asyncio.create_task(self._watch(caller, motion))
            try:
                await asyncio.wait((down, watch), return_when=asyncio.FIRST_COMPLETED)
                if not down.done():
                    raise watch.result()
                await down
                status = await ending.status()
                if status.code is _Code.OK and up.done() and (refusal := up.result()) is not None:
                    raise refusal
                await _end(upstream, status, context)
            finally:
                # Also where the caller went away: the service behind learns of it by this.
                call.cancel()
                for task in (up, down, watch):
                    task.cancel()
                await asyncio.gather(up, down, watch, return_exceptions=True)

    async def _within_limits(
        self, messages: AsyncIterator[bytes], caller: Caller, motion: Motion
    ) -> AsyncIterator[bytes]:
        """The caller's messages, each once its rows may go on."""
        async for message in messages:
            rows = rows_in(message)
            if rows:
                motion.held_back = True
                await self._limits.take_rows(caller, rows)
                motion.held_back = False
            yield message

    async def _watch(self, caller: Caller, motion: Motion) -> ServemarkError:
        """What a stream has to end with, once its key is no longer good or it moves no more."""
        while True:
            await asyncio.sleep(RECHECK_KEY_SECONDS)
            problem = motion.problem()
            if problem is not None:
                limit, error = problem
                self._limits.ended(limit)
                return error
            try:
                if not await self._still_good(caller):
                    return key_invalid()
            except ServemarkError:
                # The database does not answer: nothing is known against the key.
                continue


async def _upload(
    messages: AsyncIterator[bytes], call: Any, motion: Motion
) -> ServemarkError | None:
    """Passes the caller's messages on, each once the one before has been taken.

    Where a limit ends them early, returns what the call is to end with: to the service it looks
    finished, so that it answers everything it was sent.
    """
    refusal = None
    try:
        try:
            async for message in messages:
                motion.received()
                await call.write(message)
        except ServemarkError as error:
            refusal = error
        await call.done_writing()
    except (grpc.aio.AioRpcError, grpc.aio.BaseError, asyncio.InvalidStateError):
        # The call is over; its status says why.
        return None
    return refusal


async def _download(call: Any, context: Any, motion: Motion) -> None:
    """Passes the service's messages back, until there are no more."""
    await _send_head(call, context)
    try:
        async for answer in call:
            motion.answering()
            await context.write(answer)
            motion.answered()
    except grpc.aio.AioRpcError:
        # Its status is read where the call ends.
        return


async def _send_head(call: Any, context: Any) -> None:
    head = back(await call.initial_metadata())
    if head:
        await context.send_initial_metadata(head)


async def _end(upstream: Upstream, status: Status, context: Any) -> None:
    """Ends the caller's call as the service ended its own, or says that the service is away."""
    if status.code is _Code.OK:
        context.set_trailing_metadata(status.trailers)
        return
    if not any(key == STATUS_DETAILS for key, _ in status.trailers):
        if status.code in _OF_THE_WAY:
            raise _away(upstream)
        if status.code is _Code.DEADLINE_EXCEEDED:
            raise ServemarkError(
                ErrorReason.ERROR_REASON_DEADLINE_EXCEEDED, "The time the call had is over."
            )
    await abort(context, status.code, status.text, status.trailers)


def _away(upstream: Upstream) -> ServemarkError:
    name = upstream.name.rpartition(".")[2]
    return ServemarkError(
        ErrorReason.ERROR_REASON_DEPENDENCY_UNAVAILABLE,
        f"{name} does not answer, or went away in the middle of the call. What it acknowledged is "
        "stored; try again.",
        metadata={"dependency": name},
        retry_after=1.0,
    )
