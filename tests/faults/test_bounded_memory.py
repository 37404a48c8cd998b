"""While the database stands still, clients wait, and the process they send to does not grow.

What it may hold besides its limit: the batch that reached the limit; of each call one message, as
it came and parsed, and what HTTP/2 lets a client send ahead; and what the allocator keeps.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import asyncpg
import grpc
import pytest

from servemark.ingest.v1.ingest_service_pb2_grpc import IngestServiceStub
from servemark.ingest.v1.result_stream_pb2 import ResultBatch
from tests.rpc.catalog.serving import serving as serving_catalog
from tests.rpc.ingest.builders import batch, header, row
from tests.rpc.ingest.process import ingest_process
from tests.rpc.ingest.serving import AppendCall, seed
from tests.support import servers

pytestmark = pytest.mark.faults

MIB = 1024 * 1024
STREAMS = 16
BATCHES = 4
ROWS = 250
LIMIT = 32 * MIB
# A batch counts six times, see the engine. The last is the allocator's: what the process had at
# most differed by 32 MiB from one run of this test to the next.
ALLOWANCE = 6 * 4 * MIB + STREAMS * (4 + 4 + 1) * MIB + 64 * MIB


def full_batch(sequence: int) -> ResultBatch:
    """A batch of nearly 4 MiB, most of it the tool's own figures."""
    figures = json.dumps({f"key_{number:04}": "v" * 68 for number in range(190)})
    return batch(sequence, [row(detailed_metrics_json=figures) for _ in range(ROWS)])


def memory(pid: int, field: str) -> int:
    """Bytes of main memory a process has (VmRSS) or had at most (VmHWM)."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"^{field}:\s+(\d+) kB$", status, re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


class Client:
    """One stream on a connection of its own, that sends as fast as it is let."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.call = AppendCall(IngestServiceStub(channel))
        self.sent = 0

    async def send(self) -> None:
        for sequence in range(BATCHES):
            await self.call.send(full_batch(sequence))
            self.sent += 1

    async def read(self) -> int:
        """Rows stored, once every batch is acknowledged, in order."""
        stored = 0
        for sequence in range(BATCHES):
            ack = (await self.call.read()).ack
            assert (ack.sequence, ack.replayed) == (sequence, False)
            stored += ack.stored_count
        return stored


@asynccontextmanager
async def clients(target: str) -> AsyncIterator[list[Client]]:
    """Streams that are open and have sent nothing yet."""
    own = [("grpc.use_local_subchannel_pool", 1)]
    async with AsyncExitStack() as channels:
        opened = [
            Client(await channels.enter_async_context(grpc.aio.insecure_channel(target, own)))
            for _ in range(STREAMS)
        ]
        for client in opened:
            await client.call.open(header())
        yield opened


@asynccontextmanager
async def standing_still(dsn: str) -> AsyncIterator[None]:
    """Nothing can be written into the results until the end of the block."""
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE ingest.benchmark_results IN SHARE MODE")
            yield
    finally:
        await connection.close()


async def test_a_database_that_stands_still_makes_clients_wait_and_not_the_process_grow(
    fresh_database: str,
) -> None:
    await asyncio.to_thread(asyncio.run, seed(fresh_database))
    async with serving_catalog(fresh_database) as catalog:
        with ingest_process(
            fresh_database,
            catalog.app.server.port,
            MAX_BYTES_IN_FLIGHT=LIMIT,
            # Each stream waits with a connection of its own.
            DATABASE_POOL_SIZE=STREAMS + 8,
        ) as service:
            async with clients(service.target) as streams:
                pid = service.started.pid
                before = memory(pid, "VmRSS")
                async with standing_still(fresh_database):
                    sending = [asyncio.create_task(one.send()) for one in streams]
                    reading = [asyncio.create_task(one.read()) for one in streams]
                    await until_nothing_moves(pid, streams)
                    # They would send more, and have sent more than is let in.
                    assert not any(task.done() for task in (*sending, *reading))
                    assert sum(one.sent for one in streams) * 3 * MIB > LIMIT
                    grown = memory(pid, "VmHWM") - before
                    assert LIMIT < grown <= LIMIT + ALLOWANCE, f"{grown / MIB:.0f} MiB"
                stored = await asyncio.gather(*reading)
                for one in streams:
                    await one.call.close()
                # Nor does it grow once everything moves.
                grown = memory(pid, "VmHWM") - before
                assert grown <= LIMIT + ALLOWANCE, f"{grown / MIB:.0f} MiB"
    assert stored == [BATCHES * ROWS] * STREAMS
    query = "SELECT count({}) FROM ingest.benchmark_results"
    assert servers.fetch_value(fresh_database, query.format("*")) == sum(stored)
    assert servers.fetch_value(fresh_database, query.format("DISTINCT id")) == sum(stored)


async def until_nothing_moves(pid: int, streams: list[Client]) -> None:
    """Returns after two seconds in which no client could send and the process stayed as it was."""
    seen, quiet = None, 0
    async with asyncio.timeout(30):
        while quiet < 20:
            now = (sum(one.sent for one in streams), memory(pid, "VmRSS") // MIB)
            seen, quiet = now, quiet + 1 if now == seen else 0
            await asyncio.sleep(0.1)
