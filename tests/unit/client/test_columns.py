"""Both ways to columns, from rows and result by result, say what the rows say."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servemark.client.columns import ColumnBuffer
from servemark.client.encode import MIN_COLUMN_ROWS, columns_of, fill_batch
from servemark.client.record_fields import METRICS
from servemark.ingest.v1.latency_sketch_pb2 import LatencySketch
from servemark.ingest.v1.result_columns_pb2 import ResultColumns
from servemark.ingest.v1.result_stream_pb2 import ResultBatch
from services.ingest.columns import Columns
from services.ingest.convert_columns import columns_from_proto
from services.ingest.convert_rows import columns_from_rows
from tests.unit.client.results import RESULTS, row_of
from tests.unit.client.streams import rows

LISTS = st.lists(RESULTS, min_size=1, max_size=12)
ROOM = 1 << 22
PLAIN: dict[str, Any] = {
    "id_bytes": bytes(16),
    "config_index": 0,
    "time_us": 0,
    "figures": {"ttft_p50_ms": 1.0},
}
WRONG: list[dict[str, Any]] = [
    {"figures": {"ttft_p50": 1.0}},
    {"figures": {"ttft_p50_ms": 1.0, "ttft_p90_ms": "2"}},
    {"figures": {"tpot_p50_ms": "fast"}},
    {"request_count": 1.5},
    {"batch_size": 2**63},
    {"detailed_metrics_json": "\ud800"},
    {"config_index": 2**31},
    {
        "ttft_sketch": LatencySketch(counts=[1]),
        "tpot_sketch": LatencySketch(first_bucket=-1100, counts=[1] * 2202),
    },
]


def filled(buffer: ColumnBuffer) -> ResultColumns:
    message = ResultColumns()
    buffer.fill(message)
    return message


def assert_same(ours: Any, theirs: Any) -> None:
    """Fails unless the server reads the same from both."""
    for name in theirs.__slots__:
        one, other = getattr(ours, name), getattr(theirs, name)
        if name == "sketches":
            for sketches, expected in zip(one, other, strict=True):
                assert (sketches is None) == (expected is None)
                if expected is not None:
                    assert_same(sketches, expected)
        elif isinstance(other, np.ndarray):
            np.testing.assert_array_equal(one, other, err_msg=name)
        else:
            assert one == other, name


def read(columns: ResultColumns) -> Columns:
    # As it comes over the wire.
    return columns_from_proto(ResultColumns.FromString(columns.SerializeToString()))


@given(LISTS)
def test_the_server_reads_from_columns_what_it_reads_from_rows(
    results: list[dict[str, Any]],
) -> None:
    messages = [row_of(result) for result in results]
    columns = columns_of(messages)
    assert columns is not None
    assert_same(read(columns), columns_from_rows(messages))


@given(LISTS)
def test_the_server_reads_from_a_buffer_what_it_reads_from_rows(
    results: list[dict[str, Any]],
) -> None:
    buffer = ColumnBuffer()
    for result in results:
        buffer.add(**result)
    size = buffer.byte_size
    columns = filled(buffer)
    assert_same(read(columns), columns_from_rows([row_of(result) for result in results]))
    assert columns.ByteSize() <= size


@given(st.lists(RESULTS | st.sampled_from(WRONG), min_size=1, max_size=12))
def test_a_result_that_cannot_be_sent_leaves_no_trace(results: list[dict[str, Any]]) -> None:
    good = [result for result in results if "id_bytes" in result]
    buffer, expected = ColumnBuffer(), ColumnBuffer()
    for result in good:
        expected.add(**result)
    for result in results:
        if "id_bytes" in result:
            buffer.add(**result)
        else:
            with pytest.raises((TypeError, ValueError, OverflowError)):
                buffer.add(**(PLAIN | result))
    assert len(buffer) == len(good)
    if good:
        assert_same(read(filled(buffer)), read(filled(expected)))


def test_a_misspelt_figure_is_told_with_those_there_are() -> None:
    with pytest.raises(TypeError, match=r"^ttft_p50 is not .* ttft_p50_ms, ttft_p90_ms"):
        ColumnBuffer().add(**(PLAIN | {"figures": {"ttft_p50": 1.0}}))


def test_columns_without_gaps_carry_no_presence_and_absent_ones_are_not_sent() -> None:
    buffer = ColumnBuffer()
    for index in range(20):
        buffer.add(**(PLAIN | {"figures": {"ttft_p50_ms": 0.0, "tpot_p50_ms": None}}))
        if index == 9:
            buffer.add(**(PLAIN | {"figures": {"ttft_p50_ms": 0.0, "rps_sustained": 2.0}}))
    metrics = filled(buffer).metrics
    assert {field.name for field, _ in metrics.ListFields()} == {"ttft_p50_ms", "rps_sustained"}
    assert metrics.ttft_p50_ms.presence == b""
    assert metrics.rps_sustained.presence == bytes([0, 0b100, 0])


def test_every_figure_has_a_column() -> None:
    buffer = ColumnBuffer()
    buffer.add(**(PLAIN | {"figures": {name: place for place, name in enumerate(METRICS)}}))
    metrics = filled(buffer).metrics
    assert [list(getattr(metrics, name).values) for name in METRICS] == [
        [place] for place in range(13)
    ]


def sent(messages: list[Any], max_bytes: int = ROOM) -> ResultBatch:
    batch = ResultBatch()
    fill_batch(batch, messages, max_bytes)
    return batch


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", ""),
        ("id", "one"),
        ("id", "0199A3C5-0000-7000-8000-00000000000A"),
        ("id", "{0199a3c5-0000-7000-8000-00000000000}"),
        ("id", "0199a3c5-0000-7000-8000 00000000000a"),
        ("id", "0199a3c5-0000-7000-8000-0000000000 a"),
        ("id", "0199a3c5-000-07000-8000-00000000000a"),
        ("id", "0199a3c5-0000-7000-8000-00000000000g"),
        ("id", "0199a3c5-0000-7000-8000-00000000000a0"),
        ("benchmark_time.nanos", -1),
        ("benchmark_time.nanos", 1_000_000_000),
        ("benchmark_time.seconds", 1 << 40),
        ("ttft_sketch.zero_count", 0),
    ],
)
def test_a_batch_with_a_row_that_columns_cannot_express_is_sent_as_it_is(
    field: str, value: Any
) -> None:
    messages = rows(MIN_COLUMN_ROWS)
    assert sent(messages).HasField("columns")
    parent, _, name = field.rpartition(".")
    message = getattr(messages[7], parent) if parent else messages[7]
    setattr(message, name, value)
    if parent == "ttft_sketch":
        message.SetInParent()
    batch = sent(messages)
    assert not batch.HasField("columns")
    assert list(batch.rows) == messages


def test_a_batch_that_would_be_too_large_as_columns_is_sent_as_rows() -> None:
    messages = rows(100)
    size = sent(messages).columns.ByteSize()
    assert sent(messages, size).HasField("columns")
    assert list(sent(messages, size - 1).rows) == messages


def test_a_few_rows_are_sent_as_rows() -> None:
    assert len(sent(rows(MIN_COLUMN_ROWS - 1)).rows) == MIN_COLUMN_ROWS - 1
