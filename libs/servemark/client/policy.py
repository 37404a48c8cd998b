"""What is done to every call: key, deadline, retries, readable errors."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import grpc

from servemark.client.errors import ServemarkCallError
from servemark.client.process import Owner
from servemark.client.retry import RetryPolicy, may_repeat

# Methods that read many rows get the longer deadline.
_LIST_PREFIXES = ("List", "BatchGet", "Query", "Resolve", "RankMatrix", "RefreshRankings")


@dataclass(frozen=True)
class Timeouts:
    """Deadlines in seconds for calls that bring none. Streams are bounded by their idle time."""

    unary: float = 5.0
    list: float = 10.0

    def of(self, method: str) -> float:
        """The deadline of a method."""
        name = method.rsplit("/", 1)[-1]
        return self.list if name.startswith(_LIST_PREFIXES) else self.unary


class _CallDetails(NamedTuple):
    method: str
    timeout: float | None
    metadata: Sequence[tuple[str, str | bytes]] | None
    credentials: Any
    wait_for_ready: bool | None
    compression: Any


class _Failed:
    """An outcome that raises our error wherever gRPC's would have been raised."""

    def __init__(self, call: Any, error: ServemarkCallError) -> None:
        self._call = call
        self._error = error

    def result(self, timeout: float | None = None) -> Any:
        raise self._error

    def exception(self, timeout: float | None = None) -> ServemarkCallError:
        return self._error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)


class _Answers:
    """The answers of a call that streams them; the end of a failed one raises our error."""

    def __init__(self, call: Any, target: str) -> None:
        self._call = call
        self._target = target

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            return next(self._call)
        except grpc.RpcError as error:
            raise ServemarkCallError.from_rpc_error(error, self._target) from None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)


class CallPolicy(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
):
    """Sends the key with every call; gives unary calls a deadline and repeats them within it.

    Calls that answer with a stream have no deadline, and are not repeated.
    """

    def __init__(
        self,
        target: str,
        key: str | None,
        timeouts: Timeouts,
        retry: RetryPolicy,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._target = target
        self._authorization = [("authorization", f"Bearer {key}")] if key else []
        self._timeouts = timeouts
        self._retry = retry
        self._sleep = sleep
        self._clock = clock
        self._owner = Owner()

    def intercept_unary_unary(
        self, continuation: Any, client_call_details: grpc.ClientCallDetails, request: Any
    ) -> Any:
        details = self._with_key(client_call_details)
        timeout = details.timeout
        if timeout is None:
            timeout = self._timeouts.of(str(details.method))
        # One deadline for all attempts: the caller's patience is not renewed by a retry.
        deadline = self._clock() + timeout
        attempt = 1
        while True:
            remaining = deadline - self._clock()
            call = continuation(details._replace(timeout=remaining), request)
            exception = call.exception()
            if exception is None:
                return call
            if not isinstance(exception, grpc.RpcError):
                return call
            error = ServemarkCallError.from_rpc_error(exception, self._target)
            delay = self._retry.delay(attempt, error.retry_after)
            if (
                not may_repeat(error, str(details.method))
                or attempt >= self._retry.max_attempts
                or self._clock() + delay >= deadline
            ):
                return _Failed(call, error)
            self._sleep(delay)
            attempt += 1

    def intercept_unary_stream(
        self, continuation: Any, client_call_details: grpc.ClientCallDetails, request: Any
    ) -> Any:
        call = continuation(self._with_key(client_call_details), request)
        return _Answers(call, self._target)

    def intercept_stream_stream(
        self,
        continuation: Any,
        client_call_details: grpc.ClientCallDetails,
        request_iterator: Iterator[Any],
    ) -> Any:
        return continuation(self._with_key(client_call_details), request_iterator)

    def intercept_stream_unary(
        self,
        continuation: Any,
        client_call_details: grpc.ClientCallDetails,
        request_iterator: Iterator[Any],
    ) -> Any:
        return continuation(self._with_key(client_call_details), request_iterator)

    def _with_key(self, given: Any) -> _CallDetails:
        self._owner.check()
        return _CallDetails(
            method=given.method,
            timeout=given.timeout,
            metadata=[*(given.metadata or ()), *self._authorization],
            credentials=given.credentials,
            wait_for_ready=given.wait_for_ready,
            compression=given.compression,
        )
