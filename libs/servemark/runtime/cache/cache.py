"""Replies from memory, from Redis or from the database, none older than it may be.

A reply with tags is used while the process is known to have heard of what was committed
(`watch`), so no read misses what was committed more than two seconds before it: 1.2 that the
knowledge may be old, 0.3 that a reading it joins may be, and room for the way. One with a version
and no tags is used where the reader's version is the same; nothing else has to be known of it.

Where Redis is away, slow or not heard of, reads go to the database, one at a time for each key.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final

import structlog
from redis.asyncio import Redis

from servemark.cache.v1.cache_pb2 import CacheInvalidation
from servemark.runtime.cache.backlog import Backlog
from servemark.runtime.cache.breaker import Breaker
from servemark.runtime.cache.families import Family
from servemark.runtime.cache.flight import Flight
from servemark.runtime.cache.levels import Levels
from servemark.runtime.cache.memory import Memory
from servemark.runtime.cache.metrics import CacheMetrics
from servemark.runtime.cache.reading import AWAY, Load, Reading
from servemark.runtime.cache.reply import Reply
from servemark.runtime.cache.shared import Shared
from servemark.runtime.cache.watch import Watch
from servemark.runtime.ending import run_together

log = structlog.get_logger()

_EARLY_PAUSE_SECONDS: Final = 5.0
_LOOK_AROUND_SECONDS: Final = 0.25


class Cache:
    """The caches of one process. Run `run` beside the server, and `close` at the end.

    `backlog` says how far what is told lies behind what is committed (see `backlog`); without it no
    reply with tags is kept. `redis` None: nothing with tags is kept, and nothing is shared.
    `clock` gives seconds of this process, `wall_us` microseconds since 1970. `closing` gives back
    what only the cache uses.
    """

    def __init__(
        self,
        redis: Redis | None,
        backlog: Backlog | None,
        metrics: CacheMetrics,
        *,
        most_entries: int = 20_000,
        most_bytes: int = 64 * 1024 * 1024,
        clock: Callable[[], float] = time.monotonic,
        wall_us: Callable[[], int] = lambda: time.time_ns() // 1_000,
        closing: Sequence[Callable[[], Awaitable[object]]] = (),
    ) -> None:
        self._clock = clock
        self._closing = closing
        self._memory = Memory(most_entries=most_entries, most_bytes=most_bytes)
        breaker = Breaker(clock)
        self.watch: Watch | None = None
        shared = None
        if redis is not None:
            shared = Shared(redis, breaker)
            self.watch = Watch(redis, backlog, heard=self._heard, lost=self._lost, clock=clock)
        self._levels = Levels(self._memory, breaker, shared, self.watch, metrics, clock, wall_us)
        # Those a reader may join, and all that are under way.
        self._joinable: dict[str, Flight] = {}
        self._flying: set[Flight] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def get(
        self,
        family: Family,
        key: str,
        load: Load,
        *,
        tags: tuple[str, ...] = (),
        version: str = "",
    ) -> Reply:
        """The reply for `key`, which `load` reads from the database where no level has it.

        `tags` name what it is made from, as the events of the schema do; `version` is what else it
        has to be made from. Raises what `load` raises, and keeps no error.
        """
        now = self._clock()
        held = self._memory.get(key, now)
        if held is not None and held.version == version and self._levels.is_current(tags):
            if now >= held.refresh_at:
                held.refresh_at = now + _EARLY_PAUSE_SECONDS
                self._start(family, key, load, tags, version, early=True)
            reply = Reply(held.reply, "L1", now - held.read_at)
        else:
            flight = self._joinable.get(key)
            if flight is None or not flight.takes(version, now):
                flight = self._start(family, key, load, tags, version)
            reply = await asyncio.shield(flight.answer)
        self._levels.metrics.reads.labels(family.name, reply.level).inc()
        return reply

    def changed(self, tags: Iterable[str]) -> None:
        """Lets readers of this process see a change that it has committed at once.

        Those of others see it once the relay has told of it.
        """
        names = tuple(tags)
        self._forget(names, ())
        if self.watch is not None:
            self.watch.changed_here(names)

    async def run(self) -> None:
        """Listens to what changes, until cancelled."""
        if self.watch is None:
            return
        await run_together(self.watch.run(), self._look_around())

    async def close(self) -> None:
        """Ends readings that are under way, and gives back what the cache holds."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for give_back in self._closing:
            await give_back()

    def _heard(self, said: CacheInvalidation) -> None:
        self._levels.metrics.invalidations.inc()
        self._forget(said.tags, tuple(said.key_prefixes))

    def _forget(self, tags: Iterable[str], beginnings: tuple[str, ...]) -> None:
        gone = frozenset(tags)
        self._memory.drop_tags(gone)
        if beginnings:
            self._memory.drop_prefixes(beginnings)
        for flight in self._flying:
            if not gone.isdisjoint(flight.tags) or flight.key.startswith(beginnings):
                flight.spoiled = True

    def _lost(self) -> None:
        """Something may have been said that was not heard."""
        self._memory.drop_tagged()
        for flight in self._flying:
            flight.spoiled |= bool(flight.tags)

    async def _look_around(self) -> None:
        """Tries a Redis that is left alone, and says what the metrics page shows."""
        levels = self._levels
        while True:
            await asyncio.sleep(_LOOK_AROUND_SECONDS)
            levels.metrics.breaker_open.set(levels.breaker.is_open)
            levels.metrics.entries.set(len(self._memory))
            levels.metrics.bytes.set(self._memory.byte_size)
            if self.watch is not None:
                levels.metrics.lag.set(self.watch.lag)
            if levels.shared is not None and levels.breaker.is_trial_due:
                try:
                    await levels.shared.ping()
                except AWAY:
                    continue
                log.info("redis answers again")

    def _start(
        self,
        family: Family,
        key: str,
        load: Load,
        tags: tuple[str, ...],
        version: str,
        *,
        early: bool = False,
    ) -> Flight:
        """A reading under way. One that is `early` is joined by nobody, and may find no answer."""
        flight = Flight(key, tags, version, self._clock())
        self._flying.add(flight)
        if not early:
            self._joinable[key] = flight
        reading = Reading(self._levels, family, load, flight, early=early)
        task = asyncio.create_task(reading.run(lambda: self._land(flight)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return flight

    def _land(self, flight: Flight) -> None:
        self._flying.discard(flight)
        if self._joinable.get(flight.key) is flight:
            del self._joinable[flight.key]
