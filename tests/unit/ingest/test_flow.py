"""A stream is read ahead so far and no further, and ends as its source ended."""

import asyncio
import weakref
from collections.abc import AsyncGenerator

import pytest

from services.ingest.flow import MemoryGate, Taken, read_ahead

ROOMY = 1 << 40


class Item:
    """A message, and what becomes of it."""

    def __init__(self, number: int) -> None:
        self.number = number


class Source:
    """Numbers its items, and counts how many were taken and how many checked."""

    def __init__(self, count: int, error: Exception | None = None) -> None:
        self.taken = 0
        self.checked = 0
        self._count = count
        self._error = error

    async def items(self) -> AsyncGenerator[Item]:
        for number in range(self._count):
            # As a client's messages, the items are not all there at once.
            await asyncio.sleep(0)
            self.taken += 1
            yield Item(number)
        if self._error is not None:
            raise self._error

    async def check(self, item: Item) -> Item:
        await asyncio.sleep(0)
        self.checked += 1
        return item


def reading(source: Source, gate: MemoryGate) -> AsyncGenerator[Taken[Item]]:
    """The items of a source, each of which holds ten bytes, 16 at a time."""
    return read_ahead(source.items(), source.check, lambda _: 10, 16, gate)


async def numbers(reader: AsyncGenerator[Taken[Item]]) -> list[int]:
    """The numbers of all items, each done with before the next is asked for."""
    found = []
    async for taken in reader:
        found.append(taken.item.number)
        taken.done()
    return found


async def settled() -> None:
    """Lets every task run until it waits."""
    for _ in range(200):
        await asyncio.sleep(0)


async def test_items_come_in_order_and_end() -> None:
    source = Source(40)
    assert await numbers(reading(source, MemoryGate(ROOMY))) == list(range(40))


async def test_no_more_than_the_limit_is_taken_in_and_not_done() -> None:
    source = Source(40)
    reader = reading(source, MemoryGate(ROOMY))
    first = await anext(reader)
    second = await anext(reader)
    await settled()
    assert source.taken == 16
    # Which is done first is the consumer's affair; twice done counts once.
    second.done()
    second.done()
    await settled()
    assert source.taken == 17
    first.done()
    await settled()
    assert source.taken == 18
    with pytest.raises(LookupError):
        first.item  # noqa: B018
    await reader.aclose()


async def test_an_error_comes_after_the_items_before_it() -> None:
    reader = reading(Source(3, ValueError("broken")), MemoryGate(ROOMY))
    assert [(await anext(reader)).item.number for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="broken"):
        await anext(reader)


async def test_nothing_is_read_while_the_process_holds_its_limit() -> None:
    gate = MemoryGate(35)
    first, second = Source(20), Source(20)
    slow = reading(first, gate)
    taken = [await anext(slow) for _ in range(3)]
    await settled()
    assert (first.taken, gate.held) == (4, 40)
    other = reading(second, gate)
    waiting = asyncio.create_task(anext(other))
    await settled()
    assert second.taken == 0
    # A stream that has much in hand already does not take the next place before it, either.
    taken[0].done()
    await settled()
    taken[1].done()
    async with asyncio.timeout(5):
        last = await waiting
    assert last.item.number == 0
    await slow.aclose()
    await other.aclose()
    taken[2].done()
    last.done()
    assert gate.held == 0


async def test_what_waits_is_let_go_when_the_consumer_leaves() -> None:
    gate = MemoryGate(ROOMY)
    reader = reading(Source(40), gate)
    taken = await anext(reader)
    await settled()
    assert gate.held == 160
    await reader.aclose()
    await settled()
    assert gate.held == 10
    taken.done()
    assert gate.held == 0


async def test_what_arrives_when_the_room_is_gone_waits_unchecked() -> None:
    gate = MemoryGate(35)
    sources = [Source(20) for _ in range(8)]
    readers = [reading(source, gate) for source in sources]
    # All ask while there is room.
    waiting = [asyncio.create_task(anext(reader)) for reader in readers]
    await settled()
    assert [source.taken for source in sources] == [1] * 8
    assert (gate.held, sum(source.checked for source in sources)) == (40, 4)
    for turn in range(5):
        done = [task for task in waiting if task.done()]
        assert len(done) == min(4 + turn, 8)
        if turn < 4:
            await readers[waiting.index(done[turn])].aclose()
            done[turn].result().done()
            await settled()
        assert gate.held <= 40
    for reader, task in zip(readers, waiting, strict=True):
        await reader.aclose()
        task.result().done()
    await settled()
    assert gate.held == 0


async def test_a_refused_item_and_a_consumer_that_leaves_in_a_check_hold_nothing() -> None:
    gate = MemoryGate(ROOMY)
    stuck = asyncio.Event()

    async def refuse(item: Item) -> Item:
        if item.number == 1:
            raise ValueError("refused")
        return item

    async def hang(item: Item) -> Item:
        await stuck.wait()
        return item

    reader = read_ahead(Source(3).items(), refuse, lambda _: 10, 16, gate)
    first = await anext(reader)
    first.done()
    with pytest.raises(ValueError, match="refused"):
        await anext(reader)
    assert gate.held == 0
    hanging = read_ahead(Source(3).items(), hang, lambda _: 10, 16, gate)
    waiting = asyncio.create_task(anext(hanging))
    await settled()
    assert gate.held == 10
    waiting.cancel()
    await settled()
    assert gate.held == 0


async def test_an_idle_call_keeps_no_item_that_is_done() -> None:
    alive: list[weakref.ref[Item]] = []
    more = asyncio.Event()

    async def one_then_nothing() -> AsyncGenerator[Item]:
        item = Item(0)
        alive.append(weakref.ref(item))
        yield item
        del item
        await more.wait()

    async def same(item: Item) -> Item:
        return item

    reader = read_ahead(one_then_nothing(), same, lambda _: 10, 16, MemoryGate(ROOMY))
    taken = await anext(reader)
    taken.done()
    waiting = asyncio.create_task(anext(reader))
    await settled()
    assert alive[0]() is None
    waiting.cancel()
    await settled()
