"""What is done to every call of an asynchronous client: key, deadline, retries, readable errors."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import grpc.aio

from servemark.client.errors import ServemarkCallError
from servemark.client.policy import Timeouts
from servemark.client.process import Owner
from servemark.client.retry import RetryPolicy, may_repeat


class _Common:
    def __init__(self, target: str, key: str | None) -> None:
        self._target = target
        self._key = key
        self._owner = Owner()

    def _details(
        self, given: grpc.aio.ClientCallDetails, timeout: float | None
    ) -> grpc.aio.ClientCallDetails:
        self._owner.check()
        metadata = grpc.aio.Metadata(*(given.metadata or ()))
        if self._key:
            metadata.add("authorization", f"Bearer {self._key}")
        return grpc.aio.ClientCallDetails(
            method=given.method,
            timeout=timeout,
            metadata=metadata,
            credentials=given.credentials,
            wait_for_ready=given.wait_for_ready,
        )


class _UnaryPolicy(_Common, grpc.aio.UnaryUnaryClientInterceptor):
    """Gives calls with one request and one answer a deadline, and repeats them within it."""

    def __init__(
        self,
        target: str,
        key: str | None,
        timeouts: Timeouts,
        retry: RetryPolicy,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(target, key)
        self._timeouts = timeouts
        self._retry = retry
        self._clock = clock

    async def intercept_unary_unary(
        self, continuation: Any, client_call_details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        method = _name(client_call_details)
        timeout = client_call_details.timeout
        if timeout is None:
            timeout = self._timeouts.of(method)
        # One deadline for all attempts: the caller's patience is not renewed by a retry.
        deadline = self._clock() + timeout
        attempt = 1
        while True:
            details = self._details(client_call_details, deadline - self._clock())
            call = await continuation(details, request)
            try:
                await call
            except grpc.RpcError as caught:
                error = ServemarkCallError.from_rpc_error(caught, self._target)
            else:
                return call
            delay = self._retry.delay(attempt, error.retry_after)
            if (
                not may_repeat(error, method)
                or attempt >= self._retry.max_attempts
                or self._clock() + delay >= deadline
            ):
                raise error
            await asyncio.sleep(delay)
            attempt += 1


class _AnswersPolicy(_Common, grpc.aio.UnaryStreamClientInterceptor):
    """Sends the key with calls that answer with a stream; they have no deadline."""

    async def intercept_unary_stream(
        self, continuation: Any, client_call_details: grpc.aio.ClientCallDetails, request: Any
    ) -> AsyncIterator[Any]:
        call = await continuation(
            self._details(client_call_details, client_call_details.timeout), request
        )
        return self._answers(call)

    async def _answers(self, call: Any) -> AsyncIterator[Any]:
        try:
            async for answer in call:
                yield answer
        except grpc.RpcError as caught:
            raise ServemarkCallError.from_rpc_error(caught, self._target) from None


def policies(
    target: str, key: str | None, timeouts: Timeouts, retry: RetryPolicy
) -> list[grpc.aio.ClientInterceptor]:
    """One for each kind of call: grpc.aio takes an interceptor for the first kind that it is.

    Those that stream requests have none: writing is what `AsyncClient.stream` is for.
    """
    return [
        _UnaryPolicy(target, key, timeouts, retry),
        _AnswersPolicy(target, key),
    ]


def _name(details: grpc.aio.ClientCallDetails) -> str:
    method = details.method
    return method.decode() if isinstance(method, bytes) else str(method)
