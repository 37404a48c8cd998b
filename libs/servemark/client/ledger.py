"""What a result stream has sent, what is durable, and what has to be sent again."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from servemark.client.errors import ServemarkError
from servemark.ingest.v1 import benchmark_result_pb2 as result_pb2
from servemark.ingest.v1 import result_stream_pb2 as stream_pb2

MAX_UNACKNOWLEDGED = 16
"""Most batches in flight; the server reads no more before it has caught up."""


class StreamError(ServemarkError):
    """A stream that cannot go on."""


@dataclass
class _Entry:
    batch: stream_pb2.ResultBatch
    send_count: int = 0


@dataclass
class Ledger:
    """Books of one stream, without threads or connections: the caller holds a lock around it.

    A batch is kept from `append` until it is known to be durable, so a connection may break at any
    moment. Every row ends in exactly one of stored, duplicate and rejected, or, where the
    acknowledgement itself was lost, among the unsure ones, which the server's cursor settles.
    """

    stored: int = 0
    duplicates: int = 0
    replayed: int = 0
    """Rows of batches that were sent again, or found to be durable already."""
    rejections: list[stream_pb2.RowRejection] = field(default_factory=list)
    unsure_rows: int = 0
    unsure_sequences: set[int] = field(default_factory=set)
    done_rows: int = 0
    """Rows that are durable or rejected."""
    _pending: deque[_Entry] = field(default_factory=deque)
    _sent: int = 0
    """How many pending batches, from the oldest on, went out on the current connection."""
    _next_sequence: int = 0
    _durable_below: int = 0

    @property
    def is_settled(self) -> bool:
        """Whether everything appended is durable or rejected."""
        return not self._pending

    @property
    def is_full(self) -> bool:
        """Whether as many batches are unacknowledged as may be."""
        return len(self._pending) >= MAX_UNACKNOWLEDGED

    @property
    def all_sent(self) -> bool:
        """Whether every pending batch went out on the current connection."""
        return self._sent == len(self._pending)

    def append(self, rows: Sequence[result_pb2.ResultRow]) -> None:
        """Takes the next batch of the stream."""
        batch = stream_pb2.ResultBatch(sequence=self._next_sequence, rows=rows)
        self._next_sequence += 1
        entry = _Entry(batch)
        if batch.sequence < self._durable_below:
            self._settle_without_ack(entry)
        else:
            self._pending.append(entry)

    def open(self, next_sequence: int) -> None:
        """Starts a connection whose server expects `next_sequence`.

        Raises StreamError if the server expects a batch that it had acknowledged: those rows are
        gone there (a database restored to an earlier time), and here too.
        """
        first = self._pending[0].batch.sequence if self._pending else self._next_sequence
        if next_sequence < first:
            raise StreamError(
                f"The server expects batch {next_sequence} of this stream, but had acknowledged all"
                f" below {first}: it has lost rows. Import the results again from their files."
            )
        self._durable_below = next_sequence
        self._sent = 0
        while self._pending and self._pending[0].batch.sequence < next_sequence:
            self._settle_without_ack(self._pending.popleft())

    def take(self) -> stream_pb2.ResultBatch | None:
        """The next batch to send on this connection; None if there is none now."""
        if self._sent >= min(len(self._pending), MAX_UNACKNOWLEDGED):
            return None
        entry = self._pending[self._sent]
        self._sent += 1
        entry.send_count += 1
        if entry.send_count == 2:
            self.replayed += len(entry.batch.rows)
        return entry.batch

    def acknowledge(self, ack: stream_pb2.BatchAck) -> None:
        """Books an acknowledgement. Raises StreamError if it is not for the oldest sent batch."""
        if self._sent == 0 or self._pending[0].batch.sequence != ack.sequence:
            raise StreamError(f"The server acknowledged batch {ack.sequence}, which was not next.")
        self._sent -= 1
        entry = self._pending.popleft()
        if ack.replayed and entry.send_count > 1:
            self._book_unsure(entry)
        else:
            self.stored += ack.stored_count
            self.duplicates += ack.duplicate_count
            self.rejections.extend(ack.rejections)
        self.done_rows += len(entry.batch.rows)

    def settle_unsure(
        self, rejections: Sequence[stream_pb2.RowRejection], stored: int | None
    ) -> None:
        """Books the unsure rows: these refused, `stored` stored, the rest duplicates.

        Without `stored` all that were not refused count as stored: durable they are either way.
        """
        kept = self.unsure_rows - len(rejections)
        if stored is None:
            stored = kept
        self.stored += min(max(stored, 0), kept)
        self.duplicates += kept - min(max(stored, 0), kept)
        self.rejections.extend(rejections)
        self.unsure_rows = 0
        self.unsure_sequences.clear()

    def _settle_without_ack(self, entry: _Entry) -> None:
        rows = len(entry.batch.rows)
        self.done_rows += rows
        if entry.send_count < 2:
            self.replayed += rows
        if entry.send_count:
            self._book_unsure(entry)
        else:
            # Never sent from here, and durable: an earlier client of this stream did it.
            self.duplicates += rows

    def _book_unsure(self, entry: _Entry) -> None:
        self.unsure_rows += len(entry.batch.rows)
        self.unsure_sequences.add(entry.batch.sequence)
