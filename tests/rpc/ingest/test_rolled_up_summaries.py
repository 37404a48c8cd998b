"""Condensed configurations say what the runs say, rolled up or not, while results keep arriving."""

import asyncio
import random
import time
from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any

import asyncpg
import pytest

from servemark.ingest.v1.benchmark_result_pb2 import ResultRow
from servemark.ingest.v1.result_query_pb2 import (
    ListConfigSummariesRequest,
    ResultFilter,
)
from servemark.type.v1.metric_pb2 import Metric
from services.ingest.records import ResultFilter as Wanted
from services.ingest.store_condense import RUN_COUNT
from services.ingest.store_summaries import SummaryStore
from services.ingest.store_summaries_roll_up import SummaryRollUp
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
from tests.rpc.ingest.rolling import (
    DAY,
    Statistics,
    condensed,
    midnight,
    read_summaries,
    roll_up_all,
    service_database,
    today,
)
from tests.rpc.ingest.serving import Served, append, serving, serving_ingest
from tests.support import servers
from tests.support.days import drop_day
from tests.support.failures import failure

pytestmark = pytest.mark.every_profile

CONFIGS = [
    config(concurrency=1),
    config(concurrency=2),
    config(workload_type="random", concurrency=2),
    config(model=OTHER_MODEL),
    config(model=OTHER_MODEL, hardware=OTHER_HARDWARE),
    config(hardware=OTHER_HARDWARE, concurrency=2),
]
FIGURES = ("ttft_p50_ms", "ttft_p90_ms", "throughput_tokens_sec", "accuracy_score")
# All runs, the window that is kept ready, and two that are not.
WINDOWS = (0, 7, 3, 30)


def some_rows(generator: random.Random, count: int) -> list[ResultRow]:
    """Rows of any of the configurations, most of them of today, some late, figures now and then."""
    found = []
    for _ in range(count):
        age = generator.choice((0, 0, 0, 1, 5, 6, 7, 12)) * DAY
        moment = min(midnight() + generator.randrange(DAY), now_ms()) - age
        ttft = generator.uniform(1, 900)
        values = dict(zip(FIGURES, (ttft, ttft * 2, 1e5 / ttft, generator.random()), strict=True))
        kept = {name: values[name] for name in FIGURES if generator.random() < 0.7}
        found.append(
            row(
                moment,
                config_index=generator.randrange(len(CONFIGS)),
                figures=kept or {"rps_sustained": 1.0},
                request_count=generator.randrange(100),
            )
        )
    return found


def one_of_each(count: int) -> list[ResultRow]:
    """A row of each of so many configurations."""
    return [row(config_index=index) for index in range(count)]


def within(sent: Iterable[ResultRow], recent_days: int) -> list[ResultRow]:
    """The rows of the last so many days, today included; all for 0."""
    start = midnight(recent_days - 1) if recent_days else 0
    return [one for one in sent if one.benchmark_time.ToMilliseconds() >= start]


async def check(
    ingest: Served, ids: list[str], sent: list[ResultRow], recent_days: int, **wanted: Any
) -> None:
    """Compares what is read with what the rows sent say."""
    found = await read_summaries(
        ingest.stub, recent_days=recent_days, page_size=2, filter=ResultFilter(**wanted)
    )
    told: dict[int, Any] = {
        ids.index(one.config.id): (one.run_count, {name(m): statistics(m) for m in one.metrics})
        for one in found
    }
    expected = {
        index: (count, {figure: pytest.approx(values) for figure, values in figures.items()})
        for index, (count, figures) in condensed(within(sent, recent_days)).items()
        if not wanted or CONFIGS[index].workload.workload_type in wanted["workload_types"]
    }
    assert told == expected
    assert [one.config.id for one in found] == sorted(one.config.id for one in found)


def name(metric: Any) -> str:
    """The column of a metric's summary."""
    return Metric.Name(metric.metric).removeprefix("METRIC_").lower()


def statistics(metric: Any) -> Statistics:
    """The numbers of a metric's summary."""
    return metric.median, metric.mean, metric.min, metric.max, metric.run_count


@pytest.mark.parametrize("seed", range(3))
async def test_they_equal_a_direct_calculation_whatever_is_rolled_up(
    ingest_dsn: str, seed: int
) -> None:
    generator = random.Random(seed)
    message = header(*CONFIGS)
    sent: list[ResultRow] = []
    async with serving(ingest_dsn, roll_up_seconds=3600) as ingest:
        for sequence in range(5):
            more = some_rows(generator, generator.randrange(1, 60))
            sent += more
            opened, _ = await append(ingest.stub, message, batch(sequence, more))
            ids = [outcome.config_id for outcome in opened.configs]
            # Nothing is rolled up at first; then all but the last batch is.
            for recent_days in WINDOWS:
                await check(ingest, ids, sent, recent_days)
            await check(ingest, ids, sent, 7, workload_types=["random"])
            if sequence % 2:
                assert await roll_up_all(ingest_dsn)
                assert ingest.value("SELECT count(*) FROM ingest.dirty_configs") == 0
                for recent_days in WINDOWS:
                    await check(ingest, ids, sent, recent_days)


