"""What happens while a reply is being read, or is told twice, or is lost."""

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest
from redis.asyncio import Redis

from servemark.embedded import EmbeddedValkey
from servemark.events.v1.event_pb2 import CatalogChanged, Event
from servemark.runtime.cache.bumps import Bumps
from servemark.runtime.cache.families import version_key
from tests.cache.things import THINGS, Process, Relay, World, tags_of
from tests.support import servers


@pytest.fixture
def own_valkey() -> Iterator[EmbeddedValkey]:
    """A Valkey that may be killed."""
    with servers.temporary_folder() as folder, EmbeddedValkey(folder / "valkey") as server:
        yield server


async def test_a_change_that_is_told_during_a_reading_is_not_lost(
    world: World, relay: Relay, process: Process, other: Process
) -> None:
    await world.write("a")
    await relay.turn()
    await process.turn()
    world.may_load.clear()
    reading = asyncio.ensure_future(process.read("a"))
    await world.loading.wait()
    await world.write("a")
    await relay.turn()
    await process.turn()
    await other.turn()
    # Who comes now knows of the change, and may not have the answer of the reading under way.
    later = asyncio.ensure_future(process.read("a"))
    await asyncio.sleep(0.05)
    world.may_load.set()
    assert (await reading).message == b"1"
    assert (await later).message == b"2"
    await process.settle()
    for reader in (process, other):
        assert (await reader.read("a")).message == b"2"


async def test_a_change_during_a_reading_makes_what_it_stores_in_redis_worthless(
    world: World, relay: Relay, process: Process, other: Process
) -> None:
    await world.write("a")
    await relay.turn()
    await process.turn()
    world.may_load.clear()
    reading = asyncio.ensure_future(process.read("a"))
    await world.loading.wait()
    await world.write("a")
    await relay.turn()
    world.may_load.set()
    await reading
    await process.settle()
    assert await process.redis.exists(THINGS.key("a"))
    await other.turn()
    assert (await other.read("a")).message == b"2"


async def test_a_reading_that_a_change_overtook_is_not_held_in_memory(
    world: World, relay: Relay, process: Process
) -> None:
    await world.write("a")
    await relay.turn()
    await process.turn()
    world.may_load.clear()
    reading = asyncio.ensure_future(process.read("a"))
    await world.loading.wait()
    await world.write("a")
    await relay.turn()
    await process.turn()
    world.may_load.set()
    assert (await reading).message == b"1"
    await process.settle()
    assert (await process.read("a")).message == b"2"


async def test_a_process_that_is_behind_with_its_messages_uses_nothing_it_holds(
    world: World, relay: Relay, process: Process
) -> None:
    await world.write("a")
    await relay.turn()
    await process.turn()
    await process.read("a")
    process.hears.clear()
    await world.write("a")
    await relay.turn()
    world.clock.now += 3.0
    # Postgres says that all was told; the messages that told it have not been read.
    await process.turn()
    assert (await process.read("a")).message == b"2"
    process.hears.set()
    await process.turn()
    assert [(await process.read("a")).level for _ in range(2)][-1] == "L1"


async def test_a_reading_is_joined_only_while_it_is_young(world: World, process: Process) -> None:
    world.may_load.clear()
    first = asyncio.ensure_future(process.read("a"))
    await world.loading.wait()
    world.clock.now += 0.29
    joined = asyncio.ensure_future(process.read("a"))
    await asyncio.sleep(0.01)
    assert world.loads == 1
    world.clock.now += 0.02
    late = asyncio.ensure_future(process.read("a"))
    async with asyncio.timeout(5):
        while world.loads == 1:
            await asyncio.sleep(0.01)
    world.may_load.set()
    await asyncio.gather(first, joined, late)
    assert world.loads == 2


async def test_an_event_that_is_told_again_brings_no_old_reply_back(
    world: World, relay: Relay, process: Process, other: Process, valkey: str
) -> None:
    async with Redis.from_url(valkey) as redis:
        bumps = Bumps(redis, tags_of)
        first, second = (
            Event(id=name, catalog_changed=CatalogChanged(id="a")).SerializeToString()
            for name in ("first", "second")
        )
        await world.write("a")
        await bumps([first])
        await process.turn()
        await process.read("a")
        await process.settle()
        kept = await redis.get(THINGS.key("a"))
        assert kept is not None
        await world.write("a")
        await bumps([second])
        # The relay that told the first was killed before it noted that, so another tells it again.
        await bumps([first])
        await relay.turn()
        await redis.set(THINGS.key("a"), kept)
        await other.turn()
        assert (await other.read("a")).message == b"2"


async def test_what_a_restarted_redis_has_lost_brings_no_old_reply_back(
    world: World, own_valkey: EmbeddedValkey
) -> None:
    url = own_valkey.url()
    relay, process = Relay(world.database, url), Process(world, url)
    await world.write("a")
    await relay.turn()
    await process.turn()
    await process.read("a")
    await process.settle()
    async with Redis.from_url(url) as redis:
        keys = (THINGS.key("a"), version_key("thing:a"))
        kept = {key: await redis.get(key) or b"" for key in keys}
        assert all(kept.values())
        await world.write("a")
        await relay.turn()
        assert not await redis.exists(version_key("thing:a"))
    assert own_valkey.pid is not None
    os.kill(own_valkey.pid, signal.SIGKILL)
    own_valkey.stop()
    own_valkey.start()
    async with Redis.from_url(own_valkey.url()) as redis:
        await redis.mset(kept)
    await relay.turn()
    try:
        async with asyncio.timeout(10):
            await asyncio.sleep(0.01)
            await process.turn()
            while not process.watch.is_close:
                await process.turn()
        assert (await process.read("a")).message == b"2"
        assert (await process.read("a")).level == "L1"
    finally:
        await process.close()
        await relay.close()
