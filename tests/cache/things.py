"""Things in Postgres that change with events, their relay, and processes that cache them.

Everything is real but the clock: events are written with its time, and how long they have waited is
told by it, so that seconds pass without waiting for them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from servemark.events.v1.event_pb2 import CatalogChanged, Event
from servemark.runtime.cache.bumps import Bumps
from servemark.runtime.cache.cache import Cache
from servemark.runtime.cache.families import Family
from servemark.runtime.cache.metrics import CacheMetrics
from servemark.runtime.cache.reply import Reply
from servemark.runtime.database import Database
from servemark.runtime.events.metrics import RelayMetrics
from servemark.runtime.events.relay import OutboxRelay
from servemark.runtime.ids import uuid7
from servemark.runtime.redis_connections import open_cache_redis
from tests.support import servers

THINGS = Family("things", "thing:{}", 100.0)

_TABLE = (
    "CREATE TABLE catalog.things (name text PRIMARY KEY, value bigint NOT NULL)",
    "GRANT ALL ON catalog.things TO servemark_catalog",
)
_WRITE = text(
    "INSERT INTO things VALUES (:name, 1) "
    "ON CONFLICT (name) DO UPDATE SET value = things.value + 1 RETURNING value"
)
_TELL = text(
    "INSERT INTO outbox (id, topic, payload, created_at) "
    "VALUES (:id, 'catalog', :payload, timestamptz 'epoch' + :now * interval '1 second')"
)
_WAITED = (
    "SELECT extract(epoch FROM min(created_at))::float8 FROM outbox WHERE published_at IS NULL"
)


class KilledError(Exception):
    """The relay's process is killed here."""


@dataclass
class Clock:
    """Seconds that pass when told to."""

    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


class Relay:
    """The real relay, which can be killed in the middle of a turn."""

    def __init__(self, database: Database, redis_url: str) -> None:
        self._redis = Redis.from_url(redis_url, socket_timeout=0.3)
        self._bumps = Bumps(self._redis, tags_of)
        self._relay = OutboxRelay(
            database, self._redis, RelayMetrics(CollectorRegistry()), bump=self._bump
        )
        self._killed_before: bool | None = None

    async def turn(self, *, killed_before_bump: bool | None = None) -> None:
        """One turn; it ends before or after the caches are told if it is killed."""
        self._killed_before = killed_before_bump
        try:
            while await self._relay.publish_once():
                pass
        except (KilledError, OSError, TimeoutError):
            return
        except Exception as error:
            if "redis" not in type(error).__module__:
                raise

    async def _bump(self, payloads: Sequence[bytes]) -> None:
        if self._killed_before is True:
            raise KilledError
        await self._bumps(payloads)
        if self._killed_before is False:
            raise KilledError

    async def close(self) -> None:
        await self._redis.aclose()


def tags_of(event: Event) -> Iterable[str]:
    """The tag of the thing that an event is about."""
    return [f"thing:{event.catalog_changed.id}"]


