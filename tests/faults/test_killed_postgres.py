"""PostgreSQL struck down in the middle of a COPY, under clients that stream columns."""

import asyncio
import os
import signal

import asyncpg
import grpc
import pytest

from tests.faults.checker import check
from tests.faults.clients import Source
from tests.faults.conftest import Report
from tests.faults.place import MODELS, Place, place
from tests.faults.run import SECONDS, faults_wanted, streaming, summary
from tests.support.simulation.fleet import models

FAULTS_IN_45_SECONDS = 10

# A COPY that has brought some rows and is not at its end.
IN_THE_MIDDLE = """
    SELECT pid FROM pg_stat_progress_copy
    WHERE command = 'COPY FROM' AND tuples_processed > 0 LIMIT 1
"""


async def copying_backend(dsn: str) -> int:
    """The process id of a backend that is in the middle of a COPY, once there is one."""
    connection = await asyncpg.connect(dsn)
    try:
        async with asyncio.timeout(10):
            while True:
                pid = await connection.fetchval(IN_THE_MIDDLE)
                if pid is not None:
                    return int(pid)
                await asyncio.sleep(0)
    finally:
        # Without a farewell: the answer is true for some milliseconds only.
        connection.terminate()


def restart(there: Place) -> None:
    """Shuts the whole server down without a checkpoint, and starts it again."""
    if there.postgres.pid is None:
        raise AssertionError("the server is not started")
    os.kill(there.postgres.pid, signal.SIGQUIT)
    there.postgres.stop()
    there.postgres.start()


@pytest.mark.faults
async def test_rows_are_stored_once_however_often_the_database_recovers(report: Report) -> None:
    wanted = faults_wanted(FAULTS_IN_45_SECONDS)
    sources = [Source(number, model, 5000) for number, model in enumerate(models(MODELS))]
    async with place() as there:
        async with streaming(there.ingest.target, there.dsn, sources) as run:
            while run.seconds < SECONDS or len(run.history.faults) < wanted:
                rate = await run.until_rows_flow()
                pid = await copying_backend(there.dsn)
                if len(run.history.faults) % 2 == 0:
                    # The server ends all other backends then, and recovers from its log.
                    run.note("kill -9 of a backend", rate)
                    os.kill(pid, signal.SIGKILL)
                else:
                    run.note("immediate restart", rate)
                    await asyncio.to_thread(restart, there)
                assert run.seconds < 3 * SECONDS, f"{len(run.history.faults)} faults only"
        recoveries = there.postgres.log.read_text().count("redo done")
        found = await check(there.dsn, run.clients, run.history)
    report(summary(run, "F4, PostgreSQL killed", found))
    assert found.is_clean, found
    assert found.replayed > 0
    assert set(run.history.ended) == {grpc.StatusCode.UNAVAILABLE}, run.history.first_details
    assert max(run.history.recoveries()) < 10
    assert recoveries == len(run.history.faults)
