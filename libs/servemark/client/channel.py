"""The connection to a Servemark gateway."""

import os
import threading
import weakref
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import grpc

from servemark.catalog.v1.catalog_service_pb2_grpc import CatalogServiceStub
from servemark.catalog.v1.use_case_pb2 import ListUseCasesRequest
from servemark.client.address import Address, TlsFiles, address_of
from servemark.client.config import Config
from servemark.client.ledger import StreamError
from servemark.client.linger import FLUSH_SECONDS
from servemark.client.policy import CallPolicy, Timeouts
from servemark.client.process import Owner
from servemark.client.retry import RetryPolicy
from servemark.client.runner_stream import RunnerStream
from servemark.client.sender import IDLE_TIMEOUT, BatchSender
from servemark.client.spool import Spool
from servemark.client.spooled_stream import PATIENCE, SpooledStream
from servemark.events.v1.event_service_pb2_grpc import EventServiceStub
from servemark.gateway.v1.admin_service_pb2_grpc import AdminServiceStub
from servemark.ingest.v1.ingest_service_pb2_grpc import IngestServiceStub
from servemark.ingest.v1.storage_service_pb2_grpc import StorageServiceStub
from servemark.ranking.v1.ranking_service_pb2_grpc import RankingServiceStub

_MIB = 1024 * 1024
OPTIONS: list[tuple[str, int]] = [
    # A Pareto front with all that lies behind it comes in one answer, of up to 16 MiB.
    ("grpc.max_receive_message_length", 16 * _MIB),
    ("grpc.max_send_message_length", 4 * _MIB),
    # A dead connection is noticed within 55 s, before a stream gives up; servers refuse pings more
    # often than every 30 s.
    ("grpc.keepalive_time_ms", 35_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # gRPC's own default grows to two minutes: a server that is back would not be found for as long.
    ("grpc.initial_reconnect_backoff_ms", 100),
    # Despite its name the least time an attempt gets: on a busy machine a handshake takes a while.
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
]


class Client:
    """One channel and the stubs of every service behind it. Close it, or use it with `with`.

    Calls with one request raise ServemarkCallError, those that answer with a stream while it is
    read. The stubs may be used from several threads.
    """

    def __init__(
        self,
        address: Address,
        key: str | None,
        timeouts: Timeouts,
        retry: RetryPolicy,
    ) -> None:
        self.target = address.name
        self._lock = threading.Lock()
        self._owner = Owner()
        self._senders: weakref.WeakSet[BatchSender] = weakref.WeakSet()
        self._is_closed = False
        self._channel = _open(address)
        policy = CallPolicy(address.name, key, timeouts, retry)
        channel = grpc.intercept_channel(self._channel, policy)
        self.catalog = CatalogServiceStub(channel)
        self.ingest = IngestServiceStub(channel)
        self.storage = StorageServiceStub(channel)
        self.ranking = RankingServiceStub(channel)
        self.events = EventServiceStub(channel)
        self.admin = AdminServiceStub(channel)

    def ping(self) -> None:
        """Returns if the gateway answers and takes the key; raises ServemarkCallError if not."""
        self.catalog.ListUseCases(ListUseCasesRequest(page_size=1))

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
    ) -> RunnerStream:
        """A stream for a runner's results; close it, or use it with `with`.

        tool: the benchmark tool in lower case. provenance: `measured`, `simulated` or `estimated`.
        configs: what will be measured, as far as it is known. spool: a folder on disk that keeps
        each result until the server has it, through a killed runner and a server that is away;
        True for the usual one (see Spool.at). What is left there later, `servemark push` sends.
        idle_timeout: seconds without any acknowledgement after which a stream ends, 60; with a
        spool those that closing it waits, 5.
        """
        if spool is None:
            return RunnerStream(
                self,
                tool=tool,
                provenance=provenance,
                tool_version=tool_version,
                configs=configs,
                flush_seconds=flush_seconds,
                idle_timeout=IDLE_TIMEOUT if idle_timeout is None else idle_timeout,
            )
        return SpooledStream(
            self,
            spool=Spool.at(None if spool is True else spool),
            tool=tool,
            provenance=provenance,
            tool_version=tool_version,
            configs=configs,
            flush_seconds=flush_seconds,
            idle_timeout=PATIENCE if idle_timeout is None else idle_timeout,
        )

    def close(self) -> None:
        """Closes the connection; calls in flight are cancelled, and open streams abandoned.

        In a forked child it does nothing: the connection is the parent's.
        """
        if not self._owner.is_here:
            return
        with self._lock:
            self._is_closed = True
            senders = list(self._senders)
        # gRPC does not survive a call that begins on a closed channel, and theirs would.
        for sender in senders:
            sender.abandon()
        self._channel.close()

    def enlist(self, sender: BatchSender) -> None:
        """Notes a stream that has to end before the channel does. For streams themselves.

        Raises StreamError if the client is closed.
        """
        with self._lock:
            if self._is_closed:
                raise StreamError("The client is closed.")
            self._senders.add(sender)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def connect(
    target: str | None = None,
    *,
    key: str | None = None,
    ca: Path | str | None = None,
    client_cert: Path | str | None = None,
    client_key: Path | str | None = None,
    allow_plaintext_key: bool | None = None,
    timeouts: Timeouts | None = None,
    retry: RetryPolicy | None = None,
) -> Client:
    """A client of the gateway at `target`. Connects with the first call.

    target: `https://host:port` (or `grpcs://`) for TLS; `host:port`, which is TLS where a CA is
    given, and unencrypted otherwise. Without it: the environment's SERVEMARK_TARGET, else
    127.0.0.1:50050. key: without it SERVEMARK_API_KEY, else none. ca: a PEM file, or
    SERVEMARK_TLS_CA, of who issued the gateway's certificate; without it the authorities that this
    machine trusts. client_cert, client_key: PEM files, or SERVEMARK_CLIENT_CERT and
    SERVEMARK_CLIENT_KEY, for a gateway that asks for a certificate.

    Raises PlaintextKeyError rather than send a key unencrypted to another machine, unless
    `allow_plaintext_key`, or SERVEMARK_ALLOW_PLAINTEXT_KEY=true, says so; AddressError for what is
    no target or no TLS file.
    """
    key = key or os.environ.get("SERVEMARK_API_KEY") or None
    address = address_of(target, TlsFiles.given(ca, client_cert, client_key))
    address.check(key, allow_plaintext_key)
    return Client(address, key, timeouts or Timeouts(), retry or RetryPolicy())


def _open(address: Address) -> grpc.Channel:
    options = [*OPTIONS, *address.options()]
    if address.credentials is None:
        return grpc.insecure_channel(address.endpoint, options=options)
    return grpc.secure_channel(address.endpoint, address.credentials, options=options)
