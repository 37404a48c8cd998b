"""Finds a reply that is not in memory: in Redis, from another process that reads it, or itself."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final

from redis.exceptions import RedisError

from servemark.cache.v1.cache_pb2 import CacheEntry
from servemark.runtime import deadline
from servemark.runtime.cache.families import Family
from servemark.runtime.cache.flight import Flight
from servemark.runtime.cache.levels import Levels
from servemark.runtime.cache.memory import LONGEST_SECONDS, Held
from servemark.runtime.cache.patience import Patience
from servemark.runtime.cache.reply import Reply
from servemark.runtime.cache.shared import FORMAT, Look, Shared

Load = Callable[[], Awaitable[bytes]]

AWAY: Final = (RedisError, OSError, TimeoutError)

# A reading is not only the first caller's, so that one's deadline does not bound it.
_LOAD_SECONDS: Final = 10.0
# How long a process waits for another one's reading before it reads itself, and how often it looks.
_WAIT_SECONDS: Final = 0.25
_LOOK_SECONDS: Final = 0.01
# Lifetimes differ by so much, lest what was read at once be read at once again.
_JITTER: Final = 0.1
# A reply that is asked for after this part of its lifetime is read anew before it goes.
_EARLY: Final = 0.8


class LeftToAnotherError(Exception):
    """Another process reads anew what is about to go; nobody waits for it."""


class Reading:
    """One flight's way. One that is `early` lands without an answer if others see to it."""

    def __init__(
        self, levels: Levels, family: Family, load: Load, flight: Flight, *, early: bool
    ) -> None:
        self._levels = levels
        self._family = family
        self._load = load
        self._flight = flight
        self._early = early
        self._lifetime = family.lifetime * (1 - _JITTER * random.random())  # noqa: S311
        # Whether the answer may be kept; known before anything is read.
        self._is_kept = levels.is_current(flight.tags)
        self._server = b"" if levels.watch is None else levels.watch.server

    async def run(self, land: Callable[[], None]) -> None:
        """Answers the flight, calls `land`, and then stores in Redis what was not there."""
        deadline.set_deadline(_LOAD_SECONDS)
        shared = self._levels.shared
        if not self._is_kept or self._levels.breaker.is_open:
            shared = None
        tokens = None
        try:
            found = None if shared is None else await self._ask(shared)
            if isinstance(found, CacheEntry):
                self._flight.answer.set_result(self._keep(found))
                return
            tokens = found
            read_us = self._levels.wall_us()
            message = await self._read()
            self._flight.answer.set_result(Reply(message, "DB", 0.0))
        except BaseException as error:
            self._flight.fail(error)
            if shared is not None and tokens is not None:
                await _harmless(shared.give_up(self._flight.key))
            if isinstance(error, asyncio.CancelledError):
                raise
            return
        finally:
            land()
        if shared is not None and tokens is not None:
            await _harmless(shared.write(self._flight.key, self._entry(message, tokens, read_us)))

    async def _ask(self, shared: Shared) -> CacheEntry | tuple[bytes, ...] | None:
        """The entry in Redis, or else the tokens to store one under; None: Redis is away."""
        patience = Patience()
        flight = self._flight
        try:
            look = await self._look(shared, patience)
            if look.entry is not None and not (self._early and self._is_old(look.entry)):
                return look.entry
            tokens, is_ours = await shared.begin(flight.key, look, flight.tags, patience)
            if not is_ours:
                if self._early:
                    raise LeftToAnotherError
                return await self._of_another(shared, patience) or tokens
        except AWAY:
            return None
        return tokens

    async def _of_another(self, shared: Shared, patience: Patience) -> CacheEntry | None:
        """The entry that another process is about to store; None if it takes too long."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _WAIT_SECONDS
        while loop.time() < until and not patience.is_over:
            await asyncio.sleep(_LOOK_SECONDS)
            if not self._levels.is_current(self._flight.tags):
                break
            look = await self._look(shared, patience)
            if look.entry is not None:
                return look.entry
        return None

    async def _look(self, shared: Shared, patience: Patience) -> Look:
        flight = self._flight
        return await shared.look(flight.key, flight.tags, flight.version, self._server, patience)

    async def _read(self) -> bytes:
        """The reply as the database has it."""
        read_at = self._levels.clock()
        with self._levels.metrics.loads.labels(self._family.name).time():
            message = await self._load()
        self._hold(message, read_at, 0.0, self._lifetime)
        return message

    def _keep(self, entry: CacheEntry) -> Reply:
        """The reply of an entry, which is in memory from now on."""
        age = self._age(entry)
        self._hold(entry.reply, self._levels.clock() - age, age, entry.lifetime_ms / 1000)
        return Reply(entry.reply, "L2", age)

    def _hold(self, message: bytes, read_at: float, age: float, lifetime: float) -> None:
        # What was said meanwhile may have been about this very reply.
        if not self._is_kept or self._flight.spoiled:
            return
        now = self._levels.clock()
        held = Held(
            message,
            self._flight.tags,
            self._flight.version,
            read_at=read_at,
            drop_at=now + min(LONGEST_SECONDS, lifetime) * (1 - _JITTER * random.random()),  # noqa: S311
            refresh_at=now + max(0.0, lifetime * _EARLY - age),
        )
        self._levels.memory.put(self._flight.key, held)

    def _entry(self, message: bytes, tokens: tuple[bytes, ...], read_us: int) -> CacheEntry:
        return CacheEntry(
            format=FORMAT,
            server=self._server,
            tokens=tokens,
            version=self._flight.version,
            read_time_us=read_us,
            lifetime_ms=int(self._lifetime * 1000),
            reply=message,
        )

    def _age(self, entry: CacheEntry) -> float:
        """Seconds since it was read; clocks of other processes are believed within reason."""
        age = (self._levels.wall_us() - entry.read_time_us) / 1e6
        return min(max(0.0, age), entry.lifetime_ms / 1000)

    def _is_old(self, entry: CacheEntry) -> bool:
        return self._age(entry) >= _EARLY * entry.lifetime_ms / 1000


async def _harmless(work: Awaitable[None]) -> None:
    """Waits for what may fail: what is not stored is read again."""
    try:
        await work
    except AWAY:
        return