async def test_while_results_stream_in_what_was_acknowledged_is_in_the_answer(
    ingest: Served,
) -> None:
    message = header(*CONFIGS)
    acknowledged = 0
    for sequence in range(40):
        content = rows(7, midnight() - 3_600_000)
        for index, one in enumerate(content):
            one.config_index = (sequence + index) % len(CONFIGS)
        await append(ingest.stub, message, batch(sequence, content))
        acknowledged += len(content)
        for recent_days in (0, 7):
            found = await read_summaries(ingest.stub, recent_days=recent_days)
            assert sum(one.run_count for one in found) == acknowledged


async def test_the_window_begins_with_the_first_instant_of_its_first_day(ingest_dsn: str) -> None:
    first = row(midnight(6), figures={"ttft_p50_ms": 1.0})
    before = row(midnight(6) - 1, figures={"ttft_p50_ms": 2.0})
    async with serving(ingest_dsn, roll_up_seconds=3600) as ingest:
        await append(ingest.stub, header(), batch(0, [first, before]))
        for _ in range(2):
            (recent,) = await read_summaries(ingest.stub, recent_days=7)
            assert (recent.run_count, recent.metrics[0].max) == (1, 1.0)
            (older,) = await read_summaries(ingest.stub, recent_days=8)
            assert older.run_count == 2
            await roll_up_all(ingest_dsn)


async def test_a_run_leaves_the_window_at_midnight_though_nothing_was_rolled_up(
    ingest_dsn: str,
) -> None:
    tomorrow = today() + timedelta(days=1)
    oldest = [row(midnight(6)), row(midnight(6), config_index=1)]
    async with serving(ingest_dsn, roll_up_seconds=3600) as ingest:
        await append(ingest.stub, header(*CONFIGS), batch(0, [*oldest, row(midnight(5))]))
        await roll_up_all(ingest_dsn)
    async with service_database(ingest_dsn) as database:

        async def counts(day: date) -> list[int]:
            store = SummaryStore(database, lambda: day)
            return [found[1] for found in await store.figures(Wanted(), 7, [RUN_COUNT], None, 9)]

        assert sorted(await counts(today())) == [1, 2]
        assert await counts(tomorrow) == [1]
        # The next day's turns find what has left; a clock that lags still gets its own window.
        roll_up = SummaryRollUp(database, lambda: tomorrow)
        assert (await roll_up.roll_up()).done == 2
        assert (await roll_up.roll_up()).done == 0
        assert await counts(tomorrow) == [1]
        assert sorted(await counts(today())) == [1, 2]


async def test_several_processes_roll_up_together(ingest: Served) -> None:
    port = ingest.catalog_port
    message, total = header(*CONFIGS), 0
    async with serving_ingest(ingest.dsn, port), serving_ingest(ingest.dsn, port):
        for sequence in range(12):
            content = [row(config_index=index % len(CONFIGS)) for index in range(20)]
            await append(ingest.stub, message, batch(sequence, content))
            total += len(content)
        deadline = time.monotonic() + 20
        while ingest.value("SELECT count(*) FROM ingest.dirty_configs"):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
    kept = ingest.value("SELECT sum(run_count) FROM ingest.config_summaries WHERE recent_days = 7")
    assert kept == total


async def test_what_is_being_rolled_up_is_still_read_from_the_runs(ingest_dsn: str) -> None:
    async with serving(ingest_dsn, roll_up_seconds=3600) as ingest:
        message = header()
        await append(ingest.stub, message, batch(0, rows(3)))
        await roll_up_all(ingest_dsn)
        await append(ingest.stub, message, batch(1, rows(2)))
        other = await asyncpg.connect(ingest_dsn)
        try:
            async with other.transaction(), service_database(ingest_dsn) as database:
                # The turn waits here with its marks taken and its figures not yet written.
                await other.execute("SELECT FROM ingest.config_summaries FOR UPDATE")
                turn = asyncio.create_task(SummaryRollUp(database, today).roll_up())
                await asyncio.sleep(0.2)
                assert not turn.done()
                (summary,) = await read_summaries(ingest.stub)
                assert summary.run_count == 5
                # Another process does not wait for it.
                async with asyncio.timeout(10):
                    assert (await SummaryRollUp(database, today).roll_up()).done == 0
                await other.execute("ROLLBACK")
                assert (await turn).done == 1
        finally:
            await other.close()
        (summary,) = await read_summaries(ingest.stub)
        assert summary.run_count == 5


