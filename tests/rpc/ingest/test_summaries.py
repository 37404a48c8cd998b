"""All runs of a configuration are condensed to the middle and the ends of each figure."""

from statistics import median
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from servemark.ingest.v1.result_query_pb2 import (
    ConfigSummary,
    ListConfigSummariesRequest,
    ResultFilter,
)
from servemark.type.v1.metric_pb2 import Metric, MetricLimit
from servemark.type.v1.provenance_pb2 import Provenance
from servemark.type.v1.range_pb2 import TimeRange
from tests.rpc.ingest.builders import OTHER_MODEL, batch, config, header, now_ms, row
from tests.rpc.ingest.serving import Served, append

pytestmark = pytest.mark.every_profile

DAY = 86_400_000


async def summaries(ingest: Served, size: int = 0, **wanted: Any) -> list[ConfigSummary]:
    """Every summary that matches, read page by page."""
    seen: list[ConfigSummary] = []
    token = ""
    while True:
        page = await ingest.stub.ListConfigSummaries(
            ListConfigSummariesRequest(
                page_size=size, page_token=token, filter=ResultFilter(**wanted)
            )
        )
        seen += page.config_summaries
        token = page.next_page_token
        if not token:
            return seen


async def test_runs_are_condensed_metric_by_metric(ingest: Served) -> None:
    now = now_ms()
    ttft = [30.0, 10.0, 20.0, 15.0]
    runs = [
        row(now - index, figures={"ttft_p50_ms": value}, request_count=100, failed_request_count=1)
        for index, value in enumerate(ttft)
    ]
    runs.append(row(now - DAY, figures={"rps_sustained": 3.0}))
    message = header()
    opened, _ = await append(ingest.stub, message, batch(0, runs[:3]))
    await append(ingest.stub, header(tool="guidellm"), batch(0, runs[3:]))
    (summary,) = await summaries(ingest)
    assert summary.config.id == opened.configs[0].config_id
    assert (summary.run_count, summary.request_count, summary.failed_request_count) == (5, 400, 4)
    assert summary.newest_benchmark_time == runs[0].benchmark_time
    assert list(summary.tools) == ["guidellm", "vllm"]
    by_metric = {metric.metric: metric for metric in summary.metrics}
    assert set(by_metric) == {Metric.METRIC_TTFT_P50_MS, Metric.METRIC_RPS_SUSTAINED}
    found = by_metric[Metric.METRIC_TTFT_P50_MS]
    assert (found.median, found.min, found.max, found.run_count) == (median(ttft), 10.0, 30.0, 4)
    assert by_metric[Metric.METRIC_RPS_SUSTAINED].run_count == 1


async def test_unlike_runs_are_never_pooled(ingest: Served) -> None:
    shapes = [config(concurrency=1), config(concurrency=2), config(model=OTHER_MODEL)]
    await append(
        ingest.stub, header(*shapes), batch(0, [row(config_index=index) for index in range(3)])
    )
    await append(
        ingest.stub,
        header(*shapes, provenance=Provenance.PROVENANCE_SIMULATED),
        batch(0, [row(config_index=index) for index in range(3)]),
    )
    everything = await summaries(ingest)
    assert len(everything) == 6
    assert all(summary.run_count == 1 for summary in everything)
    measured = await summaries(ingest, provenances=[Provenance.PROVENANCE_MEASURED])
    assert len(measured) == 3


async def test_the_filter_applies_to_the_runs(ingest: Served) -> None:
    now = now_ms()
    old = row(now - 5 * DAY, figures={"ttft_p50_ms": 500.0})
    new = row(now, figures={"ttft_p50_ms": 50.0})
    await append(ingest.stub, header(config(), config(concurrency=2)), batch(0, [old, new]))
    start = Timestamp()
    start.FromMilliseconds(now - DAY)
    (recent,) = await summaries(ingest, benchmark_time=TimeRange(start_time=start))
    assert (recent.run_count, recent.metrics[0].max) == (1, 50.0)
    limit = MetricLimit(metric=Metric.METRIC_TTFT_P50_MS, limit=100)
    (fast,) = await summaries(ingest, limits=[limit])
    assert (fast.run_count, fast.newest_benchmark_time) == (1, new.benchmark_time)
    both = MetricLimit(metric=Metric.METRIC_TTFT_P50_MS, limit=10)
    assert await summaries(ingest, limits=[both]) == []


async def test_pages_go_by_configuration_and_skip_those_without_runs(ingest: Served) -> None:
    count = 450
    message = header(*(config(concurrency=index + 1) for index in range(count)))
    opened, _ = await append(
        ingest.stub,
        message,
        batch(0, [row(config_index=index) for index in range(count) if index % 3 == 0]),
    )
    with_runs = [opened.configs[index].config_id for index in range(0, count, 3)]
    for size in (7, 150, 1000):
        seen = [summary.config.id for summary in await summaries(ingest, size)]
        assert seen == sorted(with_runs)
