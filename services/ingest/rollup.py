"""Keeps what is condensed up with the results: what has new ones is calculated anew."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final

import structlog

from services.ingest.records import Turn

log = structlog.get_logger()

# While marks keep coming, the share of one connection's time that the roll-ups take at most, and
# how many looks at the marks they rest between two turns at least. Readers calculate what is not
# rolled up themselves, so that nothing but their time depends on it.
_SHARE: Final = 0.05
_LOOKS_BETWEEN: Final = 25
# They have stopped coming when so many looks found no newer one: a stream of large batches leaves
# several marks at once, and then none for a while.
_QUIET_LOOKS: Final = 5
# With no mark anywhere, turns only look for windows that have moved on with the day.
_IDLE_SECONDS: Final = 30.0


class RollUp:
    """A loop over the turns of some roll-ups. Several processes may run it at once.

    While marks keep coming it leaves the machine to those who make them; once they have stopped, it
    works without a pause until none is left. `newest` answers when the newest mark was made.
    """

    def __init__(
        self,
        newest: Callable[[], Awaitable[datetime | None]],
        *turns: Callable[[], Awaitable[Turn]],
        interval: float = 0.2,
    ) -> None:
        self._newest = newest
        self._turns = turns
        self._interval = interval
        self._last_turns = -_IDLE_SECONDS
        self._more = False
        # The newest mark seen, when it was first seen, and until when marks that keep coming are
        # left alone.
        self._seen: datetime | None = None
        self._moved = 0.0
        self._rests_until = 0.0

    async def run(self) -> None:
        """Calculates until cancelled. A database that is away is waited for, not fatal."""
        failures = 0
        while True:
            try:
                more = await self._take_turns()
                failures = 0
            except Exception as error:
                if not failures:
                    log.warning("roll-up waits", error=type(error).__name__)
                failures = min(failures + 1, 5)
                more = False
            if not more:
                await asyncio.sleep(min(30.0, self._interval * 2**failures))

    async def _take_turns(self) -> bool:
        """Whether more waits, after a turn of each; without one if it is not yet time for it."""
        newest, now = await self._newest(), time.perf_counter()
        if newest is None and not self._more and now - self._last_turns < _IDLE_SECONDS:
            self._seen = None
            self._rests_until = now + _LOOKS_BETWEEN * self._interval
            return False
        # What a turn has done with is no newer mark.
        if newest is not None and (self._seen is None or newest > self._seen):
            self._seen, self._moved = newest, now
        coming = newest is not None and now - self._moved < _QUIET_LOOKS * self._interval
        if coming and now < self._rests_until:
            return False
        self._last_turns = now
        turns = [await take() for take in self._turns]
        ended = time.perf_counter()
        rest = max(_LOOKS_BETWEEN * self._interval, (ended - now) * (1 / _SHARE - 1))
        self._rests_until = ended + rest
        self._more = any(turn.more for turn in turns)
        return self._more