async def test_duplicates_mark_no_configuration(ingest_dsn: str) -> None:
    async with serving(ingest_dsn, roll_up_seconds=3600) as ingest:
        known = [row(), row()]
        await append(ingest.stub, header(), batch(0, known))
        assert ingest.value("SELECT count(*) FROM ingest.dirty_configs") == 1
        await append(ingest.stub, header(), batch(0, known), batch(1, [row(config_index=9)]))
        assert ingest.value("SELECT count(*) FROM ingest.dirty_configs") == 1


async def test_marks_stay_few_however_many_batches_come(ingest_dsn: str) -> None:
    count = 600
    message = header(*(config(concurrency=index + 1) for index in range(count)))
    async with serving(ingest_dsn, roll_up_seconds=3600) as ingest:
        for sequence in range(5):
            await append(ingest.stub, message, batch(sequence, one_of_each(count)))
        async with service_database(ingest_dsn) as database:
            roll_up = SummaryRollUp(database, today)
            turn = await roll_up.roll_up()
            assert (turn.done, turn.more) == (256, True)
            # What waits in the queue is not queued again.
            await append(ingest.stub, message, batch(5, one_of_each(count)))
            done = [turn.done]
            while turn.done:
                turn = await roll_up.roll_up()
                done.append(turn.done)
        assert sum(done) == 256 + count
        assert sum(one.run_count for one in await read_summaries(ingest.stub)) == 6 * count


async def test_marks_of_code_that_knows_no_summaries_count_for_all_of_the_model(
    ingest_dsn: str,
) -> None:
    async with serving(ingest_dsn, roll_up_seconds=3600) as ingest:
        await append(ingest.stub, header(*CONFIGS[:2]), batch(0, [row(), row(config_index=1)]))
        await roll_up_all(ingest_dsn)
        # What the version before wrote: a row of results and the mark of its day.
        servers.execute(
            ingest_dsn,
            "INSERT INTO ingest.benchmark_results (id, benchmarked_at, config_id, model_id, "
            "model_version_id, hardware_config_id, framework_id, stream_id, workload_type, "
            "percentile_source, tool, tool_version) SELECT gen_random_uuid(), benchmarked_at, "
            "config_id, model_id, model_version_id, hardware_config_id, framework_id, stream_id, "
            "workload_type, percentile_source, tool, tool_version "
            "FROM ingest.benchmark_results LIMIT 1",
            "INSERT INTO ingest.dirty_days (model_id, stats_date) "
            "SELECT model_id, benchmark_date FROM ingest.benchmark_results LIMIT 1",
        )
        await roll_up_all(ingest_dsn)
        assert sum(one.run_count for one in await read_summaries(ingest.stub)) == 3


async def test_a_day_that_is_dropped_leaves_the_summaries(ingest_dsn: str) -> None:
    async with serving(ingest_dsn, roll_up_seconds=3600) as ingest:
        old, new = row(midnight(20)), row(midnight())
        content = [old, new, row(midnight(20), config_index=1)]
        await append(ingest.stub, header(*CONFIGS[:2]), batch(0, content))
        await roll_up_all(ingest_dsn)
        day = today() - timedelta(days=20)
        await asyncio.to_thread(drop_day, ingest_dsn, day)
        for _ in range(2):
            (left,) = await read_summaries(ingest.stub)
            assert (left.run_count, left.newest_benchmark_time) == (1, new.benchmark_time)
            await roll_up_all(ingest_dsn)


async def test_only_the_metrics_asked_for_are_returned(ingest: Served) -> None:
    figures = {"ttft_p50_ms": 1.0, "ttft_p90_ms": 2.0, "rps_sustained": 3.0}
    await append(ingest.stub, header(), batch(0, [row(figures=figures)]))
    wanted = [Metric.METRIC_RPS_SUSTAINED, Metric.METRIC_TTFT_P50_MS, Metric.METRIC_TPOT_P50_MS]
    for recent_days in (0, 3):
        (found,) = await read_summaries(ingest.stub, metrics=wanted, recent_days=recent_days)
        assert [metric.metric for metric in found.metrics] == [
            Metric.METRIC_TTFT_P50_MS,
            Metric.METRIC_RPS_SUSTAINED,
        ]
    refused = await failure(
        ingest.stub.ListConfigSummaries(
            ListConfigSummariesRequest(
                recent_days=3651,
                metrics=[0, Metric.METRIC_USD_PER_HOUR, 99],  # type: ignore[list-item]
            )
        )
    )
    assert set(refused.fields) == {"recent_days", "metrics[0]", "metrics[1]", "metrics[2]"}


async def test_a_token_of_another_window_is_refused(ingest: Served) -> None:
    content = [row(config_index=index) for index in range(2)]
    await append(ingest.stub, header(*CONFIGS[:2]), batch(0, content))
    page = await ingest.stub.ListConfigSummaries(
        ListConfigSummariesRequest(page_size=1, recent_days=7)
    )
    refused = await failure(
        ingest.stub.ListConfigSummaries(
            ListConfigSummariesRequest(page_size=1, page_token=page.next_page_token)
        )
    )
    assert refused.reason == "PAGE_TOKEN_INVALID"
