"""Processes of the ranking read in turns: none is overtaken for ever, none holds up the others."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.ranking import store_matrix
from services.ranking.matrix import Matrix
from services.ranking.refresh import Refresher
from tests.rpc.ranking.test_incremental import Growing, another, growth
from tests.rpc.ranking.world import run


@pytest.fixture
async def growing(migrated_database: str) -> AsyncIterator[Growing]:
    """A world with a use case, one result and its matrix."""
    async with growth(migrated_database) as found:
        await found.world.store(run(ttft_p50_ms=7.0))
        await found.refresher.refresh()
        yield found


async def in_turn(refresher: Refresher, ids: list[str] | None = None) -> Matrix:
    """The matrix after a refresh in its turn, as everybody makes one who follows events."""
    async with refresher.turn():
        return await refresher.refresh(ids)


class Slow:
    """A reader that takes its time, or all time there is."""

    def __init__(self, reader: Any, seconds: float) -> None:
        self._reader = reader
        self._seconds = seconds
        self.begun = asyncio.Event()

    async def read(self, *given: Any) -> Any:
        self.begun.set()
        found = await self._reader.read(*given)
        await asyncio.sleep(self._seconds)
        return found


async def test_who_reads_slowly_has_a_turn_while_others_publish_all_the_time(
    growing: Growing, migrated_database: str
) -> None:
    await growing.world.store(run(concurrency=50, ttft_p50_ms=6.0))
    slow = Slow(growing.new_reader(), 0.3)
    async with another(migrated_database, slow) as other:
        theirs = asyncio.ensure_future(in_turn(other))
        await slow.begun.wait()
        for turn in range(20):
            ids = await growing.world.store(run(concurrency=turn + 2, ttft_p50_ms=6.0))
            matrix = await in_turn(growing.refresher, ids)
            if theirs.done():
                break
        assert theirs.done(), "it has published none of 20 versions"
        # What it has read was not in vain.
        assert (await theirs).version == 2
    assert matrix.content == await growing.scratch()


async def test_who_stands_still_in_its_turn_loses_it(
    growing: Growing, migrated_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_matrix, "_LONGEST_TURN_MS", 300)
    await growing.world.store(run(concurrency=50, ttft_p50_ms=6.0))
    frozen = Slow(growing.new_reader(), 2.0)
    async with another(migrated_database, frozen) as other:
        theirs = asyncio.ensure_future(in_turn(other))
        await frozen.begun.wait()
        ids = await growing.world.store(run(concurrency=2, ttft_p50_ms=6.0))
        assert (await in_turn(growing.refresher, ids)).version == 2
        assert not theirs.done()
        # It goes on where it stood, finds that others went ahead, and reads again.
        matrix = await theirs
        assert (matrix.version, len(matrix.rows)) == (3, 3)


async def test_a_reading_that_fails_says_why_and_lets_others_read(
    growing: Growing, migrated_database: str
) -> None:
    class Broken:
        async def read(self, *_: Any) -> Any:
            raise OSError("the network is away")

    async with another(migrated_database, Broken()) as other:
        with pytest.raises(OSError, match="the network is away"):
            await in_turn(other)
        ids = await growing.world.store(run(concurrency=2, ttft_p50_ms=6.0))
        assert (await in_turn(growing.refresher, ids)).version == 2
