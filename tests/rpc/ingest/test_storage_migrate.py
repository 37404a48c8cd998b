"""Results move into a hypertable under running streams: nothing is lost, doubled or changed."""

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import asyncpg
import pytest

from migrations.storage import MoveError, drop_partitions, move_results
from servemark.ingest.v1.benchmark_result_pb2 import ResultRow
from tests.rpc.ingest.builders import as_columns, batch, header, now_ms, row, rows
from tests.rpc.ingest.serving import AppendCall, Served, append, seed, serving
from tests.support import servers
from tests.support.days import drop_day, is_hypertable, recorded
from tests.support.timescale import (
    appear,
    compress,
    database_before_timescale,
    licence,
    require_timescale,
)

require_timescale()
pytestmark = pytest.mark.timescale

DAY = 86_400_000
# What a day's rows are, whatever their order and table.
CONTENT = """
    SELECT json_object_agg(benchmark_date, content ORDER BY benchmark_date)::text FROM (
        SELECT benchmark_date, json_build_array(
            count(*), count(DISTINCT id), sum(hashtextextended(result::text, 0))::text
        ) AS content
        FROM ingest.benchmark_results AS result GROUP BY benchmark_date
    ) AS days
"""


@pytest.fixture(scope="module")
def native_template(timescale_server: str) -> Iterator[str]:
    """The name of a database in native partitions, made while TimescaleDB seemed to be missing."""
    with database_before_timescale(timescale_server) as dsn:
        servers.run_apart(seed(dsn))
        assert not is_hypertable(dsn)
        servers.close_to_connections(dsn)
        yield servers.database_name(dsn)


@pytest.fixture
def native_dsn(timescale_server: str, native_template: str) -> Iterator[str]:
    """The DSN of a native database of this test's own; TimescaleDB has appeared since."""
    with servers.database(timescale_server, native_template) as dsn:
        appear(dsn)
        yield dsn


@pytest.fixture
async def native(native_dsn: str) -> AsyncIterator[Served]:
    """The service on it."""
    async with serving(native_dsn) as served:
        yield served


@dataclass
class Stream:
    """A client that appends batches over six days without a pause, some of them twice."""

    sent: set[str] = field(default_factory=set)
    batches: int = 0

    async def run(self, stub: object, stop: asyncio.Event) -> None:
        message, today = header(), now_ms()
        known: list[ResultRow] = []
        call = AppendCall(stub)
        await call.open(message)
        while not stop.is_set():
            fresh = [row(today - index % 6 * DAY + self.batches) for index in range(100)]
            repeated = random.sample(known, 10) if known and self.batches % 3 == 0 else []
            content = batch(self.batches, [*fresh, *repeated])
            ack = await call.append(as_columns(content) if self.batches % 2 else content)
            assert (ack.stored_count, ack.duplicate_count) == (len(fresh), len(repeated))
            self.sent |= {one.id for one in fresh}
            known = fresh
            self.batches += 1
        await call.close()


@asynccontextmanager
async def streaming(stub: object, count: int) -> AsyncIterator[list[Stream]]:
    """Clients that stream until the end of the block, and none of which may fail."""
    stop = asyncio.Event()
    streams = [Stream() for _ in range(count)]
    running = [asyncio.create_task(stream.run(stub, stop)) for stream in streams]
    try:
        yield streams
    finally:
        stop.set()
        await asyncio.gather(*running)


async def later(streams: list[Stream], batches: int) -> None:
    """Returns once each stream has got so many batches further."""
    goals = [stream.batches + batches for stream in streams]
    async with asyncio.timeout(60):
        while any(stream.batches < goal for stream, goal in zip(streams, goals, strict=True)):
            await asyncio.sleep(0.02)


async def test_streams_go_on_while_results_move(native: Served) -> None:
    lines: list[str] = []
    await append(native.stub, header(), *(batch(n, rows(4000)) for n in range(5)))
    async with streaming(native.stub, 2) as streams:
        await later(streams, 5)
        before = sum(stream.batches for stream in streams)
        moved = await asyncio.to_thread(asyncio.run, move_results(native.dsn, lines.append))
        assert sum(stream.batches for stream in streams) > before + 2
        await later(streams, 5)
    assert is_hypertable(native.dsn)
    sent = set().union(*(stream.sent for stream in streams))
    assert sum(len(stream.sent) for stream in streams) == len(sent)
    assert native.stored() == len(sent) + 20_000
    assert (
        native.value("SELECT count(DISTINCT id) FROM ingest.benchmark_results")
        == len(sent) + 20_000
    )
    assert moved.days == 6
    assert len(lines) >= 6
    assert moved.kept_bytes > 0
    kept = native.value("SELECT count(*) FROM ingest_native.benchmark_results")
    assert kept == moved.rows <= native.stored()


