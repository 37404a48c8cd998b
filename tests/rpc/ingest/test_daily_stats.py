"""Daily statistics follow the results, and say what a direct calculation says."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from statistics import fmean
from typing import Any

import asyncpg
import numpy as np
import pytest

from servemark.client.sketch import sketch_of
from servemark.ingest.v1.benchmark_result_pb2 import ResultRow
from servemark.ingest.v1.result_query_pb2 import (
    DailyModelStats,
    LatencySource,
    ListDailyModelStatsRequest,
)
from servemark.runtime.database import Database
from services.ingest.store_daily import DailyStore
from tests.rpc.ingest.builders import OTHER_MODEL, batch, config, header, now_ms, row, rows
from tests.rpc.ingest.rolling import midnight, roll_up_all, service_database, today
from tests.rpc.ingest.serving import Served, append, serving, serving_ingest
from tests.support.days import drop_day
from tests.support.failures import failure

pytestmark = pytest.mark.every_profile

DAY = 86_400_000


async def caught_up(ingest: Served) -> None:
    """Returns once no marked day is left."""
    deadline = time.monotonic() + 20
    while ingest.value("SELECT count(*) FROM ingest.dirty_days"):
        if time.monotonic() > deadline:
            raise AssertionError("marked days were not calculated")
        await asyncio.sleep(0.05)


async def daily(ingest: Served, **wanted: Any) -> list[DailyModelStats]:
    """The statistics that match."""
    answer = await ingest.stub.ListDailyModelStats(ListDailyModelStatsRequest(**wanted))
    return list(answer.daily_model_stats)


async def daily_pages(ingest: Served, size: int) -> AsyncIterator[DailyModelStats]:
    """All statistics, read in pages of that size."""
    request = ListDailyModelStatsRequest(page_size=size)
    while True:
        page = await ingest.stub.ListDailyModelStats(request)
        for stats in page.daily_model_stats:
            yield stats
        request.page_token = page.next_page_token
        if not request.page_token:
            return


def mean(runs: list[ResultRow], name: str) -> float:
    """The mean of a figure over the rows that have it."""
    return fmean(getattr(one.metrics, name) for one in runs if one.metrics.HasField(name))  # type: ignore[arg-type]


async def test_they_equal_a_direct_calculation(ingest: Served) -> None:
    noon = now_ms() // DAY * DAY - DAY // 2
    generator = np.random.default_rng(4)
    sent = {
        (model, day): [
            row(
                noon - day * DAY + index,
                config_index=model,
                figures={"ttft_p50_ms": float(ttft), "throughput_tokens_sec": float(tps)}
                if index % 3
                else {"accuracy_score": 0.5 + index / 100},
            )
            for index, (ttft, tps) in enumerate(generator.uniform(1, 900, (23, 2)))
        ]
        for model in (0, 1)
        for day in (0, 1, 4)
    }
    message = header(config(), config(model=OTHER_MODEL))
    batches = [batch(sequence, rows) for sequence, rows in enumerate(sent.values())]
    await append(ingest.stub, message, *batches)
    await caught_up(ingest)
    stats = await daily(ingest)
    assert [s.stats_date for s in stats] == sorted((s.stats_date for s in stats), reverse=True)
    assert len(stats) == len(sent)
    for (_, day), runs in sent.items():
        ttft = [r.metrics.ttft_p50_ms for r in runs if r.metrics.HasField("ttft_p50_ms")]
        expected: tuple[Any, ...] = (
            pytest.approx(mean(runs, "accuracy_score")),
            pytest.approx(mean(runs, "throughput_tokens_sec")),
            pytest.approx(float(np.percentile(ttft, 95))),
            len(runs),
        )
        date = time.strftime("%Y-%m-%d", time.gmtime((noon - day * DAY) / 1000))
        found = [
            (s.avg_accuracy, s.avg_throughput, s.p95_latency_ms, s.total_benchmarks)
            for s in stats
            if s.stats_date == date
        ]
        assert expected in found


async def test_they_have_every_acknowledged_result_whatever_is_rolled_up(ingest_dsn: str) -> None:
    generator = random.Random(8)
    message = header(config(), config(model=OTHER_MODEL))
    sent: list[ResultRow] = []
    async with serving(ingest_dsn, roll_up_seconds=3600) as ingest:
        for sequence in range(6):
            more = [
                row(
                    midnight(generator.choice((0, 1, 1, 4, 9))) + generator.randrange(60_000),
                    config_index=generator.randrange(2),
                    figures={"ttft_p50_ms": generator.uniform(1, 900), "accuracy_score": 0.5},
                    request_count=3,
                )
                for _ in range(generator.randrange(1, 40))
            ]
            sent += more
            await append(ingest.stub, message, batch(sequence, more))
            if sequence in (2, 4):
                await roll_up_all(ingest_dsn)
                assert not ingest.value("SELECT count(*) FROM ingest.dirty_days")
            expected: dict[tuple[int, str], list[float]] = {}
            for one in sent:
                key = one.config_index, one.benchmark_time.ToDatetime().date().isoformat()
                expected.setdefault(key, []).append(one.metrics.ttft_p50_ms)
            # Pages go through stale days and others alike.
            found = [stats async for stats in daily_pages(ingest, 3)]
            told = sorted(
                (s.stats_date, s.total_benchmarks, s.request_count, s.p95_latency_ms) for s in found
            )
            direct = sorted(
                (day, len(ttft), 3 * len(ttft), float(np.percentile(ttft, 95)))
                for (_, day), ttft in expected.items()
            )
            assert told == [(*counts, pytest.approx(p95)) for *counts, p95 in direct]
            assert len({(s.stats_date, s.model_id) for s in found}) == len(expected)


async def test_a_result_counts_for_the_utc_day_it_ended_on(ingest_dsn: str) -> None:
    async with serving(ingest_dsn, roll_up_seconds=3600) as ingest:
        last, first = midnight() - 1, midnight()
        content = [row(last, figures={"accuracy_score": 0.1})]
        content += [row(first, figures={"accuracy_score": 0.9}) for _ in range(2)]
        await append(ingest.stub, header(), batch(0, content))
        for _ in range(2):
            found = [(s.stats_date, s.total_benchmarks) for s in await daily(ingest)]
            yesterday = today() - timedelta(days=1)
            assert found == [(today().isoformat(), 2), (yesterday.isoformat(), 1)]
            await roll_up_all(ingest_dsn)


async def test_statistics_outlive_the_results_of_their_day(ingest_dsn: str) -> None:
    async with serving(ingest_dsn, roll_up_seconds=3600) as ingest:
        moment = midnight(20)
        message = header()
        await append(ingest.stub, message, batch(0, rows(5, moment)))
        await roll_up_all(ingest_dsn)
        before = await daily(ingest)
        day = today() - timedelta(days=20)
        await asyncio.to_thread(drop_day, ingest_dsn, day)
        # Neither nothing nor the little that comes later takes the place of what was counted.
        assert await daily(ingest) == before
        await roll_up_all(ingest_dsn)
        assert await daily(ingest) == before
        await append(ingest.stub, message, batch(1, rows(2, moment)))
        assert await daily(ingest) == before
        await roll_up_all(ingest_dsn)
        assert await daily(ingest) == before
        assert before[0].total_benchmarks == 5


async def test_a_percentile_is_over_requests_where_every_run_has_a_sketch(
    ingest_dsn: str,
) -> None:
    generator = np.random.default_rng(11)
    samples = [generator.lognormal(3, 1, size) for size in (20, 500, 3)]

    def run(moment: int, values: Any) -> ResultRow:
        p50, p90 = (float(np.percentile(values, q)) for q in (50, 90))
        figures = {"ttft_p50_ms": p50, "ttft_p90_ms": p90}
        return row(moment, figures=figures, ttft_sketch=sketch_of(values))

    pooled = [run(midnight(1), values) for values in samples]
    # A run without a TTFT figure is not asked for a sketch.
    pooled.append(row(midnight(1), figures={"rps_sustained": 1.0}))
    mixed = [run(midnight(2), values) for values in samples]
    mixed.append(row(midnight(2), figures={"ttft_p90_ms": 5.0}))
    async with serving(ingest_dsn, roll_up_seconds=3600) as ingest:
        await append(ingest.stub, header(), batch(0, [*pooled, *mixed]))
        for _ in range(2):
            whole, parted = await daily(ingest)
            assert whole.p95_latency_source == LatencySource.LATENCY_SOURCE_SKETCHES
            exact = float(np.percentile(np.concatenate(samples), 95, method="inverted_cdf"))
            assert whole.p95_latency_ms == pytest.approx(exact, rel=0.01)
            assert (whole.total_benchmarks, whole.latency_run_count) == (4, 3)
            assert parted.p95_latency_source == LatencySource.LATENCY_SOURCE_RUNS
            medians = [one.metrics.ttft_p50_ms for one in mixed[:3]]
            assert parted.p95_latency_ms == pytest.approx(float(np.percentile(medians, 95)))
            assert (parted.total_benchmarks, parted.latency_run_count) == (4, 3)
            await roll_up_all(ingest_dsn)


async def test_a_turn_leaves_what_is_too_much_for_the_next(ingest_dsn: str) -> None:
    days = 130
    content = [row(midnight(age)) for age in range(days)]
    async with serving(ingest_dsn, roll_up_seconds=3600) as ingest:
        await append(ingest.stub, header(), batch(0, content))
        async with service_database(ingest_dsn) as database:
            store = DailyStore(database)
            turns = [await store.roll_up() for _ in range(3)]
        assert [(turn.done, turn.more) for turn in turns] == [(100, True), (30, False), (0, False)]
        assert ingest.value("SELECT count(*) FROM ingest.daily_model_stats") == days


async def test_what_no_run_has_stays_absent(ingest: Served) -> None:
    await append(ingest.stub, header(), batch(0, [row(figures={"rps_sustained": 1.0})]))
    await caught_up(ingest)
    (stats,) = await daily(ingest)
    assert stats.total_benchmarks == 1
    for field in ("avg_accuracy", "avg_throughput", "p95_latency_ms"):
        assert not stats.HasField(field)
    assert stats.p95_latency_source == LatencySource.LATENCY_SOURCE_UNSPECIFIED
    assert (stats.request_count, stats.failed_request_count) == (0, 0)
    assert stats.HasField("update_time")


async def test_later_results_change_the_day_they_belong_to(ingest: Served) -> None:
    message = header()
    moment = now_ms() // DAY * DAY - 1
    await append(ingest.stub, message, batch(0, [row(moment, figures={"accuracy_score": 0.2})]))
    await caught_up(ingest)
    await append(ingest.stub, message, batch(1, [row(moment, figures={"accuracy_score": 0.4})]))
    await caught_up(ingest)
    (stats,) = await daily(ingest)
    assert stats.avg_accuracy == pytest.approx(0.3)
    assert stats.total_benchmarks == 2


async def test_duplicates_mark_nothing(ingest_dsn: str) -> None:
    async with serving(ingest_dsn, roll_up_seconds=3600) as ingest:
        known = [row(), row()]
        await append(ingest.stub, header(), batch(0, known))
        marks = ingest.value("SELECT count(*) FROM ingest.dirty_days")
        await append(ingest.stub, header(), batch(0, known), batch(1, [row(config_index=9)]))
        assert ingest.value("SELECT count(*) FROM ingest.dirty_days") == marks


async def test_several_processes_calculate_together(ingest: Served) -> None:
    port = ingest.app.server.port
    async with serving_ingest(ingest.dsn, port), serving_ingest(ingest.dsn, port):
        noon = now_ms() // DAY * DAY - DAY // 2
        total = 0
        for turn in range(12):
            content = [row(noon - turn % 2 * DAY + index) for index in range(9)]
            await append(ingest.stub, header(), batch(0, content))
            total += len(content)
        await caught_up(ingest)
        # A day that is being calculated has no mark any more: ask until it is written.
        deadline = time.monotonic() + 10
        while sum(s.total_benchmarks for s in await daily(ingest)) != total:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)


async def test_a_calculation_waits_for_another_of_the_same_day(ingest_dsn: str) -> None:
    async with serving(ingest_dsn, roll_up_seconds=3600) as ingest:
        await append(ingest.stub, header(), batch(0, [row()]))
        model, day = ingest.value(
            "SELECT (model_id, benchmark_date) FROM ingest.benchmark_results LIMIT 1"
        )
        database = Database(ingest_dsn, "ingest")
        other = await asyncpg.connect(ingest_dsn)
        try:
            async with other.transaction():
                key = f"daily_model_stats {day} {model}"
                await other.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", key)
                calculation = asyncio.create_task(DailyStore(database).roll_up())
                await asyncio.sleep(0.2)
                assert not calculation.done()
                # What is stored while it waits counts.
                await append(ingest.stub, header(), batch(0, [row(), row()]))
            await calculation
            (stats,) = await daily(ingest)
            assert stats.total_benchmarks == 3
        finally:
            await other.close()
            await database.close()


async def test_days_are_filtered_and_come_in_pages(ingest: Served) -> None:
    noon = now_ms() // DAY * DAY - DAY // 2
    content = [row(noon - day * DAY, config_index=model) for day in range(5) for model in (0, 1)]
    await append(ingest.stub, header(config(), config(model=OTHER_MODEL)), batch(0, content))
    await caught_up(ingest)
    everything = await daily(ingest)
    seen = [stats async for stats in daily_pages(ingest, 3)]
    assert seen == everything
    assert [(s.stats_date, s.model_id) for s in seen] == sorted(
        ((s.stats_date, s.model_id) for s in seen),
        key=lambda k: (-int(k[0].replace("-", "")), k[1]),
    )
    model, dates = everything[0].model_id, sorted({s.stats_date for s in everything})
    assert {s.model_id for s in await daily(ingest, model_ids=[model])} == {model}
    between = await daily(ingest, start_date=dates[1], end_date=dates[3])
    assert {s.stats_date for s in between} == set(dates[1:3])


async def test_a_day_is_written_year_month_day(ingest: Served) -> None:
    request = ListDailyModelStatsRequest(start_date="20260101", end_date="2026-13-01")
    refused = await failure(ingest.stub.ListDailyModelStats(request))
    assert set(refused.fields) == {"start_date", "end_date"}
