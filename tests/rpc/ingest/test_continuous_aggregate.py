"""A continuous aggregate of the same figures misses late rows, and loses days that were dropped.

That is why daily statistics are a roll-up of the service's own on every storage profile. A test of
what the aggregate lacks that fails here says that TimescaleDB has changed: choose anew then.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from statistics import fmean
from typing import Any, Final

import asyncpg
import numpy as np
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from servemark.client.sketch import sketch_of
from servemark.ingest.v1.benchmark_result_pb2 import ResultRow
from servemark.ingest.v1.result_query_pb2 import ListDailyModelStatsRequest
from services.ingest.sketches import merge, quantiles
from tests.rpc.ingest.archiving import OLD_DAY, archiving, gone
from tests.rpc.ingest.builders import MODEL, OTHER_MODEL, batch, config, header, row
from tests.rpc.ingest.rolling import roll_up_all, today
from tests.rpc.ingest.serving import Served, append, serving
from tests.support import servers
from tests.support.timescale import licence, require_timescale

require_timescale()
pytestmark = [
    pytest.mark.timescale,
    pytest.mark.parametrize("storage_server", ["timescaledb"], indirect=True, scope="session"),
]

# Named as in DailyModelStats. It shows days that were never refreshed as they are, as the best of
# aggregates does.
AGGREGATE: Final = """
    CREATE MATERIALIZED VIEW ingest.daily_aggregate
    WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
    SELECT model_id, time_bucket('1 day', benchmarked_at) AS starts_at,
        avg(accuracy_score) AS avg_accuracy,
        avg(throughput_tokens_sec) AS avg_throughput,
        coalesce(
            CASE WHEN coalesce(bool_and(ttft_sketch IS NOT NULL) FILTER (
                WHERE coalesce(ttft_p50_ms, ttft_p90_ms, ttft_p95_ms, ttft_p99_ms) IS NOT NULL
            ), true) THEN
                ingest.sketch_quantile(ingest.merge_sketches(ttft_sketch), 0.95)
            END,
            percentile_cont(0.95) WITHIN GROUP (ORDER BY ttft_p50_ms)
        ) AS p95_latency_ms,
        count(*) AS total_benchmarks,
        count(accuracy_score) AS accuracy_run_count,
        count(throughput_tokens_sec) AS throughput_run_count,
        coalesce(sum(request_count), 0)::bigint AS request_count
    FROM ingest.benchmark_results GROUP BY model_id, starts_at WITH NO DATA
