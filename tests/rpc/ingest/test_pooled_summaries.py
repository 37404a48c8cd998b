"""What all requests of a configuration's runs say together, where the runs tell enough for it."""

import random
from typing import Any

import numpy as np
import pytest

from servemark.client.sketch import sketch_of
from servemark.ingest.v1.benchmark_result_pb2 import ResultRow
from servemark.ingest.v1.result_query_pb2 import (
    ConfigSummary,
    ListDailyModelStatsRequest,
    PooledMetric,
)
from servemark.type.v1.metric_pb2 import Metric
from tests.rpc.ingest.builders import batch, config, header, now_ms, row
from tests.rpc.ingest.rolling import read_summaries, roll_up_all
from tests.rpc.ingest.serving import Served, append, serving
from tests.support import servers

pytestmark = pytest.mark.every_profile

TTFT = {
    0.5: Metric.METRIC_TTFT_P50_MS,
    0.9: Metric.METRIC_TTFT_P90_MS,
    0.95: Metric.METRIC_TTFT_P95_MS,
    0.99: Metric.METRIC_TTFT_P99_MS,
}
SPEED, RATE = Metric.METRIC_THROUGHPUT_TOKENS_SEC, Metric.METRIC_RPS_SUSTAINED
ACCURACY = Metric.METRIC_ACCURACY_SCORE


async def summary_of(ingest: Served, *rows: ResultRow) -> ConfigSummary:
    """The runs of one configuration, condensed."""
    await append(ingest.stub, header(), batch(0, rows))
    (summary,) = await read_summaries(ingest.stub)
    return summary


def pooled(summary: ConfigSummary) -> dict[int, PooledMetric]:
    """The pooled metrics."""
    return {metric.metric: metric for metric in summary.pooled_metrics}


async def test_a_percentile_is_that_of_all_requests_of_all_runs(ingest: Served) -> None:
    chance = np.random.default_rng(3)
    runs = [chance.lognormal(mean, 0.8, size) for mean, size in ((3, 400), (4, 50), (5, 900))]
    summary = await summary_of(
        ingest,
        *(
            row(
                figures={"ttft_p50_ms": float(np.median(samples))},
                ttft_sketch=sketch_of(samples.tolist()),
            )
            for samples in runs
        ),
    )
    found = pooled(summary)
    assert found.keys() == set(TTFT.values())
    together = np.concatenate(runs)
    for q, metric in TTFT.items():
        exact = float(np.quantile(together, q, method="inverted_cdf"))
        assert found[metric].value == pytest.approx(exact, rel=0.01)
        assert (found[metric].request_count, found[metric].run_count) == (1350, 3)
    # No run has a figure of the others, so there is no median of runs.
    assert [metric.metric for metric in summary.metrics] == [Metric.METRIC_TTFT_P50_MS]


async def test_one_run_with_a_figure_but_no_sketch_leaves_nothing_to_merge(ingest: Served) -> None:
    with_sketch = row(figures={"ttft_p50_ms": 10.0}, ttft_sketch=sketch_of([10.0]))
    without = row(figures={"ttft_p99_ms": 90.0})
    unrelated = row(figures={"memory_used_gb": 70.0})
    assert pooled(await summary_of(ingest, with_sketch, unrelated)).keys() == set(TTFT.values())
    assert not pooled(await summary_of(ingest, without))


def rate_run(requests: int | None, rps: float | None, speed: float | None) -> ResultRow:
    figures = {"rps_sustained": rps, "throughput_tokens_sec": speed, "memory_used_gb": 1.0}
    return row(
        figures={name: value for name, value in figures.items() if value is not None},
        request_count=requests,
    )


async def test_rates_are_all_requests_and_all_tokens_over_all_time(ingest: Served) -> None:
    # 100 requests in 10 s with 5,000 tokens, 30 in 60 s with 6,000.
    summary = await summary_of(ingest, rate_run(100, 10.0, 500.0), rate_run(30, 0.5, 100.0))
    found = pooled(summary)
    assert found[RATE].value == pytest.approx(130 / 70)
    assert found[SPEED].value == pytest.approx(11_000 / 70)
    assert (found[SPEED].request_count, found[SPEED].run_count) == (130, 2)


@pytest.mark.parametrize(
    ("other", "kept"),
    [
        (rate_run(None, 0.5, 100.0), set()),
        (rate_run(0, 0.0, 0.0), set()),
        (rate_run(30, None, 100.0), {RATE}),
        (rate_run(30, 0.5, None), {RATE, SPEED}),
        (rate_run(None, None, None), {RATE, SPEED}),
    ],
)
async def test_a_rate_is_pooled_only_if_every_run_says_how_long_it_took(
    ingest: Served, other: ResultRow, kept: set[int]
) -> None:
    summary = await summary_of(ingest, rate_run(100, 10.0, 500.0), other)
    assert pooled(summary).keys() == kept


