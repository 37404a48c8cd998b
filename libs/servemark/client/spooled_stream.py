"""A runner's stream that writes each result to disk before it is sent."""

import contextlib
import logging
import uuid
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from servemark.client import ids
from servemark.client.config import Config
from servemark.client.drain import Drain, Drained
from servemark.client.retry import RetryPolicy
from servemark.client.runner_stream import RunnerStream, RunnerSummary
from servemark.client.segment import Segment, SpoolError, SpoolInUseError
from servemark.client.sender import RECONNECT
from servemark.client.spool import Spool, full
from servemark.client.stream import BATCH_BYTES
from servemark.ingest.v1 import result_stream_pb2 as stream_pb2
from servemark.ingest.v1.benchmark_result_pb2 import ResultMetrics, ResultRow

if TYPE_CHECKING:
    from servemark.client.channel import Client

PATIENCE = 5.0
"""Seconds that `close`, and a full spool, wait for a server that acknowledges nothing."""

_log = logging.getLogger(__name__)


class SpooledStream(RunnerStream):
    """A RunnerStream whose results outlive the process: see `Client.stream`.

    Each result is in a file of the spool when `add_result` returns. Batches are synced and then
    sent by a thread of their own, which keeps trying for as long as the stream is open: the runner
    never waits for the server, unless the spool is full. Whatever the server has not acknowledged
    when the stream ends stays there for `push`, with the same stream ids and the same batches.

    What a killed runner left in the same spool for the same server is sent first.
    """

    def __init__(
        self,
        client: "Client",
        *,
        spool: Spool,
        idle_timeout: float = PATIENCE,
        reconnect: RetryPolicy = RECONNECT,
        **options: Any,
    ) -> None:
        self._spool = spool
        self._drain = Drain(client, reconnect)
        self._segment: Segment | None = None
        self._segments: list[Segment] = []
        self._configs_of: dict[str, list[Config]] = {}
        self._used_bytes = 0
        self._waiting_rows = self._waiting_bytes = 0
        super().__init__(client, idle_timeout=idle_timeout, reconnect=reconnect, **options)
        self._leftovers = self._take_leftovers()

    @property
    def done_rows(self) -> int:
        """Results that are durable at the server, or rejected, by now."""
        with self._lock:
            return sum(map(self._drain.done_rows, self._segments))

    def close(self) -> RunnerSummary:
        """Sends what is left and says what became of all results.

        Does not raise because of the server: what it has not acknowledged, because for
        `idle_timeout` seconds it did not answer or because it refuses the stream, is counted as
        `spooled`, with `spool_failure` saying why, and waits on disk. Raises SpoolError if what was
        added last could not be written.
        """
        self._owner.check()
        return self._end(self._idle_timeout)

    def abandon(self) -> RunnerSummary:
        """Ends the stream without waiting; what is unacknowledged waits in the spool."""
        self._owner.check()
        return self._end(0.0)

    def _end(self, patience: float) -> RunnerSummary:
        self._forget_exit()
        self._linger.end()
        with self._lock:
            if self._is_closed:
                return self._summary
            try:
                self._flush()
                self._end_stream()
            finally:
                self._is_closed = True
                if patience:
                    # Leftovers come first: they are part of what is waited for.
                    self._drain.wait(self._is_all_drained, patience)
                why = self._drain.last_error
                for drained in self._drain.end():
                    self._book(drained, why)
                    drained.segment.close()
        if self._summary.spooled:
            _log.warning(
                "%d results wait in %s: %s Send them with `servemark push`.",
                self._summary.spooled,
                self._spool.folder,
                self._summary.spool_failure,
            )
        return self._summary

    def _is_all_drained(self, drained: list[Drained]) -> bool:
        return len(drained) == len(self._segments) + len(self._leftovers)

    def _book(self, drained: Drained, why: str) -> None:
        segment = drained.segment
        if segment in self._leftovers:
            return
        if drained.summary is not None:
            self._summary.take(drained.summary, self._configs_of[segment.header.stream_id])
            return
        self._summary.spooled += segment.row_count
        if drained.failure is not None and not why:
            why = str(drained.failure)
        self._summary.spool_failure = why or "The stream ended before the server had them."

    def _take_leftovers(self) -> list[Segment]:
        """The segments that earlier processes left for the same server."""
        found = []
        for path in self._spool.paths():
            try:
                segment = Segment.open(path)
            except (SpoolInUseError, FileNotFoundError):
                continue
            except (SpoolError, OSError) as error:
                _log.warning("%s is passed over: %s", path, error)
                continue
            if segment.target != self._client.target:
                segment.close()
                continue
            found.append(segment)
            self._drain.add(segment)
        return found

    # With the lock held.

    def _put(
        self,
        id_bytes: bytes,
        index: int,
        time_us: int,
        figures: Mapping[str, float | None],
        **more: Any,
    ) -> None:
        row = ResultRow(
            id=ids.text(id_bytes), config_index=index, metrics=ResultMetrics(**figures), **more
        )
        row.benchmark_time.FromMicroseconds(time_us)
        data = row.SerializeToString()
        # What a message and a frame put around a row.
        size = len(data) + 16
        if self._waiting_rows and self._waiting_bytes + size > BATCH_BYTES:
            self._flush()
        with self._written():
            self._make_room(size)
            segment = self._segment or self._begin()
            segment.add(data)
        self._used_bytes += size
        self._waiting_rows += 1
        self._waiting_bytes += size

    def _is_full(self) -> bool:
        return self._waiting_rows >= self._batch_rows

    def _waiting(self) -> int:
        return self._waiting_rows

    def _must_end_to_name(self) -> bool:
        return self._segment is not None and self._segment.batch_count > 0

    def _name(self, spec: stream_pb2.ConfigSpec) -> None:
        super()._name(spec)
        if self._segment is not None:
            with self._written():
                self._segment.name(spec)

    def _flush(self) -> None:
        if not self._waiting_rows or self._segment is None:
            return
        self._linger.stop()
        with self._written():
            self._segment.end_batch()
        self._waiting_rows = self._waiting_bytes = 0
        if self._segment.size >= self._spool.segment_bytes:
            self._end_stream()

    def _end_stream(self) -> None:
        if self._segment is not None:
            self._configs_of[self._segment.header.stream_id] = list(self._indexes)
            self._segment.seal()
            self._segment = None

    def _flush_waiting(self) -> bool:
        with self._lock:
            try:
                self._flush()
            except Exception as failure:
                # For the thread that adds results.
                self._failure = failure
            return self._failure is None

    def _begin(self) -> Segment:
        header = stream_pb2.StreamHeader()
        header.CopyFrom(self._header)
        header.stream_id = str(uuid.uuid4())
        segment = self._segment = self._spool.create(header, self._client.target)
        self._segments.append(segment)
        self._used_bytes = self._spool.used_bytes()
        self._drain.add(segment)
        return segment

    def _make_room(self, size: int) -> None:
        """Waits for room as long as the server takes something out. Raises SpoolFullError."""
        if self._used_bytes + size <= self._spool.max_bytes:
            return

        def fits(_: object) -> bool:
            self._used_bytes = self._spool.used_bytes()
            return self._used_bytes + size <= self._spool.max_bytes

        # Only a whole segment makes room.
        self._flush()
        self._end_stream()
        patience = 0.0 if self._drain.last_error else self._idle_timeout
        if not self._drain.wait(fits, patience):
            raise full(self._spool)

    @contextlib.contextmanager
    def _written(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise SpoolError(
                f"The spool {self._spool.folder} cannot be written: {error.strerror}."
                " What was added before is safe."
            ) from None
