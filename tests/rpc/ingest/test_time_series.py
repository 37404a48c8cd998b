"""Metrics over time, bucket by bucket: what the runs say, with gaps where there are none."""

import asyncio
import random
from statistics import fmean, median
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from servemark.client.sketch import sketch_of
from servemark.ingest.v1.benchmark_result_pb2 import ResultRow
from servemark.ingest.v1.result_query_pb2 import ListConfigSummariesRequest, ResultFilter
from servemark.ingest.v1.time_series_pb2 import (
    QueryTimeSeriesRequest,
    QueryTimeSeriesResponse,
    SeriesKey,
    TimeSeriesPoint,
)
from servemark.type.v1.metric_pb2 import Metric, MetricLimit
from servemark.type.v1.range_pb2 import TimeRange
from tests.rpc.ingest.builders import (
    OTHER_HARDWARE,
    OTHER_MODEL,
    batch,
    config,
    header,
    row,
)
from tests.rpc.ingest.rolling import DAY, midnight
from tests.rpc.ingest.serving import Served, append, serving
from tests.support.failures import failure

pytestmark = pytest.mark.every_profile

MINUTE, HOUR = 60_000, 3_600_000
CONFIGS = [
    config(),
    config(concurrency=2),
    config(model=OTHER_MODEL),
    config(model=OTHER_MODEL, hardware=OTHER_HARDWARE),
]
KEYS = {
    SeriesKey.SERIES_KEY_CONFIG: "id",
    SeriesKey.SERIES_KEY_MODEL: "model_id",
    SeriesKey.SERIES_KEY_HARDWARE: "hardware_config_id",
    SeriesKey.SERIES_KEY_FRAMEWORK: "framework_id",
}


def stamp(milliseconds: int) -> Timestamp:
    """An instant."""
    moment = Timestamp()
    moment.FromMilliseconds(milliseconds)
    return moment


