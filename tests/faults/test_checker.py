"""What the fault tests rely on: the checker sees every kind of damage, the guard sees idle clients.

The damage is done by hand, one row at a time, to what a client had stored.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict

import pytest

from services.ingest.copy_format import COPY_COLUMNS
from tests.faults.checker import check
from tests.faults.clients import Source
from tests.faults.run import Run, streaming
from tests.rpc.ingest.serving import serving
from tests.support import servers
from tests.support.simulation.fleet import models
from tests.support.simulation.messages import create_catalog
from tests.support.stack import free_block


@pytest.fixture
async def run(migrated_database: str) -> AsyncIterator[Run]:
    """Two clients that are done: one with columns, one that also sends rows and repeats."""
    fleet = models(2)
    sources = [
        Source(0, fleet[0], 100),
        Source(1, fleet[1], 100, mixes_rows=True, repeats=True),
    ]
    async with serving(migrated_database) as served:
        await create_catalog(served.catalog, fleet)
        target = f"127.0.0.1:{served.app.server.port}"
        async with streaming(target, migrated_database, sources) as running:
            while min(client.sent_below for client in running.clients) < 6:
                await asyncio.sleep(0.01)
        yield running


def row(**changes: str) -> str:
    """A statement that stores the first row again with some columns changed."""
    values = ", ".join(changes.get(name, name) for name in COPY_COLUMNS)
    return (
        f"INSERT INTO ingest.benchmark_results ({', '.join(COPY_COLUMNS)}) "
        f"SELECT {values} FROM ingest.benchmark_results ORDER BY id LIMIT 1"
    )


def first(statement: str) -> str:
    """The statement for the first row only."""
    return f"{statement} WHERE id = (SELECT min(id::text)::uuid FROM ingest.benchmark_results)"


UPDATE = "UPDATE ingest.benchmark_results SET"
DAMAGES = {
    "a row that is gone": (first("DELETE FROM ingest.benchmark_results"), "lost"),
    "a row twice": (row(benchmarked_at="benchmarked_at + interval '1 ms'"), "duplicated"),
    "a stranger's row": (row(id="uuidv7()"), "foreign"),
    "a row of no stream": (row(id="uuidv7()", stream_id="uuidv7()"), "foreign"),
    "another figure": (first(f"{UPDATE} ttft_p50_ms = ttft_p50_ms + 1e-9"), "altered"),
    "a figure too much": (
        first(f"{UPDATE} accuracy_score = coalesce(accuracy_score, 0) + 0.1"),
        "altered",
    ),
    "another count": (
        first(f"{UPDATE} failed_request_count = failed_request_count + 1"),
        "altered",
    ),
    "another workload": (first(f"{UPDATE} workload_type = 'another'"), "altered"),
    "another tool": (first(f"{UPDATE} tool = 'another'"), "altered"),
    "a cursor behind": (
        "UPDATE ingest.streams SET next_sequence = next_sequence - 1 "
        "WHERE stream_id = (SELECT min(stream_id::text)::uuid FROM ingest.streams)",
        "wrong_cursors",
    ),
    "an event too few": (
        "DELETE FROM ingest.outbox WHERE id = (SELECT min(id::text)::uuid FROM ingest.outbox)",
        "wrong_events",
    ),
}


async def test_a_run_without_faults_is_clean(run: Run) -> None:
    found = await check(run.dsn, run.clients, run.history)
    assert found.is_clean, found
    assert found.sent > 1000
    assert found.replayed == 0


@pytest.mark.parametrize(("statement", "kind"), DAMAGES.values(), ids=list(DAMAGES))
async def test_the_checker_sees(run: Run, statement: str, kind: str) -> None:
    servers.execute(run.dsn, statement)
    found = await check(run.dsn, run.clients, run.history)
    assert not found.is_clean
    wrong = {"lost", "duplicated", "foreign", "altered", "wrong_cursors", "wrong_events"}
    assert {name: value for name, value in asdict(found).items() if name in wrong and value} == {
        kind: 1
    }


async def stream_while_the_server_forgets(target: str, dsn: str, source: Source) -> None:
    async with streaming(target, dsn, [source]) as run:
        await run.until_rows_flow()
        # In a thread: the service, which holds the row's lock now and then, runs in this loop.
        forget = "UPDATE ingest.streams SET next_sequence = 0"
        await asyncio.to_thread(servers.execute, dsn, forget)
        while True:
            await run.until_rows_flow()


async def test_a_server_that_forgot_what_it_acknowledged_ends_the_client(
    migrated_database: str,
) -> None:
    """The client would send it again otherwise, and nobody would miss it."""
    fleet = models(1)
    async with serving(migrated_database) as served:
        await create_catalog(served.catalog, fleet)
        target = f"127.0.0.1:{served.app.server.port}"
        with pytest.raises(AssertionError, match="forgot"):
            await stream_while_the_server_forgets(
                target, migrated_database, Source(0, fleet[0], 100)
            )


async def flow(target: str) -> None:
    async with streaming(target, "", [Source(0, models(1)[0], 100)]) as run:
        await run.until_rows_flow(timeout=0.5)


async def test_the_guard_fails_where_no_rows_flow() -> None:
    with pytest.raises(AssertionError, match="did not flow"):
        await flow(f"127.0.0.1:{free_block()}")
