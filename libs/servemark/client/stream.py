"""A stream of results that survives lost connections and killed servers."""

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import grpc

from servemark.client.channel import Client
from servemark.client.errors import ServemarkCallError
from servemark.client.ledger import Ledger, StreamError
from servemark.client.reconcile import Baseline, read_baseline, settle
from servemark.client.retry import RetryPolicy
from servemark.ingest.v1 import benchmark_result_pb2 as result_pb2
from servemark.ingest.v1 import result_stream_pb2 as stream_pb2

BATCH_ROWS = 500
BATCH_BYTES = 3 * 1024 * 1024 - 64 * 1024
"""Messages may have 4 MiB; 3 leave room for what a proxy adds."""

_RECONNECT = RetryPolicy(first_delay=0.1, max_delay=2.0)
_RESUMABLE = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
)
# How gRPC words a connection that broke without a status of its own.
_BROKEN = ("RST_STREAM", "Stream removed", "Connection reset", "GOAWAY", "Socket closed")


class StreamTimeoutError(StreamError):
    """No batch was acknowledged for longer than the stream's idle timeout."""


@dataclass(frozen=True)
class StreamSummary:
    """What became of the rows: each is stored, a duplicate, or rejected.

    replayed: rows sent more than once, or found durable already. configs: the server's answer to
    each configuration of the header.
    """

    stream_id: str
    stored: int
    duplicates: int
    rejected: int
    replayed: int
    rejections: Sequence[stream_pb2.RowRejection]
    configs: Sequence[stream_pb2.ConfigOutcome]


class _Connection:
    """One AppendResults call, from its header to its end."""

    def __init__(self) -> None:
        self.call: Any = None
        self.is_open = False
        self.is_over = False
        self.has_progressed = False


