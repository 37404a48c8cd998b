"""What `servemark stats` asks for and shows."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from servemark.catalog.v1.model_pb2 import BatchGetModelsResponse, Model
from servemark.ingest.v1 import result_query_pb2 as query
from servemark.ingest.v1.time_series_pb2 import (
    PooledLatency,
    QueryTimeSeriesRequest,
    QueryTimeSeriesResponse,
    SeriesKey,
    TimeSeriesPoint,
)
from servemark.type.v1 import metric_pb2 as metrics
from tests.support.answering_server import answering_server
from tests.support.command import Run
from tests.unit.cli.test_queries import catalog, stored

DAY = 86_400
NOON = 1_757_851_200


def day(date: str, **fields: Any) -> query.DailyModelStats:
    """A day of the model."""
    return query.DailyModelStats(model_id="m1", stats_date=date, total_benchmarks=1234, **fields)


def listed() -> query.ListDailyModelStatsResponse:
    """Two days: one with everything, one with next to nothing."""
    full = day(
        "2025-09-14",
        avg_throughput=4321.0,
        avg_accuracy=0.8125,
        p95_latency_ms=512.3,
        p95_latency_source=query.LATENCY_SOURCE_SKETCHES,
        request_count=50_000,
        failed_request_count=7,
    )
    return query.ListDailyModelStatsResponse(daily_model_stats=[full, day("2025-09-13")])


def names() -> dict[str, Any]:
    """The catalog, with the model of the days and the series."""
    models = BatchGetModelsResponse(models=[Model(id="m1", name="org/big")])
    return catalog(BatchGetModels=models)


def test_days_are_shown_with_what_their_percentile_is_of(run: Run) -> None:
    with answering_server(**names(), ListDailyModelStats=listed()) as server:
        options = "--model org/big --since 2025-09-01 --until 2025-09-15"
        done = run("stats", *options.split(), "--target", server.target)
        asked = server.request("ListDailyModelStats", query.ListDailyModelStatsRequest)
    assert done.code == 0
    assert list(asked.model_ids) == ["m1"]
    assert (asked.start_date, asked.end_date) == ("2025-09-01", "2025-09-15")
    lines = [" ".join(line.split()) for line in done.out.splitlines()]
    assert "2025-09-14 org/big 1,234 4,321 0.812 512 requests 50,000 7" in lines
    assert "2025-09-13 org/big 1,234 – – – 0 0" in lines


def test_the_last_two_weeks_are_meant_where_no_time_is_given(run: Run) -> None:
    with answering_server(ListDailyModelStats=query.ListDailyModelStatsResponse()) as server:
        done = run("stats", "--target", server.target)
        asked = server.request("ListDailyModelStats", query.ListDailyModelStatsRequest)
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    assert asked.end_date == tomorrow.isoformat()
    assert asked.start_date == (tomorrow - timedelta(days=14)).isoformat()
    assert done.out == "No results on these days.\n"


def test_days_are_printed_for_machines(run: Run) -> None:
    with answering_server(ListDailyModelStats=listed()) as server:
        done = run("stats", "--json", "--target", server.target)
    first, second = json.loads(done.out)["daily_model_stats"]
    assert first["p95_latency_source"] == "LATENCY_SOURCE_SKETCHES"
    assert "p95_latency_ms" not in second


def point(place: int, runs: int = 0, **fields: Any) -> TimeSeriesPoint:
    """A bucket of an hour."""
    return TimeSeriesPoint(
        start_time=Timestamp(seconds=NOON + 3600 * place), run_count=runs, **fields
    )


def summary(median: float, low: float, high: float) -> query.MetricSummary:
    """A metric of a bucket."""
    return query.MetricSummary(
        metric=metrics.METRIC_TTFT_P90_MS, median=median, min=low, max=high, run_count=2
    )


def series(**last: Any) -> tuple[QueryTimeSeriesResponse, ...]:
    """One series in two messages, with a gap of three buckets."""
    pooled = PooledLatency(p95_ms=777.0)
    first = [point(0, 2, metrics=[summary(120.0, 80.0, 160.0)], ttft=pooled), point(1), point(2)]
    rest = [point(3), point(4, 1, metrics=[summary(95.0, 95.0, 95.0)])]
    return (
        QueryTimeSeriesResponse(series_id="c1", config=stored("r1").config, points=first),
        QueryTimeSeriesResponse(series_id="c1", points=rest, **last),
    )


def test_a_series_shows_its_gaps(run: Run) -> None:
    with answering_server(**names(), QueryTimeSeries=series()) as server:
        options = "--series config --bucket 1h --metric ttft-p90 --model org/big --gpu h100"
        options += " --since 2025-09-14 --until 2025-09-15T12:00 --workload Random --top 3"
        done = run("stats", *options.split(), "--target", server.target)
        asked = server.request("QueryTimeSeries", QueryTimeSeriesRequest)
    assert done.code == 0
    assert asked.series_key == SeriesKey.SERIES_KEY_CONFIG
    assert asked.bucket.seconds == 3600
    assert asked.page_size == 3
    assert list(asked.metrics) == [metrics.METRIC_TTFT_P90_MS]
    assert list(asked.filter.model_ids) == ["m1"]
    assert list(asked.filter.workload_types) == ["random"]
    end = asked.filter.benchmark_time.end_time.ToJsonString()
    assert end == "2025-09-15T12:00:00Z"
    lines = [line.strip() for line in done.out.splitlines()]
    assert lines[0] == "org/big fp8 · 8 x H100-80GB · gone · random, 32 in flight"
    at = [line for line in lines if line.startswith("2025")]
    assert [line.split()[1:] for line in at] == [
        ["12:00", "2", "120", "777"],
        ["13:00", "–"],
        ["16:00", "1", "95.0", "–"],
    ]
    assert "3 without runs" in lines
    assert "80.0–160" in lines


def test_a_series_is_one_thing_for_machines(run: Run) -> None:
    answer = series(next_page_token="more")
    with answering_server(**names(), QueryTimeSeries=answer) as server:
        done = run("stats", "--series", "config", "--json", "--target", server.target)
        shown = run("stats", "--series", "config", "--target", server.target)
    document = json.loads(done.out)
    (found,) = document["series"]
    assert [p["run_count"] for p in found["points"]] == ["2", "0", "0", "0", "1"]
    assert found["config"]["workload"]["concurrency"] == 32
    assert document["next_page_token"] == "more"
    assert "The first 1 series; --top shows more." in shown.out


@pytest.mark.parametrize(
    ("key", "identifier", "title"),
    [
        ("model", "m1", "org/big"),
        ("hardware", "h1", "8 x H100-80GB"),
        ("framework", "f1", "vllm 0.11.0"),
        ("framework", "gone", "gone"),
    ],
)
def test_a_series_is_called_by_its_name(run: Run, key: str, identifier: str, title: str) -> None:
    answer = (QueryTimeSeriesResponse(series_id=identifier, points=[point(0, 1)]),)
    with answering_server(**names(), QueryTimeSeries=answer) as server:
        done = run("stats", "--series", key, "--target", server.target)
    assert done.out.splitlines()[0] == title


def test_nothing_is_said_as_such(run: Run) -> None:
    with answering_server(QueryTimeSeries=()) as server:
        done = run("stats", "--series", "model", "--target", server.target)
    assert (done.code, done.out) == (0, "No results in this time.\n")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--series", "vendor"], "--series takes config, model, hardware or framework"),
        (["--series", "model", "--bucket", "soon"], "--bucket takes a span"),
        (["--gpu", "h100"], "with --series, filters can be used"),
        (["--since", "yesterday"], "--since takes a day"),
    ],
)
def test_what_makes_no_sense_is_said(run: Run, options: list[str], told: str) -> None:
    done = run("stats", *options)
    assert (done.code, told in done.err) == (1, True)


def test_a_refused_stream_ends_in_a_sentence(run: Run) -> None:
    with answering_server() as server:
        done = run("stats", "--series", "model", "--target", server.target)
    assert done.code == 1
    assert done.err.startswith("servemark: ")
    assert "Traceback" not in done.err
