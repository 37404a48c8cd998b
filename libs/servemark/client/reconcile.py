"""Settles what an acknowledgement that got lost would have said."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from servemark.client.errors import ServemarkCallError
from servemark.client.ledger import Ledger
from servemark.ingest.v1 import result_stream_pb2 as stream_pb2

if TYPE_CHECKING:
    from servemark.client.channel import Client

_PAGE = 1_000


@dataclass(frozen=True)
class Baseline:
    """What a stream had before this client sent any batch. None: the server would not say.

    stored: rows it had stored. rows: all rows of the batches it had taken, whatever became of them.
    """

    stored: int | None
    rows: int | None


def read_baseline(client: "Client", stream_id: str, next_sequence: int) -> Baseline:
    """The baseline of a stream that has just been opened."""
    if next_sequence == 0:
        return Baseline(0, 0)
    cursor = _cursor(client, stream_id)
    if cursor is None:
        return Baseline(None, None)
    rows = cursor.stored_count + cursor.duplicate_count + cursor.rejected_count
    # Where another client of the stream goes on meanwhile, they are no longer the rows in question.
    return Baseline(cursor.stored_count, rows if cursor.next_sequence == next_sequence else None)


def settle(client: "Client", stream_id: str, ledger: Ledger, baseline: Baseline | None) -> None:
    """Books the rows whose acknowledgement was lost, by the server's own books.

    The rows are durable in any case. Where the server does not answer, they count as stored.
    """
    if not ledger.unsure_rows:
        return
    rejections = [
        rejection
        for rejection in all_rejections(client, stream_id)
        if rejection.sequence in ledger.unsure_sequences
    ]
    if baseline is None or baseline.stored is None:
        ledger.settle_unsure(rejections, None)
        return
    cursor = _cursor(client, stream_id)
    if cursor is None:
        ledger.settle_unsure(rejections, None)
    else:
        ledger.settle_unsure(rejections, cursor.stored_count - baseline.stored - ledger.stored)


def _cursor(client: "Client", stream_id: str) -> stream_pb2.GetStreamCursorResponse | None:
    try:
        request = stream_pb2.GetStreamCursorRequest(stream_id=stream_id)
        response: stream_pb2.GetStreamCursorResponse = client.ingest.GetStreamCursor(request)
        return response
    except ServemarkCallError:
        return None


def all_rejections(client: "Client", stream_id: str) -> list[stream_pb2.RowRejection]:
    """The rows of a stream that were ever refused, in order; those found before an error."""
    found: list[stream_pb2.RowRejection] = []
    token = ""
    try:
        while True:
            request = stream_pb2.ListRejectionsRequest(
                stream_id=stream_id, page_size=_PAGE, page_token=token
            )
            page = client.ingest.ListRejections(request)
            found += [kept.rejection for kept in page.rejections]
            token = page.next_page_token
            if not token:
                break
    except ServemarkCallError:
        # The rest of the summary is still worth more than an error after everything is durable.
        pass
    return sorted(found, key=lambda rejection: (rejection.sequence, rejection.row))
