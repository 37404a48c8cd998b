"""Remembers which keys were used, and writes it down beside the calls, once a minute a key."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import structlog

log = structlog.get_logger()

WRITE_EVERY_SECONDS = 60.0

Record = Callable[[Sequence[str]], Awaitable[None]]


class UsageRecorder:
    """`touch` costs a dictionary look-up; `run` writes what was touched, all in one statement."""

    def __init__(self, record: Record, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._record = record
        self._clock = clock
        self._written: dict[str, float] = {}
        self._used: set[str] = set()

    def touch(self, key_id: str) -> None:
        """Notes that a key was used now."""
        written = self._written.get(key_id)
        if written is None or self._clock() - written >= WRITE_EVERY_SECONDS:
            self._used.add(key_id)

    async def write(self) -> int:
        """Writes what was touched and not written within the last minute; returns how many keys."""
        used, self._used = self._used, set()
        now = self._clock()
        self._written = {
            key: at for key, at in self._written.items() if now - at < WRITE_EVERY_SECONDS
        }
        if used:
            # Marked before the write: should it fail, the next minute's does as well.
            self._written.update(dict.fromkeys(used, now))
            await self._record(sorted(used))
        return len(used)

    async def run(self) -> None:
        """Writes every second until cancelled. A database that is away is waited for."""
        while True:
            await asyncio.sleep(1.0)
            try:
                await self.write()
            except Exception as error:
                log.warning("last use of keys not written", error=type(error).__name__)