class ResultStream:
    """Sends rows in batches and keeps each until the server says that it is durable.

    Rows are kept in memory, at most 16 batches of them; `add` waits while they are unacknowledged.
    When the connection breaks, the stream reconnects, sends the same header and goes on where the
    server stands, for as long as something is acknowledged within `idle_timeout` seconds.

    A stream id promises the same batches in the same order. To go on with a stream in a new
    process, give its id in the header and add the same rows from the first one on: those that are
    durable are not sent again. Without an id the stream gets a new one.

    `with ResultStream(...)` closes it, unless the block raises: then it is abandoned.
    """

    def __init__(
        self,
        client: Client,
        header: stream_pb2.StreamHeader,
        *,
        batch_rows: int = BATCH_ROWS,
        batch_bytes: int = BATCH_BYTES,
        idle_timeout: float = 60.0,
        reconnect: RetryPolicy = _RECONNECT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._header = stream_pb2.StreamHeader()
        self._header.CopyFrom(header)
        self._header.stream_id = header.stream_id or str(uuid.uuid4())
        self._batch_rows = batch_rows
        self._batch_bytes = batch_bytes
        self._idle_timeout = idle_timeout
        self._reconnect = reconnect
        self._clock = clock

        self._rows: list[result_pb2.ResultRow] = []
        self._row_bytes = 0

        # Everything below is guarded by this condition, and every change of it is announced.
        self._changed = threading.Condition()
        self._ledger = Ledger()
        self._baseline: Baseline | None = None
        self._configs: list[stream_pb2.ConfigOutcome] = []
        self._connection: _Connection | None = None
        self._last_progress = clock()
        self._last_error = ""
        self._failure: Exception | None = None
        self._is_closing = False
        self._is_over = False
        self._thread = threading.Thread(target=self._run, name="servemark-stream", daemon=True)
        self._thread.start()

    @property
    def stream_id(self) -> str:
        """The stream's id."""
        return self._header.stream_id

    @property
    def done_rows(self) -> int:
        """Rows that are durable or rejected by now."""
        with self._changed:
            return self._ledger.done_rows

    def add(self, row: result_pb2.ResultRow) -> None:
        """Adds a row; sends a batch whenever one is full.

        Waits while 16 batches are unacknowledged. Raises what ended the stream: ServemarkCallError
        if the server refused it, StreamTimeoutError if it does not answer.
        """
        size = row.ByteSize() + 8
        if self._rows and self._row_bytes + size > self._batch_bytes:
            self.flush()
        self._rows.append(row)
        self._row_bytes += size
        if len(self._rows) >= self._batch_rows:
            self.flush()

    def flush(self) -> None:
        """Hands the rows added so far over as a batch, without waiting for the acknowledgement."""
        if not self._rows:
            return
        rows, self._rows, self._row_bytes = self._rows, [], 0
        with self._changed:
            if self._is_closing:
                raise StreamError("The stream is closed.")
            self._wait(lambda: not self._ledger.is_full)
            if self._ledger.is_settled:
                # Nothing was owed until now: the server's time to answer starts here.
                self._last_progress = self._clock()
            self._ledger.append(rows)
            self._changed.notify_all()

    def close(self) -> StreamSummary:
        """Sends what is left, waits until all of it is durable, and says what became of it.

        Raises like `add`. Closing a closed stream gives the same summary.
        """
        self.flush()
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
            self._wait(lambda: self._ledger.is_settled)
        self._thread.join(timeout=5.0)
        self._stop()
        with self._changed:
            settle(self._client, self.stream_id, self._ledger, self._baseline)
            return self._summary()

    def abandon(self) -> StreamSummary:
        """Ends the stream without waiting; what is unacknowledged may or may not be stored."""
        self._stop()
        with self._changed:
            return self._summary()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        else:
            self.abandon()

    def _summary(self) -> StreamSummary:
        return StreamSummary(
            stream_id=self.stream_id,
            stored=self._ledger.stored,
            duplicates=self._ledger.duplicates,
            rejected=len(self._ledger.rejections),
            replayed=self._ledger.replayed,
            rejections=tuple(self._ledger.rejections),
            configs=tuple(self._configs),
        )

    def _wait(self, is_reached: Callable[[], bool]) -> None:
        """Waits for a fact, no longer than the idle timeout after the last acknowledgement."""
        while True:
            if self._failure is not None:
                raise self._failure
            if is_reached():
                return
            left = self._last_progress + self._idle_timeout - self._clock()
            if left <= 0:
                because = f" The last error: {self._last_error}" if self._last_error else ""
                self._fail(
                    StreamTimeoutError(
                        f"{self._client.target} has acknowledged nothing for"
                        f" {self._idle_timeout:g} s.{because}"
                    )
                )
            else:
                self._changed.wait(left)

    def _fail(self, failure: Exception) -> None:
        if self._failure is None:
            self._failure = failure
        self._is_over = True
        if self._connection is not None and self._connection.call is not None:
            self._connection.call.cancel()
        self._changed.notify_all()

    def _stop(self) -> None:
        with self._changed:
            self._is_over = True
            self._is_closing = True
            if self._connection is not None and self._connection.call is not None:
                self._connection.call.cancel()
            self._changed.notify_all()

    # The stream's own thread.

    def _run(self) -> None:
        attempt = 0
        while True:
            with self._changed:
                # Without anything to send there is no need of a connection.
                self._changed.wait_for(
                    lambda: self._is_over or self._is_closing or not self._ledger.is_settled
                )
                if self._is_over or self._ledger.is_settled:
                    return
                connection = self._connection = _Connection()
            try:
                self._converse(connection)
            except grpc.RpcError as error:
                failure = ServemarkCallError.from_rpc_error(error, self._client.target)
                if not _is_resumable(failure):
                    with self._changed:
                        self._fail(failure)
                    return
                retry_after, self._last_error = failure.retry_after, str(failure)
            except Exception as error:
                # Whatever it is, the thread that adds rows has to hear of it, or it would wait.
                with self._changed:
                    self._fail(error)
                return
            else:
                retry_after, self._last_error = None, "The server ended the stream."
            finally:
                with self._changed:
                    connection.is_over = True
                    self._changed.notify_all()
            attempt = 1 if connection.has_progressed else attempt + 1
            delay = self._reconnect.delay(attempt, retry_after)
            with self._changed:
                if self._ledger.is_settled and self._is_closing:
                    return
                self._changed.wait_for(lambda: self._is_over, timeout=delay)

    def _converse(self, connection: _Connection) -> None:
        call = self._client.ingest.AppendResults(self._requests(connection))
        with self._changed:
            connection.call = call
            if self._is_over:
                call.cancel()
        for response in call:
            if response.HasField("opened"):
                self._opened(connection, response.opened)
            elif response.HasField("ack"):
                with self._changed:
                    self._ledger.acknowledge(response.ack)
                    self._progress(connection)

    def _opened(self, connection: _Connection, opened: stream_pb2.StreamOpened) -> None:
        if self._baseline is None:
            # Before the first batch goes out, so that what others stored is not taken for ours.
            baseline = read_baseline(self._client, self.stream_id, opened.next_sequence)
        else:
            baseline = self._baseline
        with self._changed:
            self._baseline = baseline
            self._configs = list(opened.configs)
            before = self._ledger.done_rows
            self._ledger.open(opened.next_sequence)
            connection.is_open = True
            if self._ledger.done_rows > before:
                self._progress(connection)
            self._changed.notify_all()

    def _progress(self, connection: _Connection) -> None:
        connection.has_progressed = True
        self._last_progress = self._clock()
        self._changed.notify_all()

    def _requests(self, connection: _Connection) -> Iterator[stream_pb2.AppendResultsRequest]:
        """The requests of one connection; gRPC reads them in a thread of its own."""
        yield stream_pb2.AppendResultsRequest(header=self._header)
        while True:
            with self._changed:
                batch = self._next_batch(connection)
            if batch is None:
                return
            yield stream_pb2.AppendResultsRequest(batch=batch)

    def _next_batch(self, connection: _Connection) -> stream_pb2.ResultBatch | None:
        while not connection.is_over and not self._is_over:
            if connection.is_open:
                batch = self._ledger.take()
                if batch is not None:
                    return batch
                if self._is_closing and self._ledger.all_sent:
                    return None
            self._changed.wait()
        return None


def _is_resumable(error: ServemarkCallError) -> bool:
    """Whether a new connection may do better: the server was away, or the connection broke."""
    if error.code() in _RESUMABLE:
        return True
    if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return error.retry_after is not None
    return not error.reason and any(text in error.message for text in _BROKEN)
