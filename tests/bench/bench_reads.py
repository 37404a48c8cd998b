"""How quickly the usual questions are answered, next to plain SQL over the raw partitions.

300,000 results of 6,000 configurations over the seven days that the ranking asks for, each day as
many: of fewer in those days plain SQL is quicker, ours is not. The baseline asks the same of a copy
of these partitions that has the indexes of the requirements and nothing else of ours, on the same
server, through the same driver and pool, turn by turn. Meanwhile a runner's results come in through
the real service, one every half second, each of one of ten configurations, and the service rolls
them up as it always does. The note says what a torrent of a hundred a second makes of it. Before
the first turn and after the last, with the runner held, both answers are compared.
"""

import asyncio
import atexit
import gc
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache, partial
from math import isclose
from statistics import median
from typing import Any, Final
from uuid import UUID

import asyncpg
import grpc

from servemark.ingest.v1.ingest_service_pb2_grpc import IngestServiceStub
from servemark.runtime.database import Database
from services.ingest.copy_format import COPY_COLUMNS
from services.ingest.records import ResultFilter
from services.ingest.store_condense import RUN_COUNT, statistic
from services.ingest.store_daily import DailyStore
from services.ingest.store_results import ResultStore
from services.ingest.store_summaries import SummaryStore, window_start
from tests.bench.harness import Bench, Figure, alternate_async, measure
from tests.bench.ingest_place import Place, place
from tests.rpc.ingest.builders import batch, config, header, row
from tests.rpc.ingest.serving import AppendCall
from tests.support import servers
from tests.support.synthetic import Shape, fill, identifier, mark_everything

WORKLOAD: Final = "chatbot"
DAYS: Final = 7
LATEST: Final = 100

_COLUMNS: Final = ", ".join(COPY_COLUMNS)
_RAW: Final = (
    "CREATE SCHEMA raw",
    """
    CREATE TABLE raw.benchmark_results (
        LIKE ingest.benchmark_results INCLUDING DEFAULTS INCLUDING GENERATED,
        PRIMARY KEY (id, benchmarked_at)
    ) PARTITION BY RANGE (benchmarked_at)
    """,
    "CREATE INDEX ON raw.benchmark_results "
    "(model_version_id, hardware_config_id, framework_id, benchmark_date DESC)",
    "CREATE INDEX ON raw.benchmark_results (ttft_p90_ms, throughput_tokens_sec) "
    "WHERE ttft_p90_ms <= 300",
    "CREATE INDEX ON raw.benchmark_results (benchmark_date, workload_type)",
    """
    DO $$ BEGIN FOR ago IN -1..30 LOOP EXECUTE format(
        'CREATE TABLE raw.day_%s PARTITION OF raw.benchmark_results FOR VALUES FROM (%L) TO (%L)',
        ago + 1,
        date_trunc('day', now(), 'UTC') - make_interval(days => ago),
        date_trunc('day', now(), 'UTC') - make_interval(days => ago - 1)
    ); END LOOP; END $$
    """,
    f"INSERT INTO raw.benchmark_results ({_COLUMNS}) "
    f"SELECT {_COLUMNS} FROM ingest.benchmark_results",
    "GRANT USAGE ON SCHEMA raw TO servemark_ingest",
    "GRANT SELECT ON raw.benchmark_results TO servemark_ingest",
    "VACUUM ANALYZE raw.benchmark_results",
    "VACUUM ANALYZE ingest.config_summaries",
    "VACUUM ANALYZE ingest.daily_model_stats",
    "CHECKPOINT",
)
_FOLLOW: Final = (
    f"INSERT INTO raw.benchmark_results ({_COLUMNS}) "
    f"SELECT {_COLUMNS} FROM ingest.benchmark_results "
    "WHERE id = ANY($1::uuid[]) AND benchmarked_at >= $2"
)
_LATEST: Final = (
    f"SELECT {_COLUMNS} FROM raw.benchmark_results WHERE model_version_id = $1 "
    f"ORDER BY benchmarked_at DESC, id DESC LIMIT {LATEST}"
)
_FEED: Final = """
    SELECT config_id, count(*), percentile_cont(0.5) WITHIN GROUP (ORDER BY ttft_p90_ms),
        avg(throughput_tokens_sec)
    FROM raw.benchmark_results WHERE benchmarked_at >= $1 AND workload_type = $2
    GROUP BY config_id
"""
_DAILY: Final = """
    SELECT model_id, benchmark_date AS stats_date, count(*) AS total_benchmarks,
        avg(throughput_tokens_sec) AS avg_throughput
    FROM raw.benchmark_results GROUP BY model_id, benchmark_date
"""

Ask = Callable[[], Awaitable[Any]]