async def test_every_row_is_the_same_and_everything_has_its_name(native: Served) -> None:
    content = [
        row(now_ms() - index % 4 * DAY, detailed_metrics_json='{"a": 1.50}') for index in range(50)
    ]
    await append(native.stub, header(), batch(0, content))
    before = native.value(CONTENT)
    names = (
        "SELECT array_agg(indexname ORDER BY indexname) FROM pg_indexes "
        "WHERE schemaname = 'ingest' AND tablename = 'benchmark_results'"
    )
    indexes = native.value(names)
    rights = (
        "SELECT array_agg(acl::text) FROM pg_class, unnest(relacl) AS acl "
        "WHERE oid = 'ingest.benchmark_results'::regclass"
    )
    granted = native.value(rights)
    await asyncio.to_thread(asyncio.run, move_results(native.dsn, print))
    assert native.value(CONTENT) == before
    assert native.value(names) == indexes
    assert native.value(rights) == granted


async def test_a_second_move_and_dropping_the_partitions_say_what_is(native: Served) -> None:
    await append(native.stub, header(), batch(0, rows(10)))

    async def run(work: object) -> object:
        return await asyncio.to_thread(asyncio.run, work)  # type: ignore[arg-type]

    with pytest.raises(MoveError, match="native partitions"):
        await run(drop_partitions(native.dsn))
    await run(move_results(native.dsn, print))
    with pytest.raises(MoveError, match="already"):
        await run(move_results(native.dsn, print))
    assert await run(drop_partitions(native.dsn))
    assert await run(drop_partitions(native.dsn)) == 0
    assert native.stored() == 10


