"""The roll-up leaves the machine to results that stream in, and is quick when they have stopped."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest

from services.ingest.records import Turn
from services.ingest.rollup import RollUp

SPENT = 0.01


async def shares(newest: Callable[[], Awaitable[datetime | None]], more: bool) -> tuple[int, float]:
    """How many turns of 10 ms were taken in half a second, and their share of it."""
    taken = 0
    spent = 0.0

    async def turn() -> Turn:
        nonlocal taken, spent
        started = time.perf_counter()
        await asyncio.sleep(SPENT)
        taken += 1
        spent += time.perf_counter() - started
        return Turn(1, more)

    started = time.perf_counter()
    loop = asyncio.create_task(RollUp(newest, turn, interval=0.002).run())
    await asyncio.sleep(0.5)
    loop.cancel()
    await asyncio.gather(loop, return_exceptions=True)
    return taken, spent / (time.perf_counter() - started)


async def test_it_takes_a_twentieth_of_the_time_while_marks_keep_coming() -> None:
    made = datetime(2026, 3, 1, tzinfo=UTC)

    async def newest() -> datetime:
        nonlocal made
        made += timedelta(milliseconds=1)
        return made

    taken, share = await shares(newest, more=True)
    assert taken >= 2
    # The last turn's rest is cut off by the end of the test.
    assert share < 0.05 + SPENT * 1.5 / 0.5


async def test_marks_that_come_in_groups_keep_coming() -> None:
    started = time.perf_counter()

    async def newest() -> datetime:
        group = int((time.perf_counter() - started) / 0.05)
        return datetime(2026, 3, 1, tzinfo=UTC) + timedelta(seconds=group)

    async def turn() -> Turn:
        turns.append(time.perf_counter() - started)
        return Turn(1, more=False)

    turns: list[float] = []
    loop = asyncio.create_task(RollUp(newest, turn, interval=0.02).run())
    await asyncio.sleep(1.2)
    loop.cancel()
    await asyncio.gather(loop, return_exceptions=True)
    # A new one at every second look or third.
    assert 1 <= len(turns) <= 4


async def test_the_first_marks_after_a_pause_may_be_the_first_of_many() -> None:
    started = time.perf_counter()
    first: list[float] = []

    async def newest() -> datetime | None:
        now = time.perf_counter() - started
        return None if now < 0.1 else datetime(2026, 3, 1, tzinfo=UTC) + timedelta(seconds=now)

    async def turn() -> Turn:
        first.append(time.perf_counter() - started)
        return Turn()

    loop = asyncio.create_task(RollUp(newest, turn, interval=0.02).run())
    await asyncio.sleep(1)
    loop.cancel()
    await asyncio.gather(loop, return_exceptions=True)
    # The turn at the start looks for a new day; the next comes 25 looks after the first mark.
    assert first[0] < 0.1
    assert first[1] >= 0.1 + 0.4


@pytest.mark.parametrize("made", [None, datetime(2026, 3, 1, tzinfo=UTC)])
async def test_it_does_not_pause_once_they_have_stopped(made: datetime | None) -> None:
    async def newest() -> datetime | None:
        return made

    taken, share = await shares(newest, more=True)
    assert taken >= 10
    assert share > 0.5


async def test_without_marks_it_looks_for_a_new_day_now_and_then() -> None:
    async def newest() -> datetime | None:
        return None

    taken, _ = await shares(newest, more=False)
    assert taken == 1


async def test_it_waits_for_a_database_that_is_away() -> None:
    answers = iter((OSError, OSError, None))
    back = asyncio.Event()

    async def newest() -> datetime | None:
        if error := next(answers, None):
            raise error
        return None

    async def turn() -> Turn:
        back.set()
        return Turn()

    loop = asyncio.create_task(RollUp(newest, turn, interval=0.001).run())
    async with asyncio.timeout(5):
        await back.wait()
    loop.cancel()
    await asyncio.gather(loop, return_exceptions=True)
