"""A channel that is opened anew for the next call once the TLS files have changed."""

import asyncio
from collections.abc import Callable
from typing import Any

import grpc

from servemark.runtime.tls import Tls, channel_credentials

# The calls on the channel before get so long to end.
_GRACE_SECONDS = 60.0


class RenewingChannel(grpc.aio.Channel):
    """A channel over TLS, for stubs that are kept for the process's life.

    gRPC reads the files of a channel once: without this, the first connection made after an old
    certificate ran out would fail, and every one after it.
    """

    def __init__(self, target: str, tls: Tls, options: list[tuple[str, int]]) -> None:
        self._target = target
        self._tls = tls
        self._options = options
        self._closing: set[asyncio.Task[None]] = set()
        self._generation = tls.generation
        self._channel = self._open()

    def current(self) -> grpc.aio.Channel:
        """The channel for the next call."""
        self._tls.pems()
        if self._tls.generation != self._generation:
            before, self._channel = self._channel, self._open()
            self._generation = self._tls.generation
            closing = asyncio.create_task(before.close(_GRACE_SECONDS))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
        return self._channel

    def unary_unary(self, *how: Any, **more: Any) -> Any:
        """A method with one request and one answer."""
        return self._late(lambda channel: channel.unary_unary(*how, **more))

    def unary_stream(self, *how: Any, **more: Any) -> Any:
        """A method with one request and many answers."""
        return self._late(lambda channel: channel.unary_stream(*how, **more))

    def stream_unary(self, *how: Any, **more: Any) -> Any:
        """A method with many requests and one answer."""
        return self._late(lambda channel: channel.stream_unary(*how, **more))

    def stream_stream(self, *how: Any, **more: Any) -> Any:
        """A method with many requests and many answers."""
        return self._late(lambda channel: channel.stream_stream(*how, **more))

    async def close(self, grace: float | None = None) -> None:
        """Closes it; calls get `grace` seconds to end."""
        for task in self._closing:
            task.cancel()
        await asyncio.gather(*self._closing, return_exceptions=True)
        await self._channel.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """How the connection is."""
        return self.current().get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Returns once the connection is in another state."""
        await self.current().wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Returns once the connection is there."""
        await self.current().channel_ready()

    async def __aenter__(self) -> "RenewingChannel":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _open(self) -> grpc.aio.Channel:
        credentials = channel_credentials(self._tls)
        return grpc.aio.secure_channel(self._target, credentials, options=self._options)

    def _late(self, method_of: Callable[[grpc.aio.Channel], Any]) -> Callable[..., Any]:
        channel = self._channel
        method = method_of(channel)

        def call(*request: Any, **how: Any) -> Any:
            nonlocal channel, method
            if self.current() is not channel:
                channel = self._channel
                method = method_of(channel)
            return method(*request, **how)

        return call
