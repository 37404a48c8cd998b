"""Where replies come from, and what makes them come from elsewhere."""

import asyncio

from servemark.cache.v1.cache_pb2 import CacheInvalidation
from servemark.runtime.cache.families import CHANNEL
from tests.cache.things import THINGS, Process, Relay, World


async def test_a_reply_comes_from_the_nearest_level_that_has_it(
    world: World, process: Process, other: Process
) -> None:
    await world.write("a")
    assert (await process.read("a")).level == "DB"
    assert (await process.read("a")).level == "L1"
    assert (await other.read("a")).level == "L2"
    assert (await other.read("a")).level == "L1"
    assert world.loads == 1


async def test_a_change_that_is_told_is_seen_by_every_process_at_once(
    world: World, relay: Relay, process: Process, other: Process
) -> None:
    await world.write("a")
    await relay.turn()
    for reader in (process, other):
        await reader.turn()
        await reader.read("a")
    await world.write("a")
    await relay.turn()
    for reader in (process, other):
        await reader.turn()
        assert (await reader.read("a")).message == b"2"


async def test_who_changes_something_and_asks_the_same_process_finds_it_changed(
    world: World, relay: Relay, process: Process, other: Process
) -> None:
    await process.write("a")
    await relay.turn()
    for reader in (process, other):
        await reader.turn()
        await reader.read("a")
    world.clock.now += 0.1
    await process.write("a")
    # Neither memory nor Redis has heard of it.
    assert (await other.read("a")).message == b"1"
    assert [(await process.read("a")).message for _ in range(2)] == [b"2", b"2"]
    await relay.turn()
    world.clock.now += 0.1
    await process.turn()
    assert [(await process.read("a")).level for _ in range(2)] == ["DB", "L1"]


async def test_without_knowing_of_changes_everything_is_read_from_the_database(
    world: World, process: Process
) -> None:
    await world.write("a")
    assert [(await process.read("a")).level for _ in range(2)] == ["DB", "L1"]
    world.clock.now += 1.2
    assert [(await process.read("a")).level for _ in range(2)] == ["DB", "DB"]
    await process.turn()
    # What is told waits for the relay, which does not run.
    assert (await process.read("a")).level == "DB"


async def test_the_age_of_a_reply_is_told(world: World, relay: Relay, process: Process) -> None:
    await world.write("a")
    await relay.turn()
    await process.turn()
    await process.read("a")
    world.clock.now += 0.7
    reply = await process.read("a")
    assert (reply.level, round(reply.age, 1)) == ("L1", 0.7)


async def test_a_lost_subscription_empties_the_memory(
    world: World, process: Process, other: Process
) -> None:
    await process.read("a")
    assert (await process.read("a")).level == "L1"
    await process.deafen()
    await process.turn()
    assert (await process.read("a")).level == "L2"


async def test_an_error_reaches_all_who_wait_and_is_not_kept(
    world: World, process: Process
) -> None:
    failures = 0

    async def fail() -> bytes:
        nonlocal failures
        failures += 1
        await asyncio.sleep(0.01)
        raise LookupError("nothing here")

    async def read() -> None:
        await process.cache.get(THINGS, THINGS.key("a"), fail, tags=("thing:a",))

    outcomes = await asyncio.gather(*(read() for _ in range(5)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [LookupError] * 5
    assert failures == 1
    assert (await process.read("a")).level == "DB"


async def test_a_version_alone_decides_where_there_are_no_tags(
    world: World, process: Process, other: Process
) -> None:
    async def read(reader: Process, version: str) -> tuple[bytes, str]:
        async def load() -> bytes:
            return version.encode()

        reply = await reader.cache.get(THINGS, THINGS.key("v"), load, version=version)
        return reply.message, reply.level

    # Nothing has to be heard for that.
    world.clock.now += 100
    assert await read(process, "1") == (b"1", "DB")
    assert await read(process, "1") == (b"1", "L1")
    assert await read(process, "2") == (b"2", "DB")
    assert await read(process, "1") == (b"1", "DB")
    await process.settle()
    assert await read(other, "1") == (b"1", "L2")
    assert await read(other, "2") == (b"2", "DB")


async def test_a_key_that_is_dropped_is_read_anew(world: World, process: Process) -> None:
    await process.read("a")
    await process.read("b")
    said = CacheInvalidation(key_prefixes=[THINGS.key("a")])
    async with process.redis.pipeline() as pipeline:
        pipeline.delete(THINGS.key("a"))
        pipeline.publish(CHANNEL, said.SerializeToString())
        await pipeline.execute()
    await process.turn()
    assert (await process.read("a")).level == "DB"
    assert (await process.read("b")).level == "L1"
