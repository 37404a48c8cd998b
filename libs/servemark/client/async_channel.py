"""The connection to a Servemark gateway for programs that run on asyncio."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import grpc.aio

from servemark.catalog.v1.catalog_service_pb2_grpc import CatalogServiceStub
from servemark.catalog.v1.use_case_pb2 import ListUseCasesRequest
from servemark.client.address import Address, TlsFiles, address_of
from servemark.client.async_policy import policies
from servemark.client.async_stream import AsyncRunnerStream
from servemark.client.channel import OPTIONS, Client
from servemark.client.config import Config
from servemark.client.linger import FLUSH_SECONDS
from servemark.client.policy import Timeouts
from servemark.client.process import Owner
from servemark.client.retry import RetryPolicy
from servemark.client.spool import Spool
from servemark.events.v1.event_service_pb2_grpc import EventServiceStub
from servemark.gateway.v1.admin_service_pb2_grpc import AdminServiceStub
from servemark.ingest.v1.ingest_service_pb2_grpc import IngestServiceStub
from servemark.ingest.v1.storage_service_pb2_grpc import StorageServiceStub
from servemark.ranking.v1.ranking_service_pb2_grpc import RankingServiceStub


class AsyncClient:
    """What Client is, with calls to await: the same names, deadlines, retries and errors.

    Its calls go over grpc.aio. `stream` is the exception: what makes a stream safe (its spool, its
    reconnecting, its books) is one piece of code, which runs in threads, with a connection of its
    own. An AsyncClient belongs to the event loop that it was made in.
    """

    def __init__(
        self, address: Address, key: str | None, timeouts: Timeouts, retry: RetryPolicy
    ) -> None:
        self.target = address.name
        self._owner = Owner()
        self._address, self._key, self._timeouts, self._retry = address, key, timeouts, retry
        self._streaming: Client | None = None
        channel = self._channel = _open(address, policies(address.name, key, timeouts, retry))
        self.catalog = CatalogServiceStub(channel)
        self.ingest = IngestServiceStub(channel)
        self.storage = StorageServiceStub(channel)
        self.ranking = RankingServiceStub(channel)
        self.events = EventServiceStub(channel)
        self.admin = AdminServiceStub(channel)

    async def ping(self) -> None:
        """Returns if the gateway answers and takes the key; raises ServemarkCallError if not."""
        await self.catalog.ListUseCases(ListUseCasesRequest(page_size=1))

    def stream(
        self,
        *,
        tool: str,
        provenance: str,
        tool_version: str = "",
        configs: Iterable[Config] = (),
        flush_seconds: float = FLUSH_SECONDS,
        idle_timeout: float | None = None,
        spool: Spool | Path | str | Literal[True] | None = None,
    ) -> AsyncRunnerStream:
        """A stream for a runner's results, as Client.stream gives it, to be used with `async with`.

        It opens, and says what is wrong with its options, with the block or its first result.
        """
        self._owner.check()
        if self._streaming is None:
            self._streaming = Client(self._address, self._key, self._timeouts, self._retry)
        client, named = self._streaming, tuple(configs)
        return AsyncRunnerStream(
            lambda: client.stream(
                tool=tool,
                provenance=provenance,
                tool_version=tool_version,
                configs=named,
                flush_seconds=flush_seconds,
                idle_timeout=idle_timeout,
                spool=spool,
            )
        )

    async def close(self) -> None:
        """Closes the connection; calls in flight are cancelled, and open streams abandoned."""
        if not self._owner.is_here:
            return
        if self._streaming is not None:
            self._streaming.close()
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()


def connect_async(
    target: str | None = None,
    *,
    key: str | None = None,
    ca: Path | str | None = None,
    client_cert: Path | str | None = None,
    client_key: Path | str | None = None,
    allow_plaintext_key: bool | None = None,
    timeouts: Timeouts | None = None,
    retry: RetryPolicy | None = None,
) -> AsyncClient:
    """An asynchronous client of the gateway at `target`; everything is as in `connect`.

    Call it where the event loop runs.
    """
    key = key or os.environ.get("SERVEMARK_API_KEY") or None
    address = address_of(target, TlsFiles.given(ca, client_cert, client_key))
    address.check(key, allow_plaintext_key)
    return AsyncClient(address, key, timeouts or Timeouts(), retry or RetryPolicy())


def _open(address: Address, interceptors: Sequence[grpc.aio.ClientInterceptor]) -> grpc.aio.Channel:
    options = [*OPTIONS, *address.options()]
    if address.credentials is None:
        return grpc.aio.insecure_channel(
            address.endpoint, options=options, interceptors=interceptors
        )
    return grpc.aio.secure_channel(
        address.endpoint, address.credentials, options=options, interceptors=interceptors
    )
