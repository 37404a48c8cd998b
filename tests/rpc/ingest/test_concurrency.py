"""Clients that do the same things at the same time store each result once."""

import asyncio
import random
from collections import Counter

import pytest

from servemark.ingest.v1.result_stream_pb2 import GetStreamCursorRequest
from tests.rpc.ingest.builders import batch, header, now_ms, row, rows
from tests.rpc.ingest.holding import held, waiting_backends
from tests.rpc.ingest.serving import AppendCall, Served, append, serving_ingest

pytestmark = pytest.mark.every_profile


async def test_two_clients_of_one_stream_take_turns(ingest: Served) -> None:
    message = header()
    batches = [batch(sequence, rows(20)) for sequence in range(15)]
    answers = await asyncio.gather(*(append(ingest.stub, message, *batches) for _ in range(4)))
    stored: Counter[int] = Counter()
    for _, acks in answers:
        assert [ack.sequence for ack in acks] == list(range(15))
        for ack in acks:
            stored[ack.sequence] += ack.stored_count
            assert ack.replayed == (ack.stored_count == 0)
    assert stored == Counter(dict.fromkeys(range(15), 20))
    assert ingest.stored() == 300


async def test_clients_of_two_processes_take_turns_on_one_stream(ingest: Served) -> None:
    message = header()
    batches = [batch(sequence, rows(20)) for sequence in range(15)]
    # The stream is known, so the second process needs no catalog.
    await append(ingest.stub, message)
    async with serving_ingest(ingest.dsn, ingest.app.server.port) as (other, _):
        answers = await asyncio.gather(
            append(ingest.stub, message, *batches), append(other, message, *batches)
        )
    assert sum(ack.stored_count for _, acks in answers for ack in acks) == 300
    assert sum(ack.replayed for _, acks in answers for ack in acks) == 15
    assert ingest.stored() == 300


async def test_streams_that_bring_the_same_rows_in_any_order_store_each_once(
    ingest: Served,
) -> None:
    known = rows(300)
    generator = random.Random(7)

    async def bring() -> tuple[int, int]:
        mixed = generator.sample(known, len(known))
        batches = [batch(n, mixed[n * 50 : n * 50 + 50]) for n in range(6)]
        _, acks = await append(ingest.stub, header(), *batches)
        assert not any(ack.rejections for ack in acks)
        return sum(ack.stored_count for ack in acks), sum(ack.duplicate_count for ack in acks)

    # A deadlock between two of them would fail a call.
    brought = await asyncio.gather(*(bring() for _ in range(6)))
    assert sum(stored for stored, _ in brought) == 300
    assert sum(duplicates for _, duplicates in brought) == 5 * 300
    assert ingest.stored() == 300


async def test_batches_with_the_same_rows_never_wait_in_a_circle(ingest: Served) -> None:
    await append(ingest.stub, header(), batch(0, rows(1)))
    known = rows(3)
    async with held(ingest.dsn, known[1]):
        # Each has stored its first row when it meets the one that is held.
        calls = [
            asyncio.create_task(append(ingest.stub, header(), batch(0, order)))
            for order in (known, known[::-1])
        ]
        await waiting_backends(ingest.dsn, 2)
    answers = await asyncio.gather(*calls)
    assert sum(acks[0].stored_count for _, acks in answers) == 3
    assert sum(acks[0].duplicate_count for _, acks in answers) == 3


async def test_clients_of_one_stream_count_duplicates_once(ingest: Served) -> None:
    known = rows(20)
    await append(ingest.stub, header(), batch(0, known))
    message = header()
    batches = [batch(sequence, known) for sequence in range(20)]
    await asyncio.gather(*(append(ingest.stub, message, *batches) for _ in range(6)))
    cursor = await ingest.stub.GetStreamCursor(GetStreamCursorRequest(stream_id=message.stream_id))
    assert (cursor.next_sequence, cursor.stored_count, cursor.duplicate_count) == (20, 0, 400)


async def test_of_racing_rows_with_one_id_one_content_is_stored(ingest: Served) -> None:
    moment = now_ms()
    first = row(moment, figures={"ttft_p50_ms": 1.0})
    rivals = [row(moment, id=first.id, figures={"ttft_p50_ms": float(index)}) for index in range(8)]
    answers = await asyncio.gather(
        *(append(ingest.stub, header(), batch(0, [*rows(30), rival])) for rival in rivals)
    )
    assert sum(len(acks[0].rejections) for _, acks in answers) == 7
    assert ingest.stored() == 8 * 30 + 1


async def test_a_client_may_send_far_ahead_of_its_acknowledgements(ingest: Served) -> None:
    call = AppendCall(ingest.stub)
    await call.open(header())
    count = 60

    async def write() -> None:
        for sequence in range(count):
            await call.send(batch(sequence, rows(100)))

    writing = asyncio.create_task(write())
    acks = [(await call.read()).ack for _ in range(count)]
    await writing
    await call.close()
    assert [ack.sequence for ack in acks] == list(range(count))
    assert ingest.stored() == count * 100


async def test_a_client_that_goes_away_leaves_whole_batches(ingest: Served) -> None:
    message = header()
    for turn in range(5):
        call = AppendCall(ingest.stub)
        opened = await call.open(message)
        for ahead in range(10):
            await call.send(batch(opened.next_sequence + ahead, rows(200)))
        await call.read()
        await asyncio.sleep(0.003 * turn)
        call.call.cancel()
    opened, _ = await append(ingest.stub, message)
    # A cancelled batch may still be committing when the cursor is read.
    assert ingest.stored() % 200 == 0
    assert ingest.stored() >= opened.next_sequence * 200 >= 1000
