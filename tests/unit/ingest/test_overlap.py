"""Work on a stream's items overlaps, keeps its order, and ends as the stream ends."""

import asyncio
import weakref
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from services.ingest.overlap import Turn, overlapped


class Item:
    """An item of a stream."""

    def __init__(self, number: int) -> None:
        self.number = number


async def items(count: int, error: Exception | None = None) -> AsyncGenerator[Item]:
    for number in range(count):
        await asyncio.sleep(0)
        yield Item(number)
    if error is not None:
        raise error


async def settled() -> None:
    for _ in range(200):
        await asyncio.sleep(0)


class Work:
    """Prepares, waits for its turn, and then finishes; `gates` hold what is named back."""

    def __init__(self, **gates: asyncio.Event) -> None:
        self.log: list[str] = []
        self._gates = gates

    async def __call__(self, item: Item, turn: Turn) -> int:
        await self._step(f"prepare{item.number}")
        await turn.come()
        await self._step(f"finish{item.number}")
        return item.number

    async def _step(self, name: str) -> None:
        if name in self._gates:
            await self._gates[name].wait()
        self.log.append(name)


async def test_the_next_is_prepared_beside_and_finished_after() -> None:
    gate = asyncio.Event()
    work = Work(finish0=gate)
    outcomes = overlapped(items(4), work, 2)
    first = asyncio.create_task(anext(outcomes))
    await settled()
    assert work.log == ["prepare0", "prepare1"]
    gate.set()
    assert [await first, *[outcome async for outcome in outcomes]] == [0, 1, 2, 3]
    finished = [step for step in work.log if step.startswith("finish")]
    assert finished == ["finish0", "finish1", "finish2", "finish3"]
    assert work.log.index("prepare2") > work.log.index("finish0")


async def test_what_is_ready_early_waits_for_its_turn() -> None:
    gate = asyncio.Event()
    work = Work(prepare0=gate)
    outcomes = overlapped(items(2), work, 2)
    first = asyncio.create_task(anext(outcomes))
    await settled()
    assert work.log == ["prepare1"]
    gate.set()
    assert [await first, await anext(outcomes)] == [0, 1]
    assert work.log == ["prepare1", "prepare0", "finish0", "finish1"]


async def test_an_error_of_the_source_comes_after_the_outcomes_before_it() -> None:
    outcomes = overlapped(items(3, ValueError("broken")), Work(), 2)
    assert [await anext(outcomes) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="broken"):
        await anext(outcomes)


async def test_when_work_fails_nothing_after_it_is_finished() -> None:
    log: list[str] = []

    async def work(item: Item, turn: Turn) -> int:
        try:
            await turn.come()
            if item.number == 1:
                await settled()
                raise ValueError("failed")
            log.append(f"finish{item.number}")
            return item.number
        finally:
            log.append(f"end{item.number}")

    outcomes = overlapped(items(4), work, 3)
    assert await anext(outcomes) == 0
    with pytest.raises(ValueError, match="failed"):
        await anext(outcomes)
    assert "finish2" not in log
    # What was begun has ended before the error is told.
    assert {"end1", "end2", "end3"} <= set(log)


async def test_a_consumer_that_leaves_ends_the_work() -> None:
    ended: list[int] = []

    async def work(item: Item, turn: Turn) -> int:
        try:
            await turn.come()
            if item.number:
                await asyncio.Event().wait()
            return item.number
        finally:
            ended.append(item.number)

    outcomes = overlapped(items(4), work, 2)
    assert await anext(outcomes) == 0
    waiting = asyncio.create_task(anext(outcomes))
    await settled()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert sorted(ended) == [0, 1, 2]


async def test_a_turn_that_is_not_waited_for_any_longer_leaves_the_work_before_alone() -> None:
    gate = asyncio.Event()

    async def work(item: Item, turn: Turn) -> Any:
        if item.number == 0:
            await gate.wait()
            return "first"
        assert not turn.has_come()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await turn.come()
        gate.set()
        await turn.come()
        assert turn.has_come()
        return "second"

    outcomes = overlapped(items(2), work, 2)
    assert [outcome async for outcome in outcomes] == ["first", "second"]


async def test_an_item_that_is_done_is_let_go() -> None:
    alive: list[weakref.ref[Item]] = []

    async def source() -> AsyncGenerator[Item]:
        for number in range(3):
            item = Item(number)
            alive.append(weakref.ref(item))
            yield item
            del item
        await asyncio.Event().wait()

    async def work(item: Item, turn: Turn) -> int:
        await turn.come()
        return item.number

    outcomes = overlapped(source(), work, 2)
    assert [await anext(outcomes) for _ in range(3)] == [0, 1, 2]
    waiting = asyncio.create_task(anext(outcomes))
    await settled()
    assert [item() for item in alive] == [None, None, None]
    waiting.cancel()
    await settled()