async def test_an_accuracy_is_the_share_over_all_requests(ingest: Served) -> None:
    summary = await summary_of(
        ingest,
        row(figures={"accuracy_score": 0.9}, request_count=1000),
        row(figures={"accuracy_score": 0.4}, request_count=200),
        row(figures={"ttft_p50_ms": 1.0}, request_count=5000),
    )
    found = pooled(summary)
    assert found[ACCURACY].value == pytest.approx(980 / 1200)
    assert (found[ACCURACY].request_count, found[ACCURACY].run_count) == (1200, 2)
    unknown = await summary_of(ingest, row(figures={"accuracy_score": 0.5}))
    assert ACCURACY not in pooled(unknown)


EXTREMES: list[dict[str, Any]] = [
    {"rps_sustained": 5e-324, "throughput_tokens_sec": 1e12},
    {"rps_sustained": 1e12, "throughput_tokens_sec": 5e-324},
    {"rps_sustained": 1.0, "throughput_tokens_sec": 5e-324},
    {"rps_sustained": 1e-3, "throughput_tokens_sec": 1e12},
    {"accuracy_score": 5e-324},
    {"accuracy_score": 1.0, "rps_sustained": 0.0, "throughput_tokens_sec": 0.0},
]


@pytest.mark.parametrize("requests", [1, 10**9, 2**31 - 1, 2**62])
async def test_no_figure_that_is_taken_in_stops_the_condensing(
    ingest_dsn: str, requests: int
) -> None:
    async with serving(ingest_dsn, roll_up_seconds=3600) as ingest:
        shapes = [config(concurrency=n + 1) for n in range(len(EXTREMES) + 1)]
        rows = [
            row(config_index=index, figures=figures, request_count=requests)
            for index, figures in enumerate(EXTREMES)
        ]
        together = [
            row(config_index=len(EXTREMES), figures=figures, request_count=requests)
            for figures in EXTREMES
        ]
        await append(ingest.stub, header(*shapes), batch(0, [*rows, *together]))
        before = await read_summaries(ingest.stub)
        await roll_up_all(ingest_dsn)
        assert await read_summaries(ingest.stub) == before
        assert len(before) == len(shapes)
        daily = await ingest.stub.ListDailyModelStats(ListDailyModelStatsRequest())
        assert len(daily.daily_model_stats) == 1


async def test_each_figure_says_how_many_requests_and_until_when(ingest: Served) -> None:
    now = now_ms()
    old = row(now - 5000, figures={"accuracy_score": 0.5}, request_count=10)
    summary = await summary_of(
        ingest,
        old,
        row(now, figures={"ttft_p50_ms": 5.0}, request_count=300),
        row(now - 9000, figures={"ttft_p50_ms": 5.0, "accuracy_score": 0.6}, request_count=40),
        row(now - 9000, figures={"ttft_p50_ms": 5.0}),
    )
    told = {
        metric.metric: (metric.request_count, metric.newest_benchmark_time.ToMilliseconds())
        for metric in summary.metrics
    }
    # Left out where it is the configuration's own newest.
    assert told == {Metric.METRIC_TTFT_P50_MS: (340, 0), ACCURACY: (50, now - 5000)}


async def test_the_same_runs_give_the_same_bytes_in_any_order(ingest_dsn: str) -> None:
    chance = random.Random(5)
    runs = []
    for _ in range(60):
        rps, requests = chance.uniform(0.1, 90), chance.randrange(1, 2000)
        figures = {"rps_sustained": rps, "throughput_tokens_sec": rps * chance.uniform(50, 300)}
        figures["accuracy_score"] = chance.random()
        runs.append((figures, requests))
    shapes = [config(concurrency=n + 1) for n in range(4)]
    async with serving(ingest_dsn, roll_up_seconds=3600) as ingest:
        moment = now_ms()
        for index in range(len(shapes)):
            rows = [
                row(moment, config_index=index, figures=figures, request_count=requests)
                for figures, requests in chance.sample(runs, len(runs))
            ]
            await append(ingest.stub, header(*shapes), batch(0, rows))
        direct = await read_summaries(ingest.stub)
        await roll_up_all(ingest_dsn)
        assert await read_summaries(ingest.stub) == direct
        told = {
            b"".join(p.SerializeToString(deterministic=True) for p in one.pooled_metrics)
            for one in direct
        }
        assert len(told) == 1
        assert len(direct[0].pooled_metrics) == 3


async def test_what_code_from_before_pooling_wrote_is_read_from_the_runs_and_made_anew(
    ingest_dsn: str,
) -> None:
    async with serving(ingest_dsn, roll_up_seconds=3600) as ingest:
        await append(ingest.stub, header(), batch(0, [rate_run(100, 10.0, 500.0)]))
        await roll_up_all(ingest_dsn)
        whole = await read_summaries(ingest.stub)
        assert len(whole[0].pooled_metrics) == 2
        # The version before writes figures and `updated_at`, and leaves what it does not know.
        servers.execute(
            ingest_dsn,
            "UPDATE ingest.config_summaries SET updated_at = updated_at + interval '1 second', "
            "pooled = array_fill(1::float8, ARRAY[12])",
        )
        assert await read_summaries(ingest.stub) == whole
        stale = "SELECT count(*) FROM ingest.config_summaries WHERE updated_at <> pooled_at"
        assert ingest.value(stale) == 2
        await roll_up_all(ingest_dsn)
        assert ingest.value(stale) == 0
        assert await read_summaries(ingest.stub) == whole
