"""Sends what waits in a spool."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from servemark.client.channel import Client
from servemark.client.drain import send_segment
from servemark.client.errors import ServemarkCallError
from servemark.client.ledger import StreamError
from servemark.client.segment import Segment, SpoolError, SpoolInUseError
from servemark.client.sender import StreamTimeoutError
from servemark.ingest.v1 import result_stream_pb2 as stream_pb2


@dataclass
class PushSummary:
    """What became of the segments that were found.

    stored, duplicates, rejections: of the results in those that are sent, which are gone from disk;
    what an earlier process had sent counts as a duplicate. in_use: those that another process is
    sending. failures: those that stay, each with a sentence.
    """

    stored: int = 0
    duplicates: int = 0
    rejections: list[stream_pb2.RowRejection] = field(default_factory=list)
    sent: list[Path] = field(default_factory=list)
    in_use: list[Path] = field(default_factory=list)
    failures: dict[Path, str] = field(default_factory=dict)


def push(
    client: Client,
    paths: Iterable[Path],
    *,
    idle_timeout: float = 60.0,
    on_progress: Callable[[int], None] | None = None,
) -> PushSummary:
    """Sends segments with the ids and batches that they had, so that nothing is stored twice.

    One that fails stays, and the next is tried, unless the server does not answer at all for
    `idle_timeout` seconds, or asks to stay away for longer. on_progress: called with the results
    that are done. Raises FileNotFoundError for a path that is not there.
    """
    summary = PushSummary()
    why_not = ""
    for path in paths:
        try:
            segment = Segment.open(path)
        except SpoolInUseError:
            summary.in_use.append(path)
            continue
        except SpoolError as error:
            summary.failures[path] = str(error)
            continue
        done = summary.stored + summary.duplicates + len(summary.rejections)
        try:
            if why_not:
                summary.failures[path] = f"Not tried, after one before it: {why_not}"
                continue
            sent = send_segment(
                client,
                segment,
                idle_timeout=idle_timeout,
                on_progress=_after(done, on_progress),
            )
        except (ServemarkCallError, StreamError) as error:
            summary.failures[path] = str(error)
            if _holds_for_all(error):
                why_not = str(error)
            continue
        finally:
            segment.close()
        summary.sent.append(path)
        summary.stored += sent.stored
        summary.duplicates += sent.duplicates
        summary.rejections += sent.rejections
    return summary


def _holds_for_all(error: ServemarkCallError | StreamError) -> bool:
    """Whether the next segment would fare the same: nobody answers, or wants anything for now."""
    if isinstance(error, ServemarkCallError):
        return error.retry_after is not None
    return isinstance(error, StreamTimeoutError)


def _after(done: int, on_progress: Callable[[int], None] | None) -> Callable[[int], None] | None:
    """Reports the rows of a segment as those that come after `done` others."""
    return None if on_progress is None else lambda rows: on_progress(done + rows)
