"""Clients that stream simulated results and go on, whatever happens to the other side."""

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

import grpc

from servemark.ingest.v1.ingest_service_pb2_grpc import IngestServiceStub
from servemark.ingest.v1.result_stream_pb2 import (
    AppendResultsRequest,
    BatchAck,
    ResultBatch,
    StreamHeader,
    StreamOpened,
)
from tests.faults.history import Ack, History, now
from tests.rpc.ingest.builders import now_ms
from tests.support.simulation.figures import Rows, Simulator, joined
from tests.support.simulation.fleet import Configuration, Model, configurations
from tests.support.simulation.messages import as_columns, as_messages, header

# Batches that a client has in flight.
WINDOW: Final = 4
# The results lie on the last days, a day's eighth a batch: days without a partition keep coming.
DAYS: Final = 60
_SPAN_MS: Final = 86_400_000 // 8
_RETRY_SECONDS: Final = 0.05
_CHANNEL_OPTIONS: Final = [
    # A connection of its own, which is tried again soon.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 200),
]


@dataclass(frozen=True)
class Source:
    """What a client sends: each batch a function of its sequence, so that a repeat is the same.

    With `mixes_rows` every other batch comes as rows. With `repeats` every fifth batch has rows of
    the one before as well.
    """

    client: int
    model: Model
    batch_rows: int
    mixes_rows: bool = False
    repeats: bool = False
    stream_id: str = field(default_factory=lambda: str(uuid4()))
    _start_ms: int = field(default_factory=lambda: now_ms() - (DAYS + 1) * 86_400_000)

    @property
    def configs(self) -> Sequence[Configuration]:
        """The stream's dictionary."""
        return configurations(self.model)[::20]

    @property
    def header(self) -> StreamHeader:
        """The stream's header."""
        return header(self.model, self.configs, self.stream_id)

    def rows(self, sequence: int) -> Rows:
        """The rows that the batch is the first to bring."""
        start = self._start_ms + sequence % (DAYS * 8) * _SPAN_MS
        simulator = Simulator(self.model, self.configs, seed=self.client)
        return simulator.rows(sequence, self._count(sequence), start, start + _SPAN_MS)

    def batch(self, sequence: int) -> ResultBatch:
        """The batch."""
        rows = self.rows(sequence)
        if self._repeats_in(sequence):
            rows = joined([rows, self.rows(sequence - 1).first(REPEATED_ROWS)])
        if self._as_rows(sequence):
            return ResultBatch(sequence=sequence, rows=as_messages(rows))
        return ResultBatch(sequence=sequence, columns=as_columns(rows))

    def row_count(self, sequence: int) -> int:
        """How many rows the batch has."""
        return self._count(sequence) + REPEATED_ROWS * self._repeats_in(sequence)

    def _count(self, sequence: int) -> int:
        return self.batch_rows // 4 if self._as_rows(sequence) else self.batch_rows

    def _as_rows(self, sequence: int) -> bool:
        return self.mixes_rows and sequence % 2 == 1

    def _repeats_in(self, sequence: int) -> bool:
        return self.repeats and sequence % 5 == 4


REPEATED_ROWS: Final = 50


class _Connection:
    """One call: whether its header was answered, how much more it may send, whether it is over."""

    def __init__(self) -> None:
        self.is_open = threading.Event()
        self.room = threading.Semaphore(WINDOW)
        self.is_over = False

    def end(self) -> None:
        """Wakes up whoever waits for the one or the other."""
        self.is_over = True
        self.is_open.set()
        self.room.release()


class Client:
    """Sends the batches of a source until told to stop, and then until all are acknowledged.

    After a broken call it connects anew and sends what was not acknowledged. One that `looks` at
    the cursor leaves out what turned out to be durable; the others send it again, which the
    contract allows.

    It runs in a thread, as the SDK does: grpc.aio would hide the status of a call that broke during
    a write behind an INTERNAL of its own.
    """

    def __init__(self, source: Source, target: str, history: History, *, looks: bool) -> None:
        self.source = source
        self.config_ids: list[str] = []
        self._target = target
        self._history = history
        self._looks = looks
        self._stopping = False
        self._abandoned = False
        self._acknowledged_below = 0
        self._sent_below = 0
        self._call: Any = None

    @property
    def sent_below(self) -> int:
        """The first sequence that was never sent."""
        return self._sent_below

    def stop(self) -> None:
        """Lets `run` end once everything that was sent is acknowledged."""
        self._stopping = True

    def abandon(self) -> None:
        """Ends `run` at once."""
        self._abandoned = True
        if self._call is not None:
            self._call.cancel()

    def run(self) -> None:
        """Sends until stopped and done."""
        with grpc.insecure_channel(self._target, options=_CHANNEL_OPTIONS) as channel:
            stub = IngestServiceStub(channel)
            while not self._abandoned and not self._is_done():
                self._converse(stub)

    def _is_done(self) -> bool:
        return self._stopping and self._acknowledged_below == self._sent_below

    def _converse(self, stub: IngestServiceStub) -> None:
        began, connection = now(), _Connection()
        self._call = stub.AppendResults(self._requests(connection))
        try:
            for answer in self._call:
                if answer.HasField("opened"):
                    self._opened(answer.opened)
                    connection.is_open.set()
                else:
                    self._acknowledged(answer.ack, began)
                    connection.room.release()
        except grpc.RpcError:
            self._history.end(self._call.code(), self._call.details())
            time.sleep(_RETRY_SECONDS)
        finally:
            self._call.cancel()
            connection.end()

    def _requests(self, connection: _Connection) -> Iterator[AppendResultsRequest]:
        """What one call sends; gRPC reads it in a thread of its own."""
        yield AppendResultsRequest(header=self.source.header)
        connection.is_open.wait()
        sequence = self._acknowledged_below
        while not self._stopping or sequence < self._sent_below:
            connection.room.acquire()
            if connection.is_over:
                return
            request = AppendResultsRequest(batch=self.source.batch(sequence))
            self._history.sent[self.source.client, sequence] += 1
            sequence += 1
            self._sent_below = max(self._sent_below, sequence)
            yield request

    def _opened(self, opened: StreamOpened) -> None:
        self.config_ids = [outcome.config_id for outcome in opened.configs]
        if opened.next_sequence < self._acknowledged_below:
            raise AssertionError(
                f"the server forgot: it had acknowledged all below {self._acknowledged_below}, "
                f"and goes on from {opened.next_sequence}"
            )
        if self._looks:
            self._acknowledged_below = opened.next_sequence

    def _acknowledged(self, ack: BatchAck, began: float) -> None:
        if ack.sequence != self._acknowledged_below:
            raise AssertionError(f"{ack.sequence} was acknowledged out of order")
        self._acknowledged_below += 1
        rows = self.source.row_count(ack.sequence)
        self._history.acks.append(Ack(now(), self.source.client, began, ack.sequence, rows, ack))
