"""A batch is copied while the one before it is stored, and nothing about the outcome changes."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from servemark.ingest.v1.benchmark_result_pb2 import ResultRow
from servemark.ingest.v1.result_stream_pb2 import BatchAck, ResultBatch, StreamHeader
from tests.rpc.ingest.builders import batch, header, now_ms, row
from tests.rpc.ingest.serving import AppendCall, Served
from tests.support.failures import failure

# Transactions that have put rows into a day's table and are not committed.
COPYING = """
    SELECT count(DISTINCT pid) FROM pg_locks
    WHERE mode = 'RowExclusiveLock'
        AND relation::regclass::text LIKE 'ingest.benchmark\\_results\\_2%'
"""


def ascending(count: int, start_ms: int) -> list[ResultRow]:
    """Rows whose ids rise from one to the next."""
    return [row(start_ms + number) for number in range(count)]


@asynccontextmanager
async def held_cursor(served: Served, message: StreamHeader) -> AsyncIterator[None]:
    """Another client has the stream's cursor for as long as the block lasts."""
    connection = await asyncpg.connect(served.dsn)
    try:
        async with connection.transaction():
            held = await connection.fetchval(
                "SELECT 1 FROM ingest.streams WHERE stream_id = $1 FOR UPDATE", message.stream_id
            )
            assert held == 1
            yield
    finally:
        await connection.close()


async def until(served: Served, query: str, wanted: Any) -> None:
    """Returns once the database answers so."""
    async with asyncio.timeout(10):
        while await asyncio.to_thread(served.value, query) != wanted:
            await asyncio.sleep(0.01)


async def sent(served: Served, message: StreamHeader, *batches: ResultBatch) -> AppendCall:
    """A call that has sent these batches and read no acknowledgement."""
    call = AppendCall(served.stub)
    await call.open(message)
    for one in batches:
        await call.send(one)
    return call


async def acks_of(call: AppendCall, count: int) -> list[BatchAck]:
    return [(await call.read()).ack for _ in range(count)]


async def test_the_next_batch_is_copied_meanwhile_and_stored_after(ingest: Served) -> None:
    message, start = header(), now_ms() - 60_000
    first, second = ascending(5, start), ascending(5, start + 100)
    # The first batch opens the stream's row, so that it can be held.
    await (await sent(ingest, message)).close()
    async with held_cursor(ingest, message):
        call = await sent(ingest, message, batch(0, first), batch(1, second))
        # The first waits for the cursor before it copies anything.
        await until(ingest, COPYING, 1)
        assert ingest.stored() == 0
    assert [ack.stored_count for ack in await acks_of(call, 2)] == [5, 5]
    await call.close()
    assert ingest.stored() == 10


async def test_who_waits_too_long_lets_go_and_is_stored_in_its_turn(ingest: Served) -> None:
    message, start = header(), now_ms() - 60_000
    await (await sent(ingest, message)).close()
    async with held_cursor(ingest, message):
        call = await sent(
            ingest,
            message,
            batch(0, ascending(5, start)),
            batch(1, ascending(5, start + 100)),
        )
        await until(ingest, COPYING, 1)
        await until(ingest, COPYING, 0)
    assert [ack.stored_count for ack in await acks_of(call, 2)] == [5, 5]
    await call.close()


async def test_batches_that_share_ids_are_not_copied_beside_each_other(ingest: Served) -> None:
    message, start = header(), now_ms() - 60_000
    rows = ascending(9, start)
    await (await sent(ingest, message)).close()
    async with held_cursor(ingest, message):
        call = await sent(ingest, message, batch(0, rows[:6]), batch(1, rows[3:]))
        await asyncio.sleep(0.5)
        assert await asyncio.to_thread(ingest.value, COPYING) == 0
    acks = await acks_of(call, 2)
    assert [(ack.stored_count, ack.duplicate_count) for ack in acks] == [(6, 0), (3, 3)]
    await call.close()


async def test_nothing_is_stored_of_a_batch_after_one_that_is_refused(ingest: Served) -> None:
    message, start = header(), now_ms() - 60_000
    call = await sent(
        ingest,
        message,
        batch(0, ascending(3, start)),
        batch(7, ascending(3, start + 100)),
        batch(8, ascending(3, start + 200)),
    )
    assert [ack.stored_count for ack in await acks_of(call, 1)] == [3]
    refused = await failure(call.read())
    assert refused.reason == "SEQUENCE_GAP"
    assert refused.metadata["expected_sequence"] == "1"
    assert ingest.stored() == 3
    await until(ingest, COPYING, 0)


def cut(rows: Sequence[ResultRow], places: Sequence[int]) -> list[ResultBatch]:
    """The rows as batches that end at these places."""
    ends = [*places, len(rows)]
    starts = [0, *places]
    return [
        batch(sequence, rows[start:end])
        for sequence, (start, end) in enumerate(zip(starts, ends, strict=True))
    ]


@pytest.mark.parametrize("shift", [1, 499, 500, 501, 999])
async def test_two_streams_with_the_same_rows_do_not_hold_each_other(
    ingest: Served, shift: int
) -> None:
    rows = ascending(4_000, now_ms() - 60_000)
    ends = range(1_000, 4_000, 1_000)
    streams = [cut(rows, ends), cut(rows, [end - shift for end in ends])]
    started = time.monotonic()
    calls = [await sent(ingest, header(), *batches) for batches in streams]
    acks = await asyncio.gather(*(acks_of(call, 4) for call in calls))
    for call in calls:
        await call.close()
    assert sum(ack.stored_count for one in acks for ack in one) == 4_000
    assert sum(ack.duplicate_count for one in acks for ack in one) == 4_000
    assert ingest.stored() == 4_000
    # Each ring that could not be avoided costs two seconds.
    assert time.monotonic() - started < 30