def start_moving(dsn: str) -> subprocess.Popen[str]:
    """`servemark storage migrate` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "servemark.cli", "storage", "migrate"],
        env={**os.environ, "SERVEMARK_DATABASE_URL": dsn},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


async def test_a_move_that_is_killed_loses_nothing_and_the_next_goes_on(native: Served) -> None:
    await append(
        native.stub, header(), *(batch(n, rows(5000, now_ms() - n * DAY)) for n in range(6))
    )
    killed = 0
    async with streaming(native.stub, 2) as streams:
        for turn in range(12):
            moving = start_moving(native.dsn)
            # Some are still starting then, some copying, some at the exchange.
            await asyncio.sleep(0.6 + turn * 0.15)
            moving.send_signal(signal.SIGKILL)
            killed += await asyncio.to_thread(moving.wait) == -signal.SIGKILL
            await later(streams, 1)
            if is_hypertable(native.dsn):
                break
        done = 0
        if not is_hypertable(native.dsn):
            moving = start_moving(native.dsn)
            said, _ = await asyncio.to_thread(moving.communicate)
            done = moving.returncode
        await later(streams, 3)
    assert killed > 3
    assert done == 0, said
    sent = set().union(*(stream.sent for stream in streams))
    assert native.stored() == len(sent) + 30_000
    distinct = native.value("SELECT count(DISTINCT id) FROM ingest.benchmark_results")
    assert distinct == len(sent) + 30_000
    assert native.value("SELECT to_regnamespace('ingest_hypertable') IS NULL")


@asynccontextmanager
async def copied(dsn: str, days: int) -> AsyncIterator[subprocess.Popen[str]]:
    """A move that has copied so many days and cannot go on, because somebody reads."""
    reader = await asyncpg.connect(dsn)
    try:
        async with reader.transaction():
            await reader.execute("LOCK TABLE ingest.benchmark_results IN ACCESS SHARE MODE")
            moving = start_moving(dsn)
            assert moving.stdout is not None
            for _ in range(days):
                assert "same on both sides" in await asyncio.to_thread(moving.stdout.readline)
            yield moving
    finally:
        await reader.close()


async def test_streams_go_on_while_a_reader_keeps_the_move_waiting(native: Served) -> None:
    await append(native.stub, header(), batch(0, rows(10)))
    async with streaming(native.stub, 2) as streams:
        async with copied(native.dsn, 1) as moving:
            # Longer than it waits for the table, so that it had to ask again.
            await asyncio.sleep(1.5)
            await later(streams, 3)
            assert not is_hypertable(native.dsn)
        assert await asyncio.to_thread(moving.wait) == 0
        await later(streams, 3)
    assert native.stored() == 10 + sum(len(stream.sent) for stream in streams)


async def test_what_changed_since_an_interrupted_move_is_copied_again(native: Served) -> None:
    noon = now_ms() // DAY * DAY - DAY // 2
    message = header()
    content = [row(noon - day * DAY + index) for day in range(4) for index in range(40)]
    await append(native.stub, message, batch(0, content))
    async with copied(native.dsn, 4) as moving:
        moving.send_signal(signal.SIGKILL)
        await asyncio.to_thread(moving.wait)
    days = native.value("SELECT array_agg(DISTINCT benchmark_date) FROM ingest.benchmark_results")
    # A day is gone, one is gone and came again with other rows, one has rows more and less.
    await asyncio.to_thread(drop_day, native.dsn, days[0])
    await asyncio.to_thread(drop_day, native.dsn, days[1])
    await append(native.stub, message, batch(1, rows(3, noon - 2 * DAY)), batch(2, rows(5, noon)))
    await asyncio.to_thread(
        servers.execute,
        native.dsn,
        f"DELETE FROM ingest.benchmark_results WHERE id = '{content[1].id}'",
    )
    before = native.value(CONTENT)
    moving = start_moving(native.dsn)
    said, _ = await asyncio.to_thread(moving.communicate)
    assert moving.returncode == 0, said
    assert "Going on" in said
    # The day that nothing happened to was not copied again.
    assert f"{days[2]}:" not in said
    assert native.value(CONTENT) == before
    assert native.stored() == 3 + 40 + 44


async def test_a_table_that_changed_since_an_interrupted_move_is_copied_anew(
    native: Served,
) -> None:
    await append(native.stub, header(), batch(0, rows(10)))
    async with copied(native.dsn, 1) as moving:
        moving.send_signal(signal.SIGKILL)
        await asyncio.to_thread(moving.wait)
    await asyncio.to_thread(
        servers.execute,
        native.dsn,
        "ALTER TABLE ingest.benchmark_results ADD COLUMN added text",
        "UPDATE ingest.benchmark_results SET added = id::text",
    )
    moving = start_moving(native.dsn)
    said, _ = await asyncio.to_thread(moving.communicate)
    assert moving.returncode == 0, said
    assert "Going on" not in said
    same = "SELECT count(*) FROM ingest.benchmark_results WHERE added = id::text"
    assert native.value(same) == 10


@pytest.fixture
async def apache(native_dsn: str) -> AsyncIterator[Served]:
    """The service on a hypertable made as under the Apache licence; the licence has changed."""
    # A server has one licence. These calls are what the migration does under the other one.
    servers.execute(
        native_dsn,
        "CREATE EXTENSION timescaledb SCHEMA public",
        "SELECT ingest.build_hypertable()",
        "SELECT ingest.adopt_hypertable('timescale-apache', keep_partitions => false)",
    )
    if licence(native_dsn) != "timescale":
        pytest.skip("the server's licence has no columnstore")
    async with serving(native_dsn) as served:
        yield served


async def test_with_the_timescale_licence_old_days_of_a_hypertable_may_be_compressed(
    apache: Served,
) -> None:
    policies = (
        "SELECT array_agg(proc_name::text) FROM timescaledb_information.jobs "
        "WHERE hypertable_name = 'benchmark_results'"
    )
    assert recorded(apache.dsn) == ("timescale-apache", None)
    assert apache.value(policies) is None
    await append(apache.stub, header(), batch(0, rows(40, now_ms() - 9 * DAY)))
    async with streaming(apache.stub, 2) as streams:
        await later(streams, 2)
        moving = start_moving(apache.dsn)
        said, _ = await asyncio.to_thread(moving.communicate)
        await later(streams, 2)
    assert moving.returncode == 0, said
    assert recorded(apache.dsn) == ("timescale", None)
    assert apache.value(policies) == ["policy_compression"]
    assert apache.stored() == 40 + sum(len(stream.sent) for stream in streams)
    # Nothing was moved, so no partitions are kept.
    assert apache.value("SELECT to_regnamespace('ingest_native') IS NULL")
    before = apache.value(CONTENT)
    assert await asyncio.to_thread(compress, apache.dsn) > 0
    assert apache.value("SELECT bool_and(is_compressed) FROM ingest.result_days()")
    assert apache.value(CONTENT) == before
    again = start_moving(apache.dsn)
    said, _ = await asyncio.to_thread(again.communicate)
    assert again.returncode != 0
    assert "the profile is timescale" in said