@measure("read.latest_100", unit="ms")
def latest_100(bench: Bench) -> Figure:
    """The latest 100 results of a model version, another version each time."""
    return _world(bench.quick).run(_latest(_world(bench.quick), bench))


@measure("read.ranking_feed", unit="ms")
def ranking_feed(bench: Bench) -> Figure:
    """Median TTFT p90, mean throughput and runs of each configuration of a workload over 7 days."""
    return _world(bench.quick).run(_feed(_world(bench.quick), bench))


@measure("read.daily_mean", unit="ms")
def daily_mean(bench: Bench) -> Figure:
    """The mean throughput of each model on each day."""
    return _world(bench.quick).run(_days(_world(bench.quick), bench))


async def _latest(world: "World", bench: Bench) -> Figure:
    asked, told = (itertools.cycle(range(world.shape.models)) for _ in range(2))
    store = ResultStore(world.database, _today)

    def version(numbers: Iterable[int]) -> UUID:
        return identifier("version", next(iter(numbers)))

    async def ours() -> Any:
        wanted = ResultFilter(model_version_ids=(version(asked),))
        return [result.id for result in await store.page(wanted, None, LATEST)]

    async def plain() -> Any:
        return [record["id"] for record in await world.fetch(_LATEST, version(told))]

    cost = await _index_cost(world)
    return await _compare(world, bench, ours, plain, f"its index costs {cost:.1f} µs a row")


async def _feed(world: "World", bench: Bench) -> Figure:
    store = SummaryStore(world.database, _today)
    fields = [
        RUN_COUNT,
        statistic("ttft_p90_ms", "medians"),
        statistic("throughput_tokens_sec", "means"),
    ]
    wanted = ResultFilter(workload_types=(WORKLOAD,))

    async def ours() -> Any:
        return await store.figures(wanted, DAYS, fields, None, 2 * world.shape.configs)

    async def plain() -> Any:
        return await world.fetch(_FEED, window_start(DAYS, _today()), WORKLOAD)

    cost = await _mark_cost(world)
    note = f"its marks cost {cost:.1f} ms a batch of 6,000 configurations"
    return await _compare(world, bench, ours, plain, note, _by_config)


async def _days(world: "World", bench: Bench) -> Figure:
    store = DailyStore(world.database)

    async def ours() -> Any:
        return await store.days(("avg_throughput",), (), None, None, None, 1000)

    async def plain() -> Any:
        return await world.fetch(_DAILY)

    return await _compare(world, bench, ours, plain, "every model, every day", _by_day)


def _as_it_is(answer: Any) -> dict[Any, tuple[Any, ...]]:
    return {place: (value,) for place, value in enumerate(answer)}


def _by_config(answer: Any) -> dict[Any, tuple[Any, ...]]:
    return {row[0]: (row[1], row[2], row[3]) for row in answer}


def _by_day(answer: Any) -> dict[Any, tuple[Any, ...]]:
    return {
        (row["stats_date"], row["model_id"]): (row["total_benchmarks"], row["avg_throughput"])
        for row in answer
    }


async def _compare(
    world: "World",
    bench: Bench,
    ours: Ask,
    plain: Ask,
    note: str,
    shape: Callable[[Any], dict[Any, tuple[Any, ...]]] = _as_it_is,
) -> Figure:
    """The medians of both, while results come in; their answers have to be the same."""
    await _same(shape(await ours()), shape(await plain()))
    async with world.streaming(every=0.5, rows=1):
        subject, baseline = await alternate_async(ours, plain, 4 * bench.rounds)
    async with world.streaming(every=0.1, rows=10):
        busy, _ = await alternate_async(ours, plain, bench.rounds)
    # Nothing comes in any more, but not everything has been rolled up.
    await _same(shape(await ours()), shape(await plain()))
    under = f"under a torrent {busy * 1e3:.1f} ms"
    return Figure(subject * 1e3, baseline * 1e3, note=f"{under}; {note}")


async def _same(ours: dict[Any, tuple[Any, ...]], plain: dict[Any, tuple[Any, ...]]) -> None:
    if not plain or ours.keys() != plain.keys():
        raise AssertionError(f"{len(ours)} answers of ours, {len(plain)} of plain SQL")
    for key, values in plain.items():
        for mine, other in zip(ours[key], values, strict=True):
            if mine != other and not isclose(mine, other, rel_tol=1e-9):
                raise AssertionError(f"{key}: {mine} of ours, {other} of plain SQL")


