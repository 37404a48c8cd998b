"""The same rows sent again and again, as whoever lost an answer does: each is stored once."""

from dataclasses import replace
from typing import Final
from uuid import uuid4

import grpc
import pytest

from servemark.ingest.v1.ingest_service_pb2_grpc import IngestServiceStub
from tests.faults.clients import Source
from tests.faults.conftest import Report
from tests.faults.place import place
from tests.faults.run import SECONDS
from tests.rpc.ingest.serving import AppendCall
from tests.support import servers
from tests.support.simulation.fleet import models

ROWS: Final = 100_000 if SECONDS >= 45 else 10_000
BATCH_ROWS: Final = 1000


@pytest.mark.faults
async def test_rows_that_are_sent_three_times_are_stored_once(report: Report) -> None:
    [model] = models(1)
    first = Source(0, model, BATCH_ROWS)
    # The stream that is known and goes on from its cursor, and one that knows nothing of it.
    sources = [first, first, replace(first, stream_id=str(uuid4()))]
    told = []
    async with place() as there:
        for source in sources:
            stored = duplicates = 0
            async with grpc.aio.insecure_channel(there.ingest.target) as channel:
                call = AppendCall(IngestServiceStub(channel))
                await call.open(source.header)
                for sequence in range(ROWS // BATCH_ROWS):
                    ack = await call.append(source.batch(sequence))
                    stored, duplicates = stored + ack.stored_count, duplicates + ack.duplicate_count
                await call.close()
            told.append((stored, duplicates))
        found = servers.fetch_value(there.dsn, "SELECT count(*) FROM ingest.benchmark_results")
        events = servers.fetch_value(there.dsn, "SELECT count(*) FROM ingest.outbox")
    report([f"F22, {ROWS:,} rows three times: {found:,} stored, {events} events"])
    assert found == ROWS
    assert events == ROWS // BATCH_ROWS
    assert told[0] == (ROWS, 0)
    assert told[2] == (0, ROWS)
