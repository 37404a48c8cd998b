"""What lies in segments is sent, and each segment deleted once all of it is acknowledged."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from servemark.client.encode import fill_batch
from servemark.client.errors import ServemarkCallError
from servemark.client.ledger import StreamError
from servemark.client.reconcile import all_rejections
from servemark.client.retry import RetryPolicy
from servemark.client.segment import Segment
from servemark.client.sender import RECONNECT, BatchSender, StreamSummary
from servemark.client.stream import BATCH_BYTES
from servemark.ingest.v1 import result_stream_pb2 as stream_pb2

if TYPE_CHECKING:
    from servemark.client.channel import Client

_log = logging.getLogger(__name__)


def send_segment(
    client: "Client",
    segment: Segment,
    *,
    idle_timeout: float,
    reconnect: RetryPolicy = RECONNECT,
    on_progress: Callable[[int], None] | None = None,
    on_open: Callable[[BatchSender], None] | None = None,
) -> StreamSummary:
    """Sends a segment's batches as they are completed, and deletes it once all is acknowledged.

    What an earlier process sent is not sent again, and counts as a duplicate. Raises what ends the
    stream, ServemarkCallError or StreamError; the segment stays then. on_progress: called with the
    rows acknowledged so far. on_open: called with the sender, for ending it from outside.
    """
    rows = segment.batch(0)
    if rows is None:
        segment.remove()
        return StreamSummary(segment.header.stream_id, 0, 0, 0, 0, (), ())
    # The first batch is complete: the header cannot change any more.
    sender = BatchSender(
        client,
        segment.header,
        idle_timeout=idle_timeout,
        reconnect=reconnect,
        on_progress=on_progress,
    )
    try:
        if on_open is not None:
            on_open(sender)
        sequence = 0
        while rows is not None:
            request = stream_pb2.AppendResultsRequest()
            fill_batch(request.batch, rows, BATCH_BYTES)
            sender.append(request, len(rows))
            sequence += 1
            rows = segment.batch(sequence)
        summary = _with_earlier_rejections(client, sender.close())
    except BaseException:
        sender.abandon()
        raise
    by_batch: dict[int, list[int]] = {}
    for rejection in summary.rejections:
        by_batch.setdefault(rejection.sequence, []).append(rejection.row)
    refused = []
    for number, places in sorted(by_batch.items()):
        batch = segment.batch(number) or []
        refused += [batch[place] for place in sorted(places)]
    segment.remove(refused)
    return summary


def _with_earlier_rejections(client: "Client", summary: StreamSummary) -> StreamSummary:
    """The summary, with the rows that were refused when an earlier process sent them."""
    if not summary.replayed:
        return summary
    known = {(one.sequence, one.row) for one in summary.rejections}
    earlier = [
        one
        for one in all_rejections(client, summary.stream_id)
        if (one.sequence, one.row) not in known
    ]
    return replace(
        summary,
        duplicates=summary.duplicates - len(earlier),
        rejected=summary.rejected + len(earlier),
        rejections=(*earlier, *summary.rejections),
    )


@dataclass
class Drained:
    """What became of one segment: its summary, or why it is still there."""

    segment: Segment
    summary: StreamSummary | None = None
    failure: Exception | None = None


class Drain:
    """Sends segments one after the other, in a thread of its own, for as long as it takes."""

    def __init__(self, client: "Client", reconnect: RetryPolicy = RECONNECT) -> None:
        self._client = client
        self._reconnect = reconnect
        self._changed = threading.Condition()
        self._waiting: deque[Segment] = deque()
        self._current: Segment | None = None
        self._sender: BatchSender | None = None
        self._drained: list[Drained] = []
        self._current_rows = 0
        # Counts acknowledgements, and whatever else says that things go on.
        self._steps = 0
        self._is_over = False
        self._is_running = False

    def add(self, segment: Segment) -> None:
        """Sends this segment after those before it, while it is still written."""
        with self._changed:
            self._waiting.append(segment)
            if not self._is_running:
                self._is_running = True
                threading.Thread(target=self._run, name="servemark-spool", daemon=True).start()

    @property
    def last_error(self) -> str:
        """What the last connection failed of; empty if none did."""
        sender = self._sender
        return "" if sender is None else sender.last_error

    def done_rows(self, segment: Segment) -> int:
        """Rows of a segment that are acknowledged by now."""
        with self._changed:
            if segment is self._current:
                return self._current_rows
            ended = any(one.segment is segment and one.summary for one in self._drained)
            return segment.row_count if ended else 0

    def wait(self, is_reached: Callable[[list[Drained]], bool], patience: float) -> bool:
        """Waits for a fact about what was drained; False if for `patience` seconds nothing was
        acknowledged."""
        with self._changed:
            while not is_reached(self._drained):
                if self._is_over or not self._changed.wait_for(self._moves(), patience):
                    return is_reached(self._drained)
            return True

    def end(self) -> list[Drained]:
        """Stops where it is, and says what became of each segment that it had."""
        with self._changed:
            self._is_over = True
            current, sender, waiting = self._current, self._sender, list(self._waiting)
            self._changed.notify_all()
        if current is not None:
            current.abandon()
        if sender is not None:
            sender.abandon()
        with self._changed:
            self._changed.wait_for(lambda: self._current is None, timeout=5.0)
            return [*self._drained, *(Drained(segment) for segment in waiting)]

    def _moves(self) -> Callable[[], bool]:
        """Whether anything was acknowledged or ended since now."""
        before = self._steps
        return lambda: self._steps != before

    # The drain's own thread.

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._is_over or not self._waiting:
                    self._is_running = False
                    return
                segment = self._current = self._waiting.popleft()
                self._current_rows = 0
            drained = Drained(segment)
            try:
                drained.summary = send_segment(
                    self._client,
                    segment,
                    idle_timeout=float("inf"),
                    reconnect=self._reconnect,
                    on_progress=self._progress,
                    on_open=self._opened,
                )
            except Exception as failure:
                drained.failure = failure
                if isinstance(failure, ServemarkCallError):
                    _log.warning("%s is not sent: %s", segment.path, failure)
            with self._changed:
                self._drained.append(drained)
                self._current = self._sender = None
                self._steps += 1
                self._changed.notify_all()

    def _opened(self, sender: BatchSender) -> None:
        with self._changed:
            self._sender = sender
            if self._is_over:
                raise StreamError("The stream was abandoned.")

    def _progress(self, rows: int) -> None:
        with self._changed:
            self._current_rows = rows
            self._steps += 1
            self._changed.notify_all()