@dataclass
class World:
    """The things, and when each of their values was committed."""

    dsn: str
    clock: Clock = field(default_factory=Clock)
    committed: dict[str, list[float]] = field(default_factory=dict)
    loads: int = 0

    def __post_init__(self) -> None:
        # Set once a reading has its value; it goes on when it may.
        self.loading, self.may_load = asyncio.Event(), asyncio.Event()
        self.may_load.set()
        self.database = Database(self.dsn, "catalog", pool_size=5)

    @staticmethod
    def prepare(dsn: str) -> None:
        """Makes the table of things in a migrated database."""
        servers.execute(dsn, *_TABLE)

    async def clear(self) -> None:
        """Forgets all things and events."""
        async with self.database.transaction() as connection:
            await connection.execute(text("DELETE FROM things"))
            await connection.execute(text("DELETE FROM outbox"))
        self.committed.clear()

    async def write(self, name: str) -> None:
        """Changes a thing, and tells of it."""
        event = Event(id=str(uuid7()), catalog_changed=CatalogChanged(resource="things", id=name))
        async with self.database.transaction() as connection:
            value = await self.change(connection, name)
            tell = {"id": uuid7(), "payload": event.SerializeToString(), "now": self.clock.now}
            await connection.execute(_TELL, tell)
        history = self.committed.setdefault(name, [])
        history.append(self.clock.now)
        assert value == len(history)

    @staticmethod
    async def change(connection: AsyncConnection, name: str) -> int:
        """Changes a thing without telling of it; its value."""
        return int(await connection.scalar(_WRITE, {"name": name}) or 0)

    async def load(self, name: str) -> bytes:
        """The value of a thing now; b"0" where there is none."""
        self.loads += 1
        rows = await self.database.fetch("SELECT value FROM things WHERE name = $1", name)
        self.loading.set()
        await self.may_load.wait()
        return str(rows[0][0] if rows else 0).encode()

    async def backlog(self) -> float:
        """As the product's own, by the clock that is told."""
        oldest = (await self.database.fetch(_WAITED))[0][0]
        return 0.0 if oldest is None else self.clock.now - float(oldest)

    async def hold(self) -> Callable[[], Awaitable[None]]:
        """Locks the events that wait, as another relay does that hangs; what lets them go."""
        connection = await self.database.engine.connect()
        await connection.execute(
            text("SELECT id FROM outbox WHERE published_at IS NULL FOR UPDATE SKIP LOCKED")
        )
        return connection.close


class Process:
    """A process that caches things; its knowledge goes on when it is told to.

    What it wrote itself is never missing from what it reads.
    """

    def __init__(self, world: World, redis_url: str) -> None:
        self.world = world
        self.wrote: dict[str, int] = {}
        self.redis = open_cache_redis(redis_url)
        self.cache = Cache(
            self.redis,
            world.backlog,
            CacheMetrics(CollectorRegistry()),
            clock=world.clock,
            wall_us=lambda: int(world.clock.now * 1e6),
        )
        assert self.cache.watch is not None
        self.watch = self.cache.watch
        self._listening: asyncio.Task[None] | None = None
        # Cleared while the process is stopped as far as messages go.
        self.hears = asyncio.Event()
        self.hears.set()

    async def listen(self) -> None:
        """Subscribes, if Redis is there and it does not listen yet."""
        if self._listening is not None and not self._listening.done():
            return
        await self.deafen()
        try:
            await self.watch.open()
        except Exception:
            return
        subscription = self.watch._subscription
        assert subscription is not None
        read = subscription.read

        async def read_when_heard() -> object:
            said = await read()
            await self.hears.wait()
            return said

        subscription.read = read_when_heard  # type: ignore[method-assign,assignment]
        self._listening = asyncio.ensure_future(self._listen())

    async def _listen(self) -> None:
        try:
            await self.watch.listen()
        except Exception:
            await self.watch.close()

    async def deafen(self) -> None:
        """Ends the subscription."""
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
            self._listening = None
        await self.watch.close()

    async def turn(self, *, seconds: float = 5.0) -> None:
        """Looks once how far it has heard, and waits so long for the answer if one may come."""
        await self.listen()
        self.watch._answered.clear()
        try:
            await self.watch.turn()
        except Exception:
            await self.deafen()
            return
        if self.watch._subscription is not None and self.hears.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self.watch._answered.wait(), seconds)

    async def read(self, name: str) -> Reply:
        """The thing, from wherever it is."""
        return await self.cache.get(
            THINGS, THINGS.key(name), lambda: self.world.load(name), tags=(f"thing:{name}",)
        )

    async def write(self, name: str) -> None:
        """Changes a thing."""
        await self.world.write(name)
        self.cache.changed([f"thing:{name}"])
        self.wrote[name] = len(self.world.committed[name])

    async def settle(self) -> None:
        """Waits until everything that is to be in Redis is there."""
        await asyncio.gather(*self.cache._tasks)

    async def close(self) -> None:
        self.hears.set()
        await self.deafen()
        await self.cache.close()
        await self.redis.aclose()
