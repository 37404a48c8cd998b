"""Results are read back as they were sent, filtered, and page by page."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from servemark.ingest.v1.benchmark_config_pb2 import Parallelism
from servemark.ingest.v1.benchmark_result_pb2 import BenchmarkResult, ResultMetrics
from servemark.ingest.v1.result_query_pb2 import (
    GetBenchmarkResultRequest,
    ListBenchmarkResultsRequest,
    ResultFilter,
)
from servemark.runtime.ids import uuid7
from servemark.type.v1.metric_pb2 import Metric, MetricLimit
from servemark.type.v1.provenance_pb2 import PercentileSource, Provenance
from servemark.type.v1.range_pb2 import TimeRange
from services.ingest.metrics import METRIC_COLUMNS
from tests.rpc.ingest.builders import (
    OTHER_HARDWARE,
    OTHER_MODEL,
    batch,
    config,
    header,
    now_ms,
    row,
    rows,
)
from tests.rpc.ingest.serving import Served, append
from tests.support.failures import failure

pytestmark = pytest.mark.every_profile

DAY = 86_400_000


async def pages(stub: Any, size: int, **wanted: Any) -> AsyncIterator[list[BenchmarkResult]]:
    """The pages of a list, one after the other."""
    token = ""
    while True:
        page = await stub.ListBenchmarkResults(
            ListBenchmarkResultsRequest(
                page_size=size, page_token=token, filter=ResultFilter(**wanted)
            )
        )
        yield list(page.benchmark_results)
        token = page.next_page_token
        if not token:
            return


async def found(ingest: Served, **wanted: Any) -> list[str]:
    """Ids of the results that match, the latest first."""
    return [result.id async for page in pages(ingest.stub, 100, **wanted) for result in page]


def stamp(milliseconds: int) -> Timestamp:
    """An instant."""
    moment = Timestamp()
    moment.FromMilliseconds(milliseconds)
    return moment


async def test_a_result_comes_back_as_it_was_sent(ingest: Served) -> None:
    spec = config(
        input_tokens=1024,
        output_tokens=256,
        concurrency=32,
        request_rate=4.5,
        parallelism=Parallelism(tensor=8, pipeline=1, data=2, expert=0),
    )
    message = header(spec, provenance=Provenance.PROVENANCE_ESTIMATED)
    sent = row(
        metrics=ResultMetrics(**dict.fromkeys(METRIC_COLUMNS, 0.5)),
        percentile_source=PercentileSource.PERCENTILE_SOURCE_COMPUTED_FROM_SAMPLES,
        batch_size=4,
        request_count=1000,
        failed_request_count=0,
        detailed_metrics_json='{"goodput": 0.93}',
        source_sha256=b"s" * 32,
    )
    opened, _ = await append(ingest.stub, message, batch(0, [sent]))
    answer = await ingest.stub.GetBenchmarkResult(GetBenchmarkResultRequest(id=sent.id))
    got = answer.benchmark_result
    assert got.id == sent.id
    assert got.benchmark_time == sent.benchmark_time
    assert got.metrics == sent.metrics
    assert got.percentile_source == sent.percentile_source
    assert (got.batch_size, got.sequence_length) == (4, 1280)
    assert (got.request_count, got.failed_request_count) == (1000, 0)
    assert got.HasField("failed_request_count")
    assert got.detailed_metrics_json == '{"goodput": 0.93}'
    assert got.source_sha256 == sent.source_sha256
    assert (got.tool, got.tool_version, got.stream_id) == ("vllm", "0.11.0", message.stream_id)
    assert got.config.id == opened.configs[0].config_id
    assert got.config.workload == spec.workload
    assert got.config.parallelism == spec.parallelism
    assert got.config.provenance == message.provenance
    assert got.create_time.ToMilliseconds() >= sent.benchmark_time.ToMilliseconds()


async def test_what_was_not_measured_stays_absent(ingest: Served) -> None:
    bare = row(figures={"accuracy_score": 0.0})
    given = row(figures={"ttft_p50_ms": 0.0})
    await append(ingest.stub, header(config()), batch(0, [bare, given]))
    answer = await ingest.stub.GetBenchmarkResult(GetBenchmarkResultRequest(id=bare.id))
    got = answer.benchmark_result
    assert got.metrics == bare.metrics
    assert got.percentile_source == PercentileSource.PERCENTILE_SOURCE_ABSENT
    for field in ("batch_size", "sequence_length", "request_count", "failed_request_count"):
        assert not got.HasField(field)
    assert (got.detailed_metrics_json, got.source_sha256) == ("", b"")
    assert not got.config.workload.HasField("concurrency")
    answer = await ingest.stub.GetBenchmarkResult(GetBenchmarkResultRequest(id=given.id))
    source = answer.benchmark_result.percentile_source
    assert source == PercentileSource.PERCENTILE_SOURCE_MEASURED


async def test_a_result_that_is_not_there_is_not_found(ingest: Served) -> None:
    for unknown in (str(uuid7()), str(uuid4()), "ffffffff-ffff-7fff-bfff-ffffffffffff"):
        refused = await failure(
            ingest.stub.GetBenchmarkResult(GetBenchmarkResultRequest(id=unknown))
        )
        assert (refused.code.name, refused.reason) == ("NOT_FOUND", "RESOURCE_NOT_FOUND")
    refused = await failure(ingest.stub.GetBenchmarkResult(GetBenchmarkResultRequest(id="seven")))
    assert refused.reason == "INVALID_FIELD"


async def test_results_are_listed_latest_first_over_days(ingest: Served) -> None:
    sent = [row(now_ms() - days * DAY) for days in (3, 0, 7, 1, 2)]
    await append(ingest.stub, header(), batch(0, sent))
    assert await found(ingest) == sorted((one.id for one in sent), reverse=True)


async def test_each_filter_keeps_what_it_names(ingest: Served) -> None:
    message = header(
        config(),
        config(model=OTHER_MODEL),
        config(hardware=OTHER_HARDWARE),
        config(workload_type="random"),
    )
    sent = [row(config_index=index) for index in range(4)]
    opened, _ = await append(ingest.stub, message, batch(0, sent))
    simulated = row()
    await append(
        ingest.stub,
        header(provenance=Provenance.PROVENANCE_SIMULATED),
        batch(0, [simulated]),
    )
    other = (
        await ingest.stub.GetBenchmarkResult(GetBenchmarkResultRequest(id=sent[1].id))
    ).benchmark_result.config
    moved = (
        await ingest.stub.GetBenchmarkResult(GetBenchmarkResultRequest(id=sent[2].id))
    ).benchmark_result.config
    assert await found(ingest, model_ids=[other.model_id]) == [sent[1].id]
    assert await found(ingest, model_version_ids=[other.model_version_id]) == [sent[1].id]
    assert await found(ingest, hardware_config_ids=[moved.hardware_config_id]) == [sent[2].id]
    assert len(await found(ingest, framework_ids=[other.framework_id])) == 5
    assert await found(ingest, config_ids=[opened.configs[3].config_id]) == [sent[3].id]
    assert await found(ingest, workload_types=["Random", "nothing"]) == [sent[3].id]
    kinds = [Provenance.PROVENANCE_SIMULATED]
    assert await found(ingest, provenances=kinds) == [simulated.id]
    assert await found(ingest, provenances=kinds, model_ids=[other.model_id]) == []


async def test_a_time_range_holds_its_start_and_not_its_end(ingest: Served) -> None:
    now = now_ms()
    sent = [row(now - 2 * DAY), row(now - DAY), row(now)]
    await append(ingest.stub, header(), batch(0, sent))
    span = TimeRange(start_time=stamp(now - 2 * DAY), end_time=stamp(now))
    assert await found(ingest, benchmark_time=span) == [sent[1].id, sent[0].id]
    assert await found(ingest, benchmark_time=TimeRange(start_time=stamp(now))) == [sent[2].id]
    assert await found(ingest, benchmark_time=TimeRange(end_time=stamp(now - DAY))) == [sent[0].id]


async def test_limits_go_the_metrics_way_and_leave_out_what_is_not_measured(
    ingest: Served,
) -> None:
    now = now_ms()
    fast = row(now, figures={"ttft_p90_ms": 100.0, "throughput_tokens_sec": 500.0})
    slow = row(now + 1, figures={"ttft_p90_ms": 301.0, "throughput_tokens_sec": 2000.0})
    blind = row(figures={"rps_sustained": 10.0})
    await append(ingest.stub, header(), batch(0, [fast, slow, blind]))

    def limit(metric: str, value: float) -> MetricLimit:
        return MetricLimit(metric=Metric.Value(f"METRIC_{metric}"), limit=value)

    assert await found(ingest, limits=[limit("TTFT_P90_MS", 300)]) == [fast.id]
    assert await found(ingest, limits=[limit("TTFT_P90_MS", 301)]) == [slow.id, fast.id]
    assert await found(ingest, limits=[limit("THROUGHPUT_TOKENS_SEC", 501)]) == [slow.id]
    both = [limit("TTFT_P90_MS", 300), limit("THROUGHPUT_TOKENS_SEC", 501)]
    assert await found(ingest, limits=both) == []


async def test_every_wrong_filter_is_named_at_once(ingest: Served) -> None:
    wanted = ResultFilter(
        model_ids=["x"],
        config_ids=[str(uuid4()), "y"],
        workload_types=["w" * 65],
        provenances=[Provenance.PROVENANCE_UNSPECIFIED, 77],  # type: ignore[list-item]
        benchmark_time=TimeRange(start_time=Timestamp(seconds=10**15)),
        limits=[
            MetricLimit(metric=Metric.METRIC_USD_PER_HOUR, limit=1),
            MetricLimit(metric=Metric.METRIC_TTFT_P50_MS, limit=0),
            MetricLimit(limit=float("inf")),
        ],
    )
    refused = await failure(
        ingest.stub.ListBenchmarkResults(ListBenchmarkResultsRequest(page_size=1001, filter=wanted))
    )
    assert refused.reason == "INVALID_FIELD"
    assert set(refused.fields) == {
        "page_size",
        "filter.model_ids[0]",
        "filter.config_ids[1]",
        "filter.workload_types[0]",
        "filter.provenances[0]",
        "filter.provenances[1]",
        "filter.benchmark_time.start_time",
        "filter.limits[0].metric",
        "filter.limits[1].limit",
        "filter.limits[2].metric",
        "filter.limits[2].limit",
    }


async def test_a_token_of_other_filters_is_refused(ingest: Served) -> None:
    await append(ingest.stub, header(), batch(0, rows(3)))
    page = await ingest.stub.ListBenchmarkResults(ListBenchmarkResultsRequest(page_size=1))
    for request in (
        ListBenchmarkResultsRequest(
            page_token=page.next_page_token, filter=ResultFilter(workload_types=["chatbot"])
        ),
        ListBenchmarkResultsRequest(page_token="!"),
        ListBenchmarkResultsRequest(page_token=page.next_page_token[:-3]),
    ):
        refused = await failure(ingest.stub.ListBenchmarkResults(request))
        assert (refused.code.name, refused.reason) == ("INVALID_ARGUMENT", "PAGE_TOKEN_INVALID")


async def test_pages_are_complete_and_never_repeat_while_results_arrive(ingest: Served) -> None:
    now = now_ms()
    before = [row(now - index % 3 * DAY - index) for index in range(60)]
    await append(ingest.stub, header(), batch(0, before))
    stop = asyncio.Event()

    async def arrive() -> int:
        message, sequence = header(), 0
        while not stop.is_set():
            await append(ingest.stub, message, batch(sequence, rows(5)))
            sequence += 1
        return sequence

    arriving = asyncio.create_task(arrive())
    seen: list[str] = []
    async for page in pages(ingest.stub, 7):
        assert len(page) <= 7
        seen += [result.id for result in page]
        await asyncio.sleep(0.01)
    stop.set()
    assert await arriving > 3
    assert len(seen) == len(set(seen))
    assert {one.id for one in before} <= set(seen)
    assert seen == sorted(seen, reverse=True)


async def test_a_page_of_large_results_is_cut_to_what_a_client_takes(ingest: Served) -> None:
    large = '{"samples": "' + "x" * 16_000 + '"}'
    sent = [row(detailed_metrics_json=large) for _ in range(400)]
    await append(ingest.stub, header(), batch(0, sent[:200]), batch(1, sent[200:]))
    read = [page async for page in pages(ingest.stub, 1000)]
    assert sorted(result.id for page in read for result in page) == sorted(one.id for one in sent)
    assert len(read) == 3
    assert all(sum(result.ByteSize() for result in page) <= 3 * 1024 * 1024 for page in read)
