"""The gateway counts the rows of a message as the service behind will."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servemark.ingest.v1.result_stream_pb2 import AppendResultsRequest, StreamResultsRequest
from services.gateway.row_count import REQUEST_TYPES, rows_in


def request_of(rows: int, columns: int) -> AppendResultsRequest:
    request = AppendResultsRequest()
    request.batch.sequence = 7
    for number in range(rows):
        row = request.batch.rows.add(id="x" * 36, detailed_metrics_json='{"a": 1}')
        row.metrics.ttft_p50_ms = number
    if columns:
        request.batch.columns.ids = bytes(16 * columns)
        request.batch.columns.config_indexes.extend(range(columns))
        request.batch.columns.metrics.ttft_p50_ms.values.extend([1.5] * columns)
    return request


@pytest.mark.parametrize(("rows", "columns"), [(1, 0), (2500, 0), (0, 1), (0, 10_000), (3, 4)])
def test_rows_and_columns_are_counted(rows: int, columns: int) -> None:
    assert rows_in(request_of(rows, columns).SerializeToString()) == rows + columns


def test_a_header_has_no_rows() -> None:
    request = AppendResultsRequest()
    request.header.stream_id = "x"
    assert rows_in(request.SerializeToString()) == 0
    assert rows_in(b"") == 0


def test_a_batch_in_pieces_is_counted_as_the_service_reads_it() -> None:
    pieces = b"".join(request_of(rows, 0).SerializeToString() for rows in (2, 3))
    # An unknown group around it all does not hide them either.
    hidden = b"\xfb\x07" + b"\xfc\x07" + pieces
    for data in (pieces, hidden):
        assert rows_in(data) == len(AppendResultsRequest.FromString(data).batch.rows) == 5


@pytest.mark.parametrize("kind", REQUEST_TYPES.values())
def test_both_streams_have_their_batch_in_one_field(kind: Any) -> None:
    assert set(REQUEST_TYPES.values()) == {AppendResultsRequest, StreamResultsRequest}
    assert rows_in(kind(batch=request_of(5, 0).batch).SerializeToString()) == 5


@given(st.binary(max_size=200), st.booleans())
def test_whatever_is_sent_never_has_fewer_rows_than_the_service_reads(
    body: bytes, as_batch: bool
) -> None:
    data = b"\x12" + bytes([len(body) % 128]) + body if as_batch else body
    counted = rows_in(data)
    try:
        read = AppendResultsRequest.FromString(data).batch
    except Exception:
        return
    assert counted >= len(read.rows) + len(read.columns.ids) // 16
