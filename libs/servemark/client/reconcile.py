"""Settles what an acknowledgement that got lost would have said."""

from dataclasses import dataclass

from servemark.client.channel import Client
from servemark.client.errors import ServemarkCallError
from servemark.client.ledger import Ledger
from servemark.ingest.v1 import result_stream_pb2 as stream_pb2

_PAGE = 1_000


@dataclass(frozen=True)
class Baseline:
    """Rows a stream had stored before this client sent any. None: the server would not say."""

    stored: int | None


def read_baseline(client: Client, stream_id: str, next_sequence: int) -> Baseline:
    """The baseline of a stream that has just been opened."""
    if next_sequence == 0:
        return Baseline(0)
    return Baseline(_stored(client, stream_id))


def settle(client: Client, stream_id: str, ledger: Ledger, baseline: Baseline | None) -> None:
    """Books the rows whose acknowledgement was lost, by the server's own books.

    The rows are durable in any case. Where the server does not answer, they count as stored.
    """
    if not ledger.unsure_rows:
        return
    rejections = _rejections(client, stream_id, ledger.unsure_sequences)
    total = _stored(client, stream_id) if baseline and baseline.stored is not None else None
    if total is None or baseline is None or baseline.stored is None:
        ledger.settle_unsure(rejections, None)
    else:
        ledger.settle_unsure(rejections, total - baseline.stored - ledger.stored)


def _stored(client: Client, stream_id: str) -> int | None:
    try:
        request = stream_pb2.GetStreamCursorRequest(stream_id=stream_id)
        return client.ingest.GetStreamCursor(request).stored_count
    except ServemarkCallError:
        return None


def _rejections(
    client: Client, stream_id: str, sequences: set[int]
) -> list[stream_pb2.RowRejection]:
    found: list[stream_pb2.RowRejection] = []
    token = ""
    try:
        while True:
            request = stream_pb2.ListRejectionsRequest(
                stream_id=stream_id, page_size=_PAGE, page_token=token
            )
            page = client.ingest.ListRejections(request)
            found += [
                kept.rejection for kept in page.rejections if kept.rejection.sequence in sequences
            ]
            token = page.next_page_token
            if not token:
                break
    except ServemarkCallError:
        # The rest of the summary is still worth more than an error after everything is durable.
        pass
    return sorted(found, key=lambda rejection: (rejection.sequence, rejection.row))