@dataclass(frozen=True)
class World:
    """The filled database with the service that writes to it, kept for all measures."""

    runner: asyncio.Runner
    place: Place
    shape: Shape
    database: Database

    def run(self, work: Any) -> Figure:
        """The figure, in the loop that the connections belong to."""
        figure: Figure = self.runner.run(work)
        return figure

    async def fetch(self, query: str, *arguments: Any) -> Any:
        """Rows of plain SQL, in the way that our own stores read."""
        return await self.database.fetch(query, *arguments)

    @asynccontextmanager
    async def streaming(self, *, every: float, rows: int) -> AsyncIterator[None]:
        """A runner's results come in until the end of the block, so many at a time."""
        stop = asyncio.Event()
        message = header(*(config(workload_type=WORKLOAD, concurrency=n + 1) for n in range(10)))
        connection = await asyncpg.connect(self.place.dsn)
        async with grpc.aio.insecure_channel(self.place.target) as channel:
            call = AppendCall(IngestServiceStub(channel))
            await call.open(message)

            async def run() -> None:
                for sequence in itertools.count():
                    if stop.is_set():
                        return
                    moment = time.time_ns() // 1_000_000
                    figures = {"ttft_p90_ms": 50.0 + sequence % 90, "throughput_tokens_sec": 900.0}
                    content = [
                        row(moment + n, config_index=(sequence + n) % 10, figures=figures)
                        for n in range(rows)
                    ]
                    await call.append(batch(sequence, content))
                    ids = [UUID(one.id) for one in content]
                    since = datetime.fromtimestamp(moment / 1000 - 1, UTC)
                    await connection.execute(_FOLLOW, ids, since)
                    await asyncio.sleep(every)

            running = asyncio.create_task(run())
            try:
                yield
            finally:
                stop.set()
                await running
                await call.close()
                await connection.close()


@cache
def _world(quick: bool) -> World:
    runner = asyncio.Runner()
    opened = place()
    here = runner.run(_enter(opened))
    shape = Shape(rows=60_000 if quick else 300_000, configs=6000, days=DAYS)
    database = runner.run(_filled(here, shape))

    async def leave() -> None:
        await database.close()
        await opened.__aexit__(None, None, None)

    def close() -> None:
        runner.run(leave())
        runner.close()

    atexit.register(close)
    # What was made so far stays: collections in the timed parts need not look at it.
    gc.collect()
    gc.freeze()
    return World(runner, here, shape, database)


async def _enter(opened: Any) -> Place:
    entered: Place = await opened.__aenter__()
    return entered


async def _filled(here: Place, shape: Shape) -> Database:
    """Fills the database, and waits until the service has rolled everything up."""
    await fill(here.dsn, shape)
    await mark_everything(here.dsn)
    deadline = time.monotonic() + 300
    waiting = (
        "SELECT (SELECT count(*) FROM ingest.dirty_days) "
        "+ (SELECT count(*) FROM ingest.dirty_configs)"
    )
    while await asyncio.to_thread(servers.fetch_value, here.dsn, waiting):
        if time.monotonic() > deadline:
            raise RuntimeError("the results were not rolled up")
        await asyncio.sleep(0.2)
    await asyncio.to_thread(servers.execute, here.dsn, *_RAW)
    return Database(here.dsn, "ingest")


async def _index_cost(world: World) -> float:
    """Microseconds that the index of a version's times adds to the insertion of a row."""
    connection = await asyncpg.connect(world.place.dsn)
    try:
        for name in ("without", "with_index"):
            await connection.execute(f"CREATE TABLE raw.{name} (LIKE raw.day_2 INCLUDING INDEXES)")
        await connection.execute(
            "CREATE INDEX ON raw.with_index (model_version_id, benchmarked_at)"
        )
        count = await connection.fetchval("SELECT count(*) FROM raw.day_2")

        async def insert(name: str) -> None:
            await connection.execute(f"TRUNCATE raw.{name}")
            await connection.execute(f"INSERT INTO raw.{name} SELECT * FROM raw.day_2")

        slow, fast = await alternate_async(
            partial(insert, "with_index"), partial(insert, "without"), 7
        )
        await connection.execute("DROP TABLE raw.without, raw.with_index")
    finally:
        await connection.close()
    return (slow - fast) / float(count) * 1e6


async def _mark_cost(world: World) -> float:
    """Milliseconds that the mark of 6,000 configurations adds to a batch's transaction."""
    connection = await asyncpg.connect(world.place.dsn)
    try:
        ids = [
            record["id"]
            for record in await connection.fetch(
                "SELECT id FROM ingest.benchmark_configs LIMIT 6000"
            )
        ]
        taken = []
        for _ in range(20):
            transaction = connection.transaction()
            await transaction.start()
            started = time.perf_counter()
            await connection.execute(
                "INSERT INTO ingest.dirty_configs (config_ids) VALUES ($1::uuid[])", ids
            )
            taken.append(time.perf_counter() - started)
            await transaction.rollback()
    finally:
        await connection.close()
    return median(taken) * 1e3


def _today() -> date:
    return datetime.now(UTC).date()
