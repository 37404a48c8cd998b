"""What a result stream has sent, what is durable, and what has to be sent again."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from servemark.client.errors import ServemarkError
from servemark.ingest.v1 import result_stream_pb2 as stream_pb2

MAX_UNACKNOWLEDGED = 16
"""Most batches in flight; the server reads no more before it has caught up."""


class StreamError(ServemarkError):
    """A stream that cannot go on."""


@dataclass
class _Entry:
    request: stream_pb2.AppendResultsRequest
    rows: int
    send_count: int = 0

    @property
    def sequence(self) -> int:
        return self.request.batch.sequence


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
    _earlier_below: int = 0
    """Batches below were durable before this client sent any."""
    _earlier_rows: int | None = None
    """Rows of those that have not been added again yet; None if the server did not say."""

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

    def append(self, request: stream_pb2.AppendResultsRequest, rows: int) -> None:
        """Takes the next batch of the stream, which has so many rows, and numbers it.

        Raises StreamError if this client's batches turn out not to be those of an earlier one.
        """
        request.batch.sequence = self._next_sequence
        self._next_sequence += 1
        entry = _Entry(request, rows)
        if entry.sequence < self._durable_below:
            self._settle_without_ack(entry)
        else:
            self._pending.append(entry)

    def open(self, next_sequence: int, *, earlier_rows: int | None = None) -> None:
        """Starts a connection whose server expects `next_sequence`.

        earlier_rows: for the first connection, how many rows the batches below have at the server;
        None if it does not say. Raises StreamError if ours have another number, and if the server
        expects a batch that it had acknowledged: those rows are gone there (a database restored to
        an earlier time), and here too.
        """
        first = self._pending[0].sequence if self._pending else self._next_sequence
        if next_sequence < first:
            raise StreamError(
                f"The server expects batch {next_sequence} of this stream, but had acknowledged all"
                f" below {first}: it has lost rows. Import the results again from their files."
            )
        if earlier_rows is not None:
            self._earlier_below, self._earlier_rows = next_sequence, earlier_rows
        self._durable_below = next_sequence
        self._sent = 0
        while self._pending and self._pending[0].sequence < next_sequence:
            self._settle_without_ack(self._pending.popleft())

    def take(self) -> stream_pb2.AppendResultsRequest | None:
        """The next batch to send on this connection; None if there is none now."""
        if self._sent >= min(len(self._pending), MAX_UNACKNOWLEDGED):
            return None
        entry = self._pending[self._sent]
        self._sent += 1
        entry.send_count += 1
        if entry.send_count == 2:
            self.replayed += entry.rows
        return entry.request

    def acknowledge(self, ack: stream_pb2.BatchAck) -> None:
        """Books an acknowledgement. Raises StreamError if it is not for the oldest sent batch."""
        if self._sent == 0 or self._pending[0].sequence != ack.sequence:
            raise StreamError(f"The server acknowledged batch {ack.sequence}, which was not next.")
        self._sent -= 1
        entry = self._pending.popleft()
        if ack.replayed and entry.send_count > 1:
            self._book_unsure(entry)
        else:
            self.stored += ack.stored_count
            self.duplicates += ack.duplicate_count
            self.rejections.extend(ack.rejections)
        self.done_rows += entry.rows

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
        self._compare_with_earlier(entry)
        rows = entry.rows
        self.done_rows += rows
        if entry.send_count < 2:
            self.replayed += rows
        if entry.send_count:
            self._book_unsure(entry)
        else:
            # Never sent from here, and durable: an earlier client of this stream did it.
            self.duplicates += rows

    def _compare_with_earlier(self, entry: _Entry) -> None:
        """Raises StreamError if what was durable before cannot be what this client calls so.

        The server never looks at a batch below its cursor. One that ends elsewhere than it did in
        an earlier process has rows that nobody stored.
        """
        if self._earlier_rows is None or entry.sequence >= self._earlier_below:
            return
        self._earlier_rows -= entry.rows
        is_last = entry.sequence == self._earlier_below - 1
        if self._earlier_rows < 0 or (is_last and self._earlier_rows > 0):
            raise StreamError(
                f"The first {self._earlier_below} batches of this stream, which are stored, had"
                " other rows than now: rows would be taken for stored that are not. Add the same"
                " rows with the same batch size, or take a new stream id."
            )

    def _book_unsure(self, entry: _Entry) -> None:
        self.unsure_rows += entry.rows
        self.unsure_sequences.add(entry.sequence)
