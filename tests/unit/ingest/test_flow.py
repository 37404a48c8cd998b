"""A stream is read ahead so far and no further, and ends as its source ended."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import pytest

from services.ingest.flow import MemoryGate, read_ahead

ROOMY = 1 << 40


@dataclass(frozen=True)
class Item:
    """Something that holds so many bytes."""

    number: int
    byte_size: int = 10


class Source:
    """Numbers its items, and counts how many were taken."""

    def __init__(self, count: int, error: Exception | None = None) -> None:
        self.taken = 0
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


async def settled() -> None:
    """Lets every task run until it waits."""
    for _ in range(200):
        await asyncio.sleep(0)


async def test_items_come_in_order_and_end() -> None:
    source = Source(40)
    got = [item.number async for item in read_ahead(source.items(), 16, MemoryGate(ROOMY))]
    assert got == list(range(40))


async def test_no_more_than_the_limit_is_taken_in_and_not_done() -> None:
    source = Source(40)
    reader = read_ahead(source.items(), 16, MemoryGate(ROOMY))
    await anext(reader)
    await settled()
    assert source.taken == 16
    # Asking for the next says that the first is done.
    await anext(reader)
    await settled()
    assert source.taken == 17
    await reader.aclose()


async def test_an_error_comes_after_the_items_before_it() -> None:
    reader = read_ahead(Source(3, ValueError("broken")).items(), 16, MemoryGate(ROOMY))
    assert [(await anext(reader)).number for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="broken"):
        await anext(reader)


async def test_nothing_is_read_while_the_process_holds_its_limit() -> None:
    gate = MemoryGate(35)
    first, second = Source(20), Source(20)
    slow = read_ahead(first.items(), 16, gate)
    await anext(slow)
    await settled()
    assert (first.taken, gate.held) == (4, 40)
    other = read_ahead(second.items(), 16, gate)
    waiting = asyncio.create_task(anext(other))
    await settled()
    assert second.taken == 0
    await anext(slow)
    async with asyncio.timeout(5):
        assert (await waiting).number == 0
    await slow.aclose()
    await other.aclose()
    assert gate.held == 0


async def test_what_waits_is_let_go_when_the_consumer_leaves() -> None:
    gate = MemoryGate(ROOMY)
    reader = read_ahead(Source(40).items(), 16, gate)
    await anext(reader)
    await settled()
    assert gate.held == 160
    await reader.aclose()
    await settled()
    assert gate.held == 0
