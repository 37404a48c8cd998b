"""The ingest service killed again and again under clients that stream columns."""

import asyncio
import random

import grpc
import pytest

from tests.faults.checker import check
from tests.faults.clients import Source
from tests.faults.conftest import Report
from tests.faults.place import MODELS, place
from tests.faults.run import SECONDS, faults_wanted, streaming, summary
from tests.support.simulation.fleet import models

KILLS_IN_45_SECONDS = 30


@pytest.mark.faults
async def test_rows_are_stored_once_however_often_the_service_is_killed(report: Report) -> None:
    wanted = faults_wanted(KILLS_IN_45_SECONDS)
    sources = [
        Source(number, model, 1000, mixes_rows=number == 3, repeats=number == 2)
        for number, model in enumerate(models(MODELS))
    ]
    moment = random.Random(1)
    async with place() as there:
        async with streaming(there.ingest.target, there.dsn, sources) as run:
            while run.seconds < SECONDS or len(run.history.faults) < wanted:
                rate = await run.until_rows_flow()
                # So that every kill meets its batches at another point.
                await asyncio.sleep(moment.uniform(0, 0.1))
                run.note("kill -9", rate)
                await asyncio.to_thread(there.ingest.kill)
                await asyncio.to_thread(there.ingest.start)
                assert run.seconds < 3 * SECONDS, f"{len(run.history.faults)} kills only"
        found = await check(there.dsn, run.clients, run.history)
    report(summary(run, "F1, ingest killed", found))
    assert found.is_clean, found
    assert found.replayed > 0
    assert set(run.history.ended) == {grpc.StatusCode.UNAVAILABLE}, run.history.first_details
    assert max(run.history.recoveries()) < 10