def asked(start: int, end: int, bucket: int, key: Any, **fields: Any) -> QueryTimeSeriesRequest:
    """A request; times and the bucket in milliseconds."""
    wanted = fields.pop("filter", ResultFilter())
    wanted.benchmark_time.CopyFrom(TimeRange(start_time=stamp(start), end_time=stamp(end)))
    return QueryTimeSeriesRequest(
        filter=wanted, bucket=Duration(seconds=bucket // 1000), series_key=key, **fields
    )


async def answers(ingest: Served, request: QueryTimeSeriesRequest) -> list[QueryTimeSeriesResponse]:
    """Every message of one page."""
    return [message async for message in ingest.stub.QueryTimeSeries(request)]


async def read(ingest: Served, request: QueryTimeSeriesRequest) -> dict[str, list[TimeSeriesPoint]]:
    """All series with all their points, read page by page."""
    series: dict[str, list[TimeSeriesPoint]] = {}
    while True:
        messages = await answers(ingest, request)
        for message in messages:
            series.setdefault(message.series_id, []).extend(message.points)
        request.page_token = messages[-1].next_page_token if messages else ""
        if not request.page_token:
            return series


def some_rows(generator: random.Random, start: int, end: int, count: int) -> list[ResultRow]:
    """Rows of any of the configurations, at any time of the range and a little beyond it."""
    found = []
    for _ in range(count):
        ttft = generator.uniform(1, 900)
        figures = {"ttft_p50_ms": ttft, "throughput_tokens_sec": 1e5 / ttft}
        if generator.random() < 0.3:
            del figures["ttft_p50_ms"]
        moment = generator.randrange(start - HOUR, end + HOUR)
        index = generator.randrange(len(CONFIGS))
        found.append(row(moment, config_index=index, figures=figures))
    return found


@pytest.mark.parametrize("key", KEYS)
async def test_points_say_what_the_runs_of_their_bucket_say(ingest: Served, key: Any) -> None:
    generator = random.Random(3)
    # Neither end lies on a bucket's border.
    start, end, bucket = midnight(3) + 7 * MINUTE, midnight(1) + 5 * HOUR + 1, 2 * HOUR
    sent = some_rows(generator, start, end, 90)
    # For a while nothing ran.
    sent = [
        one
        for one in sent
        if not midnight(2) <= one.benchmark_time.ToMilliseconds() < midnight(2) + 3 * bucket
    ]
    opened, _ = await append(ingest.stub, header(*CONFIGS), batch(0, sent))
    known = await ingest.stub.ListConfigSummaries(ListConfigSummariesRequest())
    configs = {summary.config.id: summary.config for summary in known.config_summaries}
    ids = [getattr(configs[outcome.config_id], KEYS[key]) for outcome in opened.configs]
    metrics = [Metric.METRIC_THROUGHPUT_TOKENS_SEC, Metric.METRIC_TTFT_P50_MS]
    series = await read(ingest, asked(start, end, bucket, key, metrics=metrics, page_size=1))
    assert list(series) == sorted(set(ids))
    first = start // bucket * bucket
    for name, points in series.items():
        # Every bucket has its point.
        starts = [point.start_time.ToMilliseconds() for point in points]
        assert starts == list(range(first, end, bucket))
        for moment, point in zip(starts, points, strict=True):
            runs = [
                one
                for one in sent
                if ids[one.config_index] == name
                and max(start, moment) <= one.benchmark_time.ToMilliseconds()
                and one.benchmark_time.ToMilliseconds() < min(end, moment + bucket)
            ]
            check(point, runs)
        assert sum(not point.run_count for point in points) >= 2


def check(point: TimeSeriesPoint, runs: list[ResultRow]) -> None:
    """Compares a point with its runs."""
    assert point.run_count == len(runs)
    expected = {}
    for name in ("ttft_p50_ms", "throughput_tokens_sec"):
        values = [getattr(one.metrics, name) for one in runs if one.metrics.HasField(name)]
        if values:
            expected[Metric.Value(f"METRIC_{name.upper()}")] = (
                median(values),
                fmean(values),
                min(values),
                max(values),
                len(values),
            )
    found: dict[Any, Any] = {
        m.metric: (m.median, m.mean, m.min, m.max, m.run_count) for m in point.metrics
    }
    assert found == {metric: pytest.approx(values) for metric, values in expected.items()}


async def test_a_bucket_holds_its_first_instant_and_not_the_next_ones(ingest: Served) -> None:
    border = midnight(1) + HOUR
    content = [row(border - 1), row(border), row(border + HOUR - 1), row(border + HOUR)]
    await append(ingest.stub, header(), batch(0, content))
    request = asked(border - HOUR, border + 2 * HOUR, HOUR, SeriesKey.SERIES_KEY_CONFIG)
    (points,) = (await read(ingest, request)).values()
    assert [point.run_count for point in points] == [1, 2, 1]


async def test_days_begin_with_the_utc_day_and_longer_buckets_with_1970(ingest: Served) -> None:
    await append(ingest.stub, header(), batch(0, [row(midnight(3) + 5)]))
    start, end = midnight(3) + HOUR, midnight(1)
    for bucket in (DAY, 7 * DAY, 31 * DAY):
        request = asked(start - HOUR, end, bucket, SeriesKey.SERIES_KEY_MODEL)
        (points,) = (await read(ingest, request)).values()
        begins = points[0].start_time.ToMilliseconds()
        assert begins % bucket == 0
        assert begins <= start - HOUR < begins + bucket
        assert points[0].run_count == 1


async def test_latencies_are_pooled_where_every_run_has_a_sketch(ingest: Served) -> None:
    generator = np.random.default_rng(12)
    start = midnight(1)
    samples = [generator.lognormal(3, 1, size) for size in (10, 400)]

    def run(moment: int, values: Any, **fields: Any) -> ResultRow:
        p50, p90 = (float(np.percentile(values, q)) for q in (50, 90))
        figures = {"ttft_p50_ms": p50, "ttft_p90_ms": p90, "tpot_p50_ms": 1.0}
        return row(moment, figures=figures, **fields)

    whole = [
        run(start + n, values, ttft_sketch=sketch_of(values)) for n, values in enumerate(samples)
    ]
    # A run that measured no TTFT has none to pool.
    whole.append(row(start + 9, figures={"throughput_tokens_sec": 1.0}))
    parted = [run(start + HOUR, samples[0], ttft_sketch=sketch_of(samples[0]))]
    parted.append(run(start + HOUR + 1, samples[1]))
    await append(ingest.stub, header(), batch(0, [*whole, *parted]))
    request = asked(start, start + 2 * HOUR, HOUR, SeriesKey.SERIES_KEY_CONFIG)
    (points,) = (await read(ingest, request)).values()
    pooled = np.concatenate(samples)
    exact = np.percentile(pooled, [50, 90, 95, 99], method="inverted_cdf")
    found = points[0].ttft
    assert [found.p50_ms, found.p90_ms, found.p95_ms, found.p99_ms] == pytest.approx(
        exact.tolist(), rel=0.01
    )
    assert found.sample_count == len(pooled)
    assert not points[0].HasField("tpot")
    assert not points[1].HasField("ttft")
    # Who asks for no TTFT gets none.
    metrics = [Metric.METRIC_THROUGHPUT_TOKENS_SEC]
    request = asked(start, start + HOUR, HOUR, SeriesKey.SERIES_KEY_CONFIG, metrics=metrics)
    (points,) = (await read(ingest, request)).values()
    assert not points[0].HasField("ttft")


async def test_filters_keep_runs_and_series_without_any_are_left_out(ingest: Served) -> None:
    start = midnight(1)
    fast = row(start, figures={"ttft_p50_ms": 10.0})
    slow = row(start + 1, figures={"ttft_p50_ms": 500.0}, config_index=1)
    await append(ingest.stub, header(*CONFIGS[:2]), batch(0, [fast, slow]))
    limit = MetricLimit(metric=Metric.METRIC_TTFT_P50_MS, limit=100)
    key = SeriesKey.SERIES_KEY_CONFIG
    wanted = ResultFilter(limits=[limit])
    (points,) = (await read(ingest, asked(start, start + DAY, HOUR, key, filter=wanted))).values()
    assert points[0].metrics[0].max == 10.0
    nothing = asked(start - DAY, start, HOUR, key)
    assert await answers(ingest, nothing) == []


async def test_a_long_series_comes_in_parts_and_says_what_it_is_once(ingest: Served) -> None:
    start, end = midnight(4), midnight(1)
    await append(ingest.stub, header(CONFIGS[1]), batch(0, [row(end - 1), row(start)]))
    key = SeriesKey.SERIES_KEY_CONFIG
    messages = await answers(ingest, asked(start, end, MINUTE, key))
    count = (end - start) // MINUTE
    assert sum(len(message.points) for message in messages) == count
    assert len(messages) == -(-count // 500)
    assert len({message.series_id for message in messages}) == 1
    assert [message.HasField("config") for message in messages] == [True] + [False] * 8
    assert messages[0].config.workload.concurrency == 2
    assert messages[0].points[0].run_count == messages[-1].points[-1].run_count == 1


async def test_a_reader_that_stops_holds_no_connection(ingest_dsn: str) -> None:
    start = midnight(4)
    async with serving(ingest_dsn, database_pool_size=1) as ingest:
        content = [row(start, config_index=index) for index in range(len(CONFIGS))]
        await append(ingest.stub, header(*CONFIGS), batch(0, content))
        key = SeriesKey.SERIES_KEY_CONFIG
        call = ingest.stub.QueryTimeSeries(asked(start, start + 3 * DAY, MINUTE, key))
        first = await call.read()
        async with asyncio.timeout(5):
            await ingest.stub.ListConfigSummaries(ListConfigSummariesRequest())
        messages = 1
        while await call.read() is not grpc.aio.EOF:
            messages += 1
        assert first.points
        assert messages == len(CONFIGS) * 9


async def test_a_range_has_at_most_five_thousand_buckets(ingest: Served) -> None:
    start = midnight(4)
    key = SeriesKey.SERIES_KEY_MODEL
    assert await answers(ingest, asked(start, start + 5_000 * MINUTE, MINUTE, key)) == []
    for refused_range in ((start, start + 5_000 * MINUTE + 1), (start + 1, start + 5_001 * MINUTE)):
        refused = await failure(answers(ingest, asked(*refused_range, MINUTE, key)))
        assert (refused.code.name, refused.reason) == ("INVALID_ARGUMENT", "INVALID_FIELD")
        assert "at most 5,000" in refused.fields["bucket"]


async def test_every_wrong_field_is_named_at_once(ingest: Served) -> None:
    refused = await failure(
        answers(
            ingest,
            QueryTimeSeriesRequest(page_size=1001, metrics=[Metric.METRIC_USD_PER_HOUR]),
        )
    )
    assert set(refused.fields) == {
        "page_size",
        "metrics[0]",
        "bucket",
        "series_key",
        "filter.benchmark_time.start_time",
        "filter.benchmark_time.end_time",
    }
    key = SeriesKey.SERIES_KEY_MODEL
    start = midnight(1)
    for request, field in (
        (asked(start, start, HOUR, key), "filter.benchmark_time.end_time"),
        (asked(-1, start, 31 * DAY, key), "filter.benchmark_time.start_time"),
        (asked(start, start + DAY, MINUTE - 1000, key), "bucket"),
        (asked(start, start + DAY, 32 * DAY, key), "bucket"),
        (asked(start, start + DAY, HOUR, 9), "series_key"),
    ):
        refused = await failure(answers(ingest, request))
        assert set(refused.fields) == {field}
    fraction = asked(start, start + DAY, HOUR, key)
    fraction.bucket.nanos = 1
    assert set((await failure(answers(ingest, fraction))).fields) == {"bucket"}


async def test_a_page_token_belongs_to_its_request(ingest: Served) -> None:
    start = midnight(1)
    content = [row(start, config_index=index) for index in range(3)]
    await append(ingest.stub, header(*CONFIGS), batch(0, content))
    key = SeriesKey.SERIES_KEY_CONFIG
    messages = await answers(ingest, asked(start, start + DAY, HOUR, key, page_size=2))
    assert [bool(message.next_page_token) for message in messages] == [False, True]
    token = messages[-1].next_page_token
    other = asked(start, start + DAY, 2 * HOUR, key, page_size=2, page_token=token)
    refused = await failure(answers(ingest, other))
    assert refused.reason == "PAGE_TOKEN_INVALID"
