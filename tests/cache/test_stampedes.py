"""One reading for a process and a key, and one for all processes while Redis is there."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from servemark.runtime import redis_connections
from servemark.runtime.cache import patience, reading, shared
from tests.cache.things import THINGS, Process, World

READERS = 500


@pytest.fixture
async def four(
    world: World, valkey: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[list[Process]]:
    """Four processes, each with its own connections, and more patience than this machine needs."""
    for module in (patience, redis_connections):
        monkeypatch.setattr(module, "LONGEST_WAIT_SECONDS", 60.0)
    monkeypatch.setattr(reading, "_WAIT_SECONDS", 60.0)
    monkeypatch.setattr(shared, "LOCK_MS", 60_000)
    made = [Process(world, valkey) for _ in range(4)]
    for process in made:
        await process.turn()
    yield made
    for process in made:
        await process.close()


async def _rush(world: World, four: list[Process]) -> Counter[bytes]:
    """Everybody reads at once what takes a while to read; what they get."""
    world.may_load.clear()
    reads = [asyncio.ensure_future(four[n % 4].read("a")) for n in range(READERS)]
    await world.loading.wait()
    await asyncio.sleep(0.1)
    world.may_load.set()
    return Counter(reply.message for reply in await asyncio.gather(*reads))


async def test_five_hundred_readers_of_an_expired_key_make_one_reading(
    world: World, four: list[Process]
) -> None:
    await world.write("a")
    await four[0].read("a")
    await four[0].settle()
    # Its time is over, everywhere.
    world.clock.now += 2 * THINGS.lifetime
    await four[0].redis.delete(THINGS.key("a"))
    world.loads = 0
    await world.clear()
    await world.write("a")
    world.clock.now += 0.1
    for process in four:
        await process.turn()
    assert await _rush(world, four) == {b"1": READERS}
    assert world.loads == 1


async def test_without_redis_they_make_one_reading_for_each_process(
    world: World, four: list[Process]
) -> None:
    for process in four:
        await process.deafen()
    assert await _rush(world, four) == {b"0": READERS}
    assert world.loads == 4


async def test_a_process_that_dies_while_it_reads_holds_up_nobody_for_long(
    world: World, process: Process, other: Process
) -> None:
    world.may_load.clear()
    reading = asyncio.ensure_future(process.read("a"))
    await world.loading.wait()
    for task in process.cache._tasks:
        task.cancel()
    world.may_load.set()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert (await other.read("a")).level == "DB"


async def test_a_reply_still_asked_for_is_read_anew_before_it_goes(
    world: World, process: Process, other: Process
) -> None:
    for reader in (process, other):
        await reader.read("a")
        await reader.settle()
    assert world.loads == 1
    # Later than 0.8 of every lifetime, earlier than any reply leaves the memory.
    world.clock.now += 80.5
    for reader in (process, other):
        await reader.turn()
    replies = [await reader.read("a") for reader in (process, other) for _ in range(10)]
    assert {reply.level for reply in replies} == {"L1"}
    for reader in (process, other):
        await reader.settle()
    assert world.loads == 2
