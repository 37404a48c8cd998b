"""Batches on their way to the server: they survive lost connections and killed servers."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc

from servemark.client.errors import ServemarkCallError
from servemark.client.ledger import Ledger, StreamError
from servemark.client.reconcile import Baseline, read_baseline, settle
from servemark.client.retry import RetryPolicy
from servemark.ingest.v1 import result_stream_pb2 as stream_pb2

if TYPE_CHECKING:
    from servemark.client.channel import Client

IDLE_TIMEOUT = 60.0
"""Seconds a stream goes on without any acknowledgement."""

RECONNECT = RetryPolicy(first_delay=0.1, max_delay=2.0)
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


class BatchSender:
    """Sends the batches of one stream, and keeps each until the server says that it is durable.

    At most 16 batches are kept. When the connection breaks, the sender reconnects, sends the same
    header and goes on where the server stands, for as long as something is acknowledged within
    `idle_timeout` seconds; where the server asks to stay away for longer, it ends at once. It
    connects when the first batch is there. The header has to have its stream id, and belongs to the
    sender from here on. A closed client has no senders: StreamError. `on_progress` is called, from
    the sender's thread, with the rows that are done by then.
    """

    def __init__(
        self,
        client: "Client",
        header: stream_pb2.StreamHeader,
        *,
        idle_timeout: float = IDLE_TIMEOUT,
        reconnect: RetryPolicy = RECONNECT,
        clock: Callable[[], float] = time.monotonic,
        on_progress: Callable[[int], None] | None = None,
    ) -> None:
        self._client = client
        self._header = header
        self._idle_timeout = idle_timeout
        self._reconnect = reconnect
        self._clock = clock
        self._on_progress = on_progress

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
        try:
            client.enlist(self)
        except StreamError:
            self._stop()
            raise

    @property
    def stream_id(self) -> str:
        """The stream's id."""
        return self._header.stream_id

    @property
    def done_rows(self) -> int:
        """Rows that are durable or rejected by now."""
        with self._changed:
            return self._ledger.done_rows

    @property
    def last_error(self) -> str:
        """Why the last connection ended, as long as nothing was acknowledged since; else empty."""
        with self._changed:
            return self._last_error

    def has_room(self) -> bool:
        """Whether `append` would not wait. Raises like `append`."""
        with self._changed:
            self._raise_if_over()
            return not self._ledger.is_full

    def append(self, request: stream_pb2.AppendResultsRequest, rows: int) -> None:
        """Takes the next batch, of so many rows, without waiting for its acknowledgement.

        Waits while 16 batches are unacknowledged. Raises what ended the stream: ServemarkCallError
        if the server refused it, StreamTimeoutError if it does not answer.
        """
        with self._changed:
            self._raise_if_over()
            self._wait(lambda: not self._ledger.is_full)
            if self._ledger.is_settled:
                # Nothing was owed until now: the server's time to answer starts here.
                self._last_progress = self._clock()
            try:
                self._ledger.append(request, rows)
            except StreamError as failure:
                self._fail(failure)
                raise
            self._changed.notify_all()

    def close(self) -> StreamSummary:
        """Waits until all batches are durable, and says what became of their rows.

        Raises like `append`. Closing a closed sender gives the same summary.
        """
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
        """Ends the stream at once; what is unacknowledged may or may not be stored."""
        self._stop()
        self._thread.join(timeout=5.0)
        with self._changed:
            return self._summary()

    def _raise_if_over(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._is_closing:
            raise StreamError("The stream is closed.")

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
            if self._is_over:
                raise StreamError("The stream was abandoned.")
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
                self._changed.wait(min(left, threading.TIMEOUT_MAX))

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

    # The sender's own thread.

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
                if not _is_resumable(failure) or self._is_too_late(failure):
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

    def _is_too_late(self, refusal: ServemarkCallError) -> bool:
        """Whether the server wants nothing for longer than the stream would go on without it.

        So it is with a day's quota, which would otherwise be waited for, and then not be named.
        """
        return refusal.retry_after is not None and refusal.retry_after > self._idle_timeout

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
        baseline, earlier_rows = self._baseline, None
        if baseline is None:
            # Before the first batch goes out, so that what others stored is not taken for ours.
            baseline = read_baseline(self._client, self.stream_id, opened.next_sequence)
            earlier_rows = baseline.rows
        with self._changed:
            self._baseline = baseline
            self._configs = list(opened.configs)
            before = self._ledger.done_rows
            self._ledger.open(opened.next_sequence, earlier_rows=earlier_rows)
            connection.is_open = True
            if self._ledger.done_rows > before:
                self._progress(connection)
            self._changed.notify_all()

    def _progress(self, connection: _Connection) -> None:
        connection.has_progressed = True
        self._last_progress = self._clock()
        self._last_error = ""
        self._changed.notify_all()
        if self._on_progress is not None:
            self._on_progress(self._ledger.done_rows)

    def _requests(self, connection: _Connection) -> Iterator[stream_pb2.AppendResultsRequest]:
        """The requests of one connection; gRPC reads them in a thread of its own."""
        yield stream_pb2.AppendResultsRequest(header=self._header)
        while True:
            with self._changed:
                request = self._next_request(connection)
            if request is None:
                return
            yield request

    def _next_request(self, connection: _Connection) -> stream_pb2.AppendResultsRequest | None:
        while not connection.is_over and not self._is_over:
            if connection.is_open:
                request = self._ledger.take()
                if request is not None:
                    return request
                if self._is_closing and self._ledger.all_sent:
                    return None
            self._changed.wait()
        return None


def _is_resumable(error: ServemarkCallError) -> bool:
    """Whether a new connection may do better: the server was away, or the connection broke."""
    if error.is_untrusted:
        return False
    if error.code() in _RESUMABLE:
        return True
    if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return error.retry_after is not None
    return not error.reason and any(text in error.message for text in _BROKEN)
