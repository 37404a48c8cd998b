"""Columns say what rows say, or are refused as a whole with every wrong column named."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from servemark.ingest.v1.benchmark_result_pb2 import ResultRow
from servemark.ingest.v1.latency_sketch_pb2 import LatencySketch
from servemark.ingest.v1.result_columns_pb2 import ResultColumns
from servemark.ingest.v1.result_query_pb2 import GetBenchmarkResultRequest
from servemark.ingest.v1.result_stream_pb2 import ResultBatch
from servemark.runtime.ids import uuid7
from servemark.type.v1.provenance_pb2 import PercentileSource
from services.ingest.metrics import HIGHEST, LATENCY_COLUMNS
from tests.rpc.ingest.builders import as_columns, batch, config, header, now_ms, row, rows
from tests.rpc.ingest.serving import Served, append, serving, stream
from tests.support import servers
from tests.support.failures import failure

pytestmark = pytest.mark.every_profile

MIB = 1024 * 1024


@pytest_asyncio.fixture(scope="module")
async def shared(storage_server: str, ingest_template: str) -> AsyncIterator[Served]:
    """One service for all examples; each row has an id of its own."""
    with servers.database(storage_server, ingest_template) as dsn:
        async with serving(dsn) as served:
            yield served


FIGURES = st.fixed_dictionaries(
    {},
    optional={name: st.floats(0, HIGHEST[name]) for name in HIGHEST if name not in LATENCY_COLUMNS}
    | {"ttft_p50_ms": st.floats(0, 1e9), "tpot_p99_ms": st.floats(0, 1e9)},
).filter(bool)
SKETCHES = st.builds(
    LatencySketch,
    first_bucket=st.integers(-1100, 1000),
    counts=st.lists(st.integers(0, 2**31 - 1), max_size=100),
    zero_count=st.integers(1, 2**31 - 1),
)
DETAILS = st.dictionaries(
    st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=9),
    st.integers(-(2**53), 2**53) | st.booleans() | st.none(),
    min_size=1,
    max_size=5,
).map(lambda value: json.dumps(value, ensure_ascii=False))
REST = st.fixed_dictionaries(
    {"config_index": st.integers(0, 2), "percentile_source": st.integers(0, 3)},
    optional={
        "batch_size": st.integers(1, 2**31 - 1),
        "request_count": st.integers(0, 2**63 - 1),
        "failed_request_count": st.integers(0, 2**63 - 1),
        "detailed_metrics_json": DETAILS,
        "source_sha256": st.binary(min_size=32, max_size=32),
        "ttft_sketch": SKETCHES,
        "tpot_sketch": SKETCHES,
    },
)
CONFIGS = (
    config(workload_type="chatbot", concurrency=1),
    config(workload_type="a-much-longer-kind-of-traffic", input_tokens=5, output_tokens=7),
    config(workload_type="x", request_rate=0.5),
)


async def check(served: Served, parts: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    """Sends the rows once in each encoding, and compares all that comes back."""
    moment = now_ms() - len(parts)
    content = [
        row(moment + index, figures=figures, **rest) for index, (figures, rest) in enumerate(parts)
    ]
    sent = batch(0, content)
    _, (ack,) = await append(served.stub, header(*CONFIGS), as_columns(sent))
    assert (ack.stored_count, list(ack.rejections)) == (len(content), [])
    _, (ack,) = await append(served.stub, header(*CONFIGS), sent)
    assert (ack.duplicate_count, list(ack.rejections)) == (len(content), [])
    for one in content:
        answer = await served.stub.GetBenchmarkResult(GetBenchmarkResultRequest(id=one.id))
        same(answer.benchmark_result, one)


def same(stored: Any, sent: ResultRow) -> None:
    """What is stored is what was sent, to the last bit."""
    assert stored.metrics == sent.metrics
    for name in ("batch_size", "request_count", "failed_request_count"):
        assert stored.HasField(name) == sent.HasField(name)
        assert getattr(stored, name) == getattr(sent, name)
    for name in ("ttft_sketch", "tpot_sketch", "source_sha256"):
        assert getattr(stored, name) == getattr(sent, name)
    details = (stored.detailed_metrics_json, sent.detailed_metrics_json)
    assert json.loads(details[0] or "null") == json.loads(details[1] or "null")
    workload = CONFIGS[sent.config_index].workload
    assert stored.config.workload == workload
    assert stored.benchmark_time == sent.benchmark_time


async def test_both_encodings_store_the_same_and_give_it_back(shared: Served) -> None:
    loop = asyncio.get_running_loop()

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.tuples(FIGURES, REST), min_size=1, max_size=9))
    def examples(parts: Any) -> None:
        asyncio.run_coroutine_threadsafe(check(shared, parts), loop).result(30)

    await asyncio.to_thread(examples)


def good() -> ResultColumns:
    """Three rows as columns."""
    return as_columns(batch(0, rows(3))).columns


def lacking(field: str) -> ResultColumns:
    """Three rows without one column."""
    columns = good()
    columns.ClearField(field)  # type: ignore[arg-type]
    return columns


def short_figures() -> ResultColumns:
    """A figure too few."""
    columns = good()
    del columns.metrics.ttft_p50_ms.values[-1]
    return columns


def wrong_presence() -> ResultColumns:
    """A bitmap for nine rows and more."""
    columns = good()
    columns.metrics.ttft_p50_ms.presence = b"\x07\x00"
    return columns


def odd_ids() -> ResultColumns:
    """Ids that end in the middle of one."""
    columns = good()
    columns.ids += b"\x00"
    return columns


def wrong_sketches() -> ResultColumns:
    """More counts promised than sent, and a first bucket too many."""
    columns = good()
    columns.ttft_sketches.lengths.extend([1, 1, 1])
    columns.ttft_sketches.zero_counts.extend([0, 0, 0])
    columns.ttft_sketches.first_buckets.extend([0, 0, 0, 0])
    columns.ttft_sketches.counts.extend([1, 1])
    return columns


def negative_lengths() -> ResultColumns:
    """A sketch that would end before it begins."""
    columns = good()
    columns.tpot_sketches.lengths.extend([2, -1, 0])
    columns.tpot_sketches.zero_counts.extend([0, 0, 0])
    columns.tpot_sketches.first_buckets.extend([0, 0, 0])
    columns.tpot_sketches.counts.append(1)
    return columns


def many_wrong() -> ResultColumns:
    """Several columns of a wrong length at once."""
    columns = short_figures()
    columns.request_counts.values.append(1)
    columns.percentile_sources.append(PercentileSource.PERCENTILE_SOURCE_MEASURED)
    columns.source_sha256.append(b"x" * 32)
    columns.detailed_metrics_json.append("{}")
    return columns


PREFIX = "batch.columns."
MISSHAPEN: list[tuple[Callable[[], ResultColumns], set[str]]] = [
    (lambda: lacking("config_indexes"), {"config_indexes"}),
    (lambda: lacking("benchmark_times_us"), {"benchmark_times_us"}),
    (lambda: lacking("ids"), {"ids"}),
    (odd_ids, {"ids"}),
    (short_figures, {"metrics.ttft_p50_ms.values"}),
    (wrong_presence, {"metrics.ttft_p50_ms.presence"}),
    (wrong_sketches, {"ttft_sketches.first_buckets", "ttft_sketches.counts"}),
    (negative_lengths, {"tpot_sketches.lengths"}),
    (
        many_wrong,
        {
            "metrics.ttft_p50_ms.values",
            "request_counts.values",
            "percentile_sources",
            "source_sha256",
            "detailed_metrics_json",
        },
    ),
]


@pytest.mark.parametrize(("make", "fields"), MISSHAPEN)
async def test_columns_of_unequal_length_are_refused_as_a_whole(
    ingest: Served, make: Callable[[], ResultColumns], fields: set[str]
) -> None:
    wrong = ResultBatch(sequence=1, columns=make())
    message = header()
    refused = await failure(stream(ingest.stub, message, as_columns(batch(0, rows(2))), wrong))
    assert refused.code == grpc.StatusCode.INVALID_ARGUMENT
    assert set(refused.fields) == {PREFIX + field for field in fields}
    # The batch before it is stored, and nothing of the wrong one.
    assert ingest.stored() == 2


async def test_a_batch_is_either_rows_or_columns(ingest: Served) -> None:
    both = as_columns(batch(0, rows(2)))
    both.rows.extend(rows(1))
    refused = await failure(stream(ingest.stub, header(), both))
    assert refused.fields == {"batch.columns": "came together with `rows`; send either"}


async def test_columns_hold_ten_thousand_rows_and_not_one_more(ingest: Served) -> None:
    content = rows(10_000, now_ms() - 20_000)
    summary = await stream(ingest.stub, header(), as_columns(batch(0, content)))
    assert summary.stored_count == 10_000
    refused = await failure(
        stream(ingest.stub, header(), as_columns(batch(0, [*content, *rows(1)])))
    )
    assert refused.reason == "BATCH_TOO_LARGE"


async def test_a_message_of_four_mebibytes_is_taken_and_a_larger_one_refused(
    ingest: Served,
) -> None:
    content = [
        row(now_ms() - 1000 + index, detailed_metrics_json=json.dumps({"a": "x" * 16_000}))
        for index in range(258)
    ]
    fits = as_columns(batch(0, content))
    assert 3.9 * MIB < fits.ByteSize() < 4 * MIB - 100
    summary = await stream(ingest.stub, header(), fits)
    assert summary.stored_count == len(content)
    too_large = as_columns(batch(0, [*content, *content[:10]]))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stream(ingest.stub, header(), too_large)
    assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert ingest.stored() == len(content)


async def test_nan_is_refused_and_absent_is_not(ingest: Served) -> None:
    columns = good()
    column = columns.metrics.rps_sustained
    column.values.extend([float("nan")] * 3)
    column.presence = b"\x02"
    _, (ack,) = await append(ingest.stub, header(), ResultBatch(sequence=0, columns=columns))
    assert [rejection.row for rejection in ack.rejections] == [1]
    assert "rps_sustained is nan" in ack.rejections[0].detail
    assert (
        ingest.value("SELECT count(*) FROM ingest.benchmark_results WHERE rps_sustained > 0") == 0
    )
    assert ingest.stored() == 2


async def test_times_are_kept_to_the_millisecond_whichever_way_they_come(ingest: Served) -> None:
    columns = good()
    for index in range(3):
        columns.benchmark_times_us[index] += 999
    _, (ack,) = await append(ingest.stub, header(), ResultBatch(sequence=0, columns=columns))
    assert ack.stored_count == 3
    kept = ingest.value(
        "SELECT max(extract(microseconds FROM benchmarked_at)::int % 1000)"
        " FROM ingest.benchmark_results"
    )
    assert kept == 0


@pytest.mark.parametrize("more", [0, 20])
async def test_a_batch_may_span_days_in_any_order(ingest: Served, more: int) -> None:
    day = 86_400_000
    midnight = now_ms() // day * day
    moments = [midnight - 1, midnight, midnight - day, midnight - 1 - 40 * day, midnight + 1]
    moments += [midnight - back * day for back in range(2, 2 + more)]
    content = [row(moment, id=str(uuid7(moment))) for moment in moments]
    _, (ack,) = await append(ingest.stub, header(), as_columns(batch(0, content)))
    assert ack.stored_count == len(moments)
    query = "SELECT count(DISTINCT tableoid) FROM ingest.benchmark_results"
    assert ingest.value(query) == 3 + more
    # Again, and one of them changed: compared wherever it lies.
    content[-1].metrics.ttft_p50_ms += 1
    _, (ack,) = await append(ingest.stub, header(), as_columns(batch(0, content)))
    assert (ack.duplicate_count, len(ack.rejections)) == (len(moments) - 1, 1)
