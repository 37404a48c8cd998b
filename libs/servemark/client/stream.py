"""A stream of result rows that survives lost connections and killed servers."""

import threading
import time
import uuid
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from servemark.client.encode import fill_batch
from servemark.client.linger import FLUSH_SECONDS, Linger
from servemark.client.retry import RetryPolicy
from servemark.client.sender import (
    IDLE_TIMEOUT,
    RECONNECT,
    BatchSender,
    StreamSummary,
    StreamTimeoutError,
)
from servemark.ingest.v1 import benchmark_result_pb2 as result_pb2
from servemark.ingest.v1 import result_stream_pb2 as stream_pb2

if TYPE_CHECKING:
    from servemark.client.channel import Client

__all__ = ["BATCH_BYTES", "BATCH_ROWS", "ResultStream", "StreamSummary", "StreamTimeoutError"]

BATCH_ROWS = 5_000
MAX_BATCH_ROWS = 10_000
BATCH_BYTES = 3 * 1024 * 1024 - 64 * 1024
"""Messages may have 4 MiB; 3 leave room for what a proxy adds."""


class ResultStream:
    """Sends rows in batches and keeps each until the server says that it is durable.

    A batch goes out when it has `batch_rows` rows or `batch_bytes` bytes, and at the latest
    `flush_seconds` after its first row; as columns wherever columns can express its rows. Rows are
    kept in memory, at most 16 batches of them; `add` waits while they are unacknowledged. When the
    connection breaks, the stream reconnects, sends the same header and goes on where the server
    stands, for as long as something is acknowledged within `idle_timeout` seconds.

    A stream id promises the same batches in the same order. To go on with a stream in a new
    process, give its id in the header and add the same rows, with the same `batch_rows`, from the
    first one on: those that are durable are not sent again. So that batches do not depend on the
    clock, rows of such a stream wait until their batch is full, whatever `flush_seconds` says.
    Without an id the stream gets a new one.

    Several threads may add rows. `with ResultStream(...)` closes it, unless the block raises: then
    it is abandoned.
    """

    def __init__(
        self,
        client: "Client",
        header: stream_pb2.StreamHeader,
        *,
        batch_rows: int = BATCH_ROWS,
        batch_bytes: int = BATCH_BYTES,
        flush_seconds: float = FLUSH_SECONDS,
        idle_timeout: float = IDLE_TIMEOUT,
        reconnect: RetryPolicy = RECONNECT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not 1 <= batch_rows <= MAX_BATCH_ROWS:
            raise ValueError(f"batch_rows is {batch_rows}; it must be 1 to {MAX_BATCH_ROWS}")
        own = stream_pb2.StreamHeader()
        own.CopyFrom(header)
        own.stream_id = header.stream_id or str(uuid.uuid4())
        self._batch_rows = batch_rows
        self._batch_bytes = batch_bytes
        self._sender = BatchSender(
            client, own, idle_timeout=idle_timeout, reconnect=reconnect, clock=clock
        )
        self._linger = Linger(
            float("inf") if header.stream_id else flush_seconds, self._flush_waiting
        )
        # Guards the rows that wait for their batch, and keeps batches in the order of their rows.
        self._lock = threading.Lock()
        self._rows: list[result_pb2.ResultRow] = []
        self._row_bytes = 0
        self._failure: Exception | None = None

    @property
    def stream_id(self) -> str:
        """The stream's id."""
        return self._sender.stream_id

    @property
    def done_rows(self) -> int:
        """Rows that are durable or rejected by now."""
        return self._sender.done_rows

    def add(self, row: result_pb2.ResultRow) -> None:
        """Adds a row; sends a batch whenever one is full.

        Waits while 16 batches are unacknowledged. Raises what ended the stream: ServemarkCallError
        if the server refused it, StreamTimeoutError if it does not answer.
        """
        size = row.ByteSize() + 8
        with self._lock:
            if self._failure is not None:
                raise self._failure
            if self._rows and self._row_bytes + size > self._batch_bytes:
                self._flush()
            self._rows.append(row)
            self._row_bytes += size
            if len(self._rows) >= self._batch_rows:
                self._flush()
            elif len(self._rows) == 1:
                self._linger.start()

    def flush(self) -> None:
        """Hands the rows added so far over as a batch, without waiting for the acknowledgement.

        In a stream with an id of its own, do this at the same rows every time.
        """
        with self._lock:
            self._flush()

    def close(self) -> StreamSummary:
        """Sends what is left, waits until all of it is durable, and says what became of it.

        Raises like `add`. Closing a closed stream gives the same summary.
        """
        self._linger.end()
        self.flush()
        return self._sender.close()

    def abandon(self) -> StreamSummary:
        """Ends the stream without waiting; what is unacknowledged may or may not be stored."""
        self._linger.end()
        return self._sender.abandon()

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

    def _flush(self) -> None:
        if not self._rows:
            return
        self._linger.stop()
        rows, self._rows, self._row_bytes = self._rows, [], 0
        request = stream_pb2.AppendResultsRequest()
        fill_batch(request.batch, rows, self._batch_bytes)
        self._sender.append(request, len(rows))

    def _flush_waiting(self) -> bool:
        with self._lock:
            try:
                # With 16 batches unacknowledged it is the server that rows wait for.
                if self._sender.has_room():
                    self._flush()
            except Exception as failure:
                # For the thread that adds rows.
                self._failure = failure
            return self._failure is None
