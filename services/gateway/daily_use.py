"""Counts each caller's calls and rows of the UTC day, in memory and, within a second, in Postgres.

Gateways of one database count together: each adds what is new every second, and is told the sums.
So all of them together may let in what comes in a second beyond a quota, and no call waits for a
query. A gateway that is killed forgets what it had not yet written, a second's calls at most.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, NamedTuple, TypeAlias

import structlog

from servemark.runtime.database import translate_database_error

log = structlog.get_logger()

WRITE_EVERY_SECONDS: Final = 1.0
DAY_SECONDS: Final = 86_400
# Long enough to look back at the same day of last year.
KEEP_DAYS: Final = 400


class Use(NamedTuple):
    """What was used."""

    calls: int = 0
    rows: int = 0

    def plus(self, calls: int, rows: int) -> "Use":
        """The sum."""
        return Use(self.calls + calls, self.rows + rows)


NONE: Final = Use()
Uses: TypeAlias = Mapping[tuple[int, str], Use]
"""By day (days since 1970) and caller."""

Load = Callable[[int], Awaitable[Uses]]
Add = Callable[[Uses], Awaitable[Uses]]
Forget = Callable[[int], Awaitable[None]]


class DailyUse:
    """`count` and `used` cost dictionary look-ups; `run` writes beside the calls.

    `load` reads the sums of a day; `add` adds to sums, and returns those it changed; `forget`
    deletes those of days before one.
    """

    def __init__(
        self, load: Load, add: Add, forget: Forget, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._load = load
        self._add = add
        self._forget = forget
        self._forgot_on: int | None = None
        self._clock = clock
        self._sums: dict[tuple[int, str], Use] | None = None
        self._loading = asyncio.Lock()
        self._new: dict[tuple[int, str], Use] = {}
        self._being_written: dict[tuple[int, str], Use] = {}

    async def ready(self) -> None:
        """Reads, before the first call, what was used earlier today. Raises as the store does."""
        if self._sums is None:
            async with self._loading:
                if self._sums is None:
                    self._sums = dict(await self._load(self._today()))

    def _today(self) -> int:
        return int(self._clock() // DAY_SECONDS)

    def seconds_left(self) -> float:
        """Seconds until the day ends."""
        return DAY_SECONDS - self._clock() % DAY_SECONDS

    def used(self, caller: str) -> Use:
        """What a caller used today, as far as is known here."""
        key = (self._today(), caller)
        total = NONE
        for part in (self._sums or {}, self._being_written, self._new):
            use = part.get(key)
            if use is not None:
                total = total.plus(*use)
        return total

    def count(self, caller: str, *, calls: int = 0, rows: int = 0) -> None:
        """Adds to what a caller used today."""
        key = (self._today(), caller)
        self._new[key] = self._new.get(key, NONE).plus(calls, rows)

    async def write(self) -> None:
        """Writes what is new, in one statement, and learns what others wrote of the same callers.

        Where the database does not say whether it was written, it is written again.
        """
        if not self._new:
            return
        self._being_written, self._new = self._new, {}
        try:
            sums = await self._add(self._being_written)
            today = self._today()
            kept = {key: use for key, use in (self._sums or {}).items() if key[0] == today}
            self._sums = {**kept, **sums}
        except BaseException:
            for key, use in self._being_written.items():
                self._new[key] = self._new.get(key, NONE).plus(*use)
            raise
        finally:
            self._being_written = {}

    async def forget_old(self) -> None:
        """Deletes, once a day, the sums of days more than 400 days ago."""
        today = self._today()
        if self._forgot_on != today:
            await self._forget(today - KEEP_DAYS)
            self._forgot_on = today

    async def run(self) -> None:
        """Writes every second until cancelled. A database that is away is waited for."""
        while True:
            await asyncio.sleep(WRITE_EVERY_SECONDS)
            try:
                await self.write()
                await self.forget_old()
            except Exception as error:
                if translate_database_error(error) is None:
                    raise
                log.warning("daily use not written", error=type(error).__name__)