"""
FIGURES: Final = (
    "avg_accuracy",
    "avg_throughput",
    "p95_latency_ms",
    "total_benchmarks",
    "accuracy_run_count",
    "throughput_run_count",
    "request_count",
)
CONFIGS: Final = (MODEL, OTHER_MODEL)

FIRST: Final = timedelta()
NOON: Final = timedelta(hours=12)
LAST: Final = timedelta(days=1, microseconds=-1)

# By model, day and name; one that is absent has no key.
Figures = dict[tuple[str, str, str], float]


def told(model: str, day: str, values: Mapping[str, float | None]) -> Figures:
    """The figures of one day of a model."""
    return {(model, day, name): value for name, value in values.items() if value is not None}


def agree(figures: Mapping[Any, float]) -> Any:
    """What equals the same figures but for rounding."""
    return pytest.approx(figures, rel=1e-9, abs=1e-9)


@pytest.fixture
def aggregated_dsn(ingest_dsn: str) -> str:
    """The DSN of a database without results, with the aggregate."""
    if licence(ingest_dsn) != "timescale":
        pytest.skip("the server's Apache licence has no continuous aggregates")
    servers.execute(ingest_dsn, AGGREGATE)
    return ingest_dsn


@pytest.fixture
async def aggregated(aggregated_dsn: str) -> AsyncIterator[Served]:
    """The service on it, which rolls up when a test does."""
    async with serving(aggregated_dsn, roll_up_seconds=3600) as served:
        yield served


def run(day: date, moment: timedelta = NOON, **fields: Any) -> ResultRow:
    """A row that ended at this time of the UTC day."""
    ended = Timestamp()
    ended.FromDatetime(datetime.combine(day, time(), UTC) + moment)
    return row(ended.ToMilliseconds(), benchmark_time=ended, **fields)


def any_run(generator: random.Random, day: date, *, has_sketch: bool) -> ResultRow:
    """A row of one of two models with some figures; every other one lies at a border of the day."""
    anywhere = timedelta(microseconds=generator.randrange(timedelta(days=1) // LAST.resolution))
    samples = [generator.lognormvariate(4, 1) for _ in range(30)]
    figures = {
        "ttft_p50_ms": float(np.median(samples)),
        "accuracy_score": generator.random(),
        "throughput_tokens_sec": generator.uniform(1, 9000),
    }
    for name in generator.sample(sorted(figures), generator.randrange(3)):
        del figures[name]
    return run(
        day,
        generator.choice((FIRST, LAST, anywhere, anywhere)),
        config_index=generator.randrange(len(CONFIGS)),
        figures=figures or {"rps_sustained": 1.0},
        request_count=generator.randrange(1000),
        ttft_sketch=sketch_of(samples) if has_sketch else None,
    )


def p95(runs: Sequence[ResultRow]) -> float | None:
    """95th percentile of TTFT: over requests where every run that has it has a sketch."""
    timed = [one for one in runs if one.metrics.HasField("ttft_p50_ms")]
    sketches = [one.ttft_sketch for one in runs if one.HasField("ttft_sketch")]
    if sketches and all(one.HasField("ttft_sketch") for one in timed):
        merged = merge([[one.first_bucket, one.zero_count, *one.counts] for one in sketches])
        return float(quantiles(merged, [0.95])[0])
    return float(np.percentile([one.metrics.ttft_p50_ms for one in timed], 95)) if timed else None


def direct(ingest: Served, rows: Iterable[ResultRow]) -> Figures:
    """What was sent says."""
    ids = [str(ingest.value("SELECT id FROM catalog.models WHERE name = $1", m)) for m in CONFIGS]
    days: dict[tuple[str, str], list[ResultRow]] = {}
    for one in rows:
        day = one.benchmark_time.ToDatetime().date().isoformat()
        days.setdefault((ids[one.config_index], day), []).append(one)
    found: Figures = {}
    for (model, day), runs in days.items():
        accuracies, throughputs = (
            [getattr(one.metrics, name) for one in runs if one.metrics.HasField(name)]
            for name in ("accuracy_score", "throughput_tokens_sec")
        )
        values = (
            fmean(accuracies) if accuracies else None,
            fmean(throughputs) if throughputs else None,
            p95(runs),
            len(runs),
            len(accuracies),
            len(throughputs),
            sum(one.request_count for one in runs),
        )
        found |= told(model, day, dict(zip(FIGURES, values, strict=True)))
    return found


async def read(ingest: Served) -> Figures:
    """What the service says."""
    request = ListDailyModelStatsRequest(page_size=1000)
    found: Figures = {}
    for stats in (await ingest.stub.ListDailyModelStats(request)).daily_model_stats:
        optional = ("avg_accuracy", "avg_throughput", "p95_latency_ms")
        names = [name for name in FIGURES if name not in optional or stats.HasField(name)]
        values = {name: getattr(stats, name) for name in names}
        found |= told(stats.model_id, stats.stats_date, values)
    return found


async def aggregate(dsn: str) -> Figures:
    """What the aggregate says."""
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch(
            "SELECT model_id::text, (starts_at AT TIME ZONE 'UTC')::date::text AS day, "
            f"{', '.join(FIGURES)} FROM ingest.daily_aggregate"
        )
    finally:
        await connection.close()
    found: Figures = {}
    for one in rows:
        found |= told(one["model_id"], one["day"], {name: one[name] for name in FIGURES})
    return found


async def refresh(dsn: str, end: date) -> None:
    """Refreshes the days before `end`, as a policy does that leaves the current one open."""
    statement = f"CALL refresh_continuous_aggregate('ingest.daily_aggregate', NULL, '{end} 00:00Z')"
    await asyncio.to_thread(servers.execute, dsn, statement)


async def test_both_say_what_a_direct_calculation_says_while_they_are_current(
    aggregated: Served,
) -> None:
    generator = random.Random(12)
    now = today()
    # How many runs of a day have a sketch decides what its percentile is of.
    days = {now - timedelta(days=age): share for age, share in ((0, 1), (1, 1), (2, 0.5), (5, 0))}
    message = header(*map(config, CONFIGS))
    sent: list[ResultRow] = []
    for sequence in range(8):
        more = [
            any_run(generator, day, has_sketch=generator.random() < share)
            for day, share in generator.choices(list(days.items()), k=generator.randrange(1, 40))
        ]
        sent += more
        await append(aggregated.stub, message, batch(sequence, more))
        if sequence % 3 == 2:
            await roll_up_all(aggregated.dsn)
        await refresh(aggregated.dsn, now)
        expected = direct(aggregated, sent)
        assert await read(aggregated) == agree(expected)
        assert await aggregate(aggregated.dsn) == agree(expected)
    assert {day for _, day, _ in expected} == {day.isoformat() for day in days}


async def test_both_part_days_at_the_same_microsecond(aggregated: Served) -> None:
    now = today()
    days = [now - timedelta(days=age) for age in (2, 1)]
    content = [
        run(days[0], LAST, figures={"accuracy_score": 0.1}),
        run(days[1], FIRST, figures={"accuracy_score": 0.2}),
        run(days[1], LAST, figures={"accuracy_score": 0.4}),
    ]
    await append(aggregated.stub, header(), batch(0, content))
    # The service keeps milliseconds, the table microseconds.
    ended = "(benchmarked_at AT TIME ZONE 'UTC')::time"
    servers.execute(
        aggregated.dsn,
        "UPDATE ingest.benchmark_results SET benchmarked_at = benchmarked_at + interval '0.999 ms' "
        f"WHERE {ended} = '23:59:59.999'",
    )
    times = aggregated.value(
        f"SELECT array_agg({ended}::text ORDER BY benchmarked_at) FROM ingest.benchmark_results"
    )
    assert times == ["23:59:59.999999", "00:00:00", "23:59:59.999999"]
    await roll_up_all(aggregated.dsn)
    await refresh(aggregated.dsn, now)
    for found in (await read(aggregated), await aggregate(aggregated.dsn)):
        assert found == agree(direct(aggregated, content))
        accuracy = {day: value for (_, day, name), value in found.items() if name == "avg_accuracy"}
        assert accuracy == agree({str(days[0]): 0.1, str(days[1]): 0.3})


async def test_a_late_row_is_in_the_roll_up_at_once_and_in_the_aggregate_after_a_refresh(
    aggregated: Served,
) -> None:
    now = today()
    past = now - timedelta(days=5)
    message = header()
    early = [run(past, figures={"throughput_tokens_sec": 100.0 * n}) for n in (1, 2)]
    await append(aggregated.stub, message, batch(0, early))
    await roll_up_all(aggregated.dsn)
    await refresh(aggregated.dsn, now)
    # Of a day that was not refreshed both know at once.
    fresh = [*early, run(now)]
    await append(aggregated.stub, message, batch(1, fresh[-1:]))
    known = direct(aggregated, fresh)
    assert await read(aggregated) == agree(known)
    assert await aggregate(aggregated.dsn) == agree(known)
    late = [*fresh, run(past, figures={"throughput_tokens_sec": 900.0})]
    await append(aggregated.stub, message, batch(2, late[-1:]))
    expected = direct(aggregated, late)
    assert expected != agree(known)
    for _ in range(2):
        assert await read(aggregated) == agree(expected)
        assert await aggregate(aggregated.dsn) == agree(known)
        await roll_up_all(aggregated.dsn)
    await refresh(aggregated.dsn, now)
    assert await aggregate(aggregated.dsn) == agree(expected)


async def test_a_day_that_retention_dropped_stays_in_the_roll_up_and_a_refresh_loses_it(
    aggregated_dsn: str, tmp_path: Path
) -> None:
    now = today()
    kept = [run(now - timedelta(days=2), moment) for moment in (FIRST, LAST)]
    old = [run(OLD_DAY, moment, request_count=7) for moment in (FIRST, NOON, LAST)]
    async with serving(aggregated_dsn) as ingest:
        await append(ingest.stub, header(), batch(0, [*kept, *old]))
        expected, left = direct(ingest, [*kept, *old]), direct(ingest, kept)
    await refresh(aggregated_dsn, now)
    async with archiving(aggregated_dsn, tmp_path.as_uri()) as archive:
        assert await archive.maintain() == gone(OLD_DAY, len(old))
        assert archive.served.stored() == len(kept)
        await roll_up_all(aggregated_dsn)
        assert await read(archive.served) == agree(expected)
        assert await aggregate(aggregated_dsn) == agree(expected)
        await refresh(aggregated_dsn, now)
        assert await read(archive.served) == agree(expected)
        assert await aggregate(aggregated_dsn) == agree(left)
    # What comes later, by a process that keeps results longer, is not taken for the whole day.
    async with serving(aggregated_dsn, roll_up_seconds=3600) as ingest:
        late = run(OLD_DAY)
        await append(ingest.stub, header(), batch(0, [late]))
        for _ in range(2):
            assert await read(ingest) == agree(expected)
            await roll_up_all(aggregated_dsn)
        await refresh(aggregated_dsn, now)
        assert await aggregate(aggregated_dsn) == agree(direct(ingest, [*kept, late]))
