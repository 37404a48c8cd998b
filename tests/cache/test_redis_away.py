"""Redis flushed, frozen or killed: reads go on, none waits for long, and all is well after it."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from servemark.embedded import EmbeddedValkey
from servemark.runtime.cache.backlog import outbox_backlog
from servemark.runtime.cache.breaker import Breaker
from servemark.runtime.cache.bumps import Bumps
from servemark.runtime.cache.cache import Cache
from servemark.runtime.cache.metrics import CacheMetrics
from servemark.runtime.cache.patience import Patience
from servemark.runtime.cache.reply import Reply
from servemark.runtime.database import Database
from servemark.runtime.ending import end_tasks
from servemark.runtime.events.metrics import RelayMetrics
from servemark.runtime.events.relay import OutboxRelay
from servemark.runtime.redis_connections import LONGEST_WAIT_SECONDS, open_cache_redis
from services.catalog.events import catalog_changed, tags_of
from tests.cache.things import THINGS, Clock, World
from tests.support import servers

# What a busy machine adds to the time of a read, whose bound is kept by a timeout.
SLACK_SECONDS = 0.25


@pytest.fixture
def own_valkey() -> Iterator[EmbeddedValkey]:
    """A Valkey that may be stopped and killed."""
    with servers.temporary_folder() as folder, EmbeddedValkey(folder / "valkey") as server:
        yield server


class Service:
    """A cache and a relay that run by themselves, on one thing that changes."""

    def __init__(self, world: World, cache: Cache) -> None:
        self.world = world
        self.cache = cache
        self.identifier = uuid4()
        self.longest = 0.0
        self.committed: list[float] = []

    async def write(self) -> None:
        """Changes the thing; nobody waits for Redis."""
        began = time.monotonic()
        async with self.world.database.transaction() as connection:
            await self.world.change(connection, str(self.identifier))
            await catalog_changed(connection, "things", [self.identifier])
        self.committed.append(time.monotonic())
        self.longest = max(self.longest, time.monotonic() - began)

    async def read(self) -> Reply:
        """The thing, no older than promised."""
        name, began = str(self.identifier), time.monotonic()
        reply = await self.cache.get(
            THINGS,
            THINGS.key(name),
            lambda: self.world.load(name),
            tags=(f"catalog:things:{name}",),
        )
        self.longest = max(self.longest, time.monotonic() - began)
        due = sum(at <= began - 2.0 for at in self.committed)
        assert due <= int(reply.message) <= len(self.committed) + 1
        return reply

    async def go_on(self, seconds: float) -> None:
        """Writes and reads for so long."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            await self.write()
            for _ in range(5):
                await self.read()
                await asyncio.sleep(0.02)

    async def is_well_again(self) -> None:
        """Returns once the caches answer."""
        async with asyncio.timeout(30):
            while (await self.read()).level != "L1":
                await asyncio.sleep(0.02)


@asynccontextmanager
async def service(world: World, url: str) -> AsyncIterator[Service]:
    apart = Database(world.dsn, "catalog", pool_size=1)
    redis, carrier = open_cache_redis(url), Redis.from_url(url, socket_timeout=0.5)
    cache = Cache(redis, outbox_backlog(apart), CacheMetrics(CollectorRegistry()))
    relay = OutboxRelay(
        world.database, carrier, RelayMetrics(CollectorRegistry()), bump=Bumps(carrier, tags_of)
    )
    tasks = [asyncio.ensure_future(work()) for work in (cache.run, relay.run)]
    made = Service(world, cache)
    try:
        await made.write()
        await made.is_well_again()
        yield made
    finally:
        await end_tasks(tasks)
        await cache.close()
        await redis.aclose()
        await carrier.aclose()
        await apart.close()


async def _flushed(valkey: EmbeddedValkey, running: Service) -> None:
    servers.flush(valkey.url())
    await running.go_on(0.5)


async def _frozen(valkey: EmbeddedValkey, running: Service) -> None:
    assert valkey.pid is not None
    os.kill(valkey.pid, signal.SIGSTOP)
    try:
        await running.go_on(3.0)
    finally:
        os.kill(valkey.pid, signal.SIGCONT)


async def _killed(valkey: EmbeddedValkey, running: Service) -> None:
    assert valkey.pid is not None
    os.kill(valkey.pid, signal.SIGKILL)
    valkey.stop()
    await running.go_on(1.5)
    await asyncio.to_thread(valkey.start)


@pytest.mark.parametrize("fault", [_flushed, _frozen, _killed])
async def test_reads_and_writes_go_on(
    world: World,
    own_valkey: EmbeddedValkey,
    fault: Callable[[EmbeddedValkey, Service], Awaitable[None]],
) -> None:
    async with service(world, own_valkey.url()) as running:
        running.longest = 0.0
        await fault(own_valkey, running)
        assert len(running.committed) > 3
        assert running.longest < LONGEST_WAIT_SECONDS + SLACK_SECONDS
        await running.write()
        await running.is_well_again()


async def test_all_that_a_read_asks_of_redis_shares_one_patience() -> None:
    loop = asyncio.get_running_loop()
    patience, began = Patience(), loop.time()
    await patience.spend(asyncio.sleep(LONGEST_WAIT_SECONDS * 0.8))
    with pytest.raises(TimeoutError):
        await patience.spend(asyncio.sleep(60))
    assert patience.is_over
    assert loop.time() - began < LONGEST_WAIT_SECONDS + SLACK_SECONDS


def test_the_breaker_opens_after_failures_in_a_row_and_is_tried_each_second() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    for _ in range(2):
        breaker.failed()
    breaker.answered()
    for _ in range(2):
        breaker.failed()
    assert not breaker.is_open
    breaker.failed()
    assert breaker.is_open
    assert not breaker.is_trial_due
    clock.now += 1.0
    assert breaker.is_trial_due
    breaker.failed()
    assert not breaker.is_trial_due
    clock.now += 1.0
    breaker.answered()
    assert not breaker.is_open
