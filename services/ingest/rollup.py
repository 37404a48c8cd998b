"""Keeps daily statistics up with the results: days with new results are calculated anew."""

import asyncio
import time
from typing import Final

import structlog

from services.ingest.store_daily import DailyStore

log = structlog.get_logger()

# The share of one connection's time that the roll-up takes at most, when a day never stops growing.
_SHARE: Final = 0.2


class RollUp:
    """A loop over marked days. Several processes may run it at once; each day is done by one."""

    def __init__(self, store: DailyStore, *, interval: float = 1.0) -> None:
        self._store = store
        self._interval = interval

    async def run(self) -> None:
        """Calculates until cancelled. A database that is away is waited for, not fatal."""
        failures = 0
        while True:
            started = time.perf_counter()
            try:
                await self._store.roll_up()
                failures = 0
            except Exception as error:
                failures += 1
                if failures == 1:
                    log.warning("roll-up waits", error=type(error).__name__)
            spent = time.perf_counter() - started
            pause = max(self._interval, spent * (1 / _SHARE - 1))
            await asyncio.sleep(min(30.0, pause * 2 ** min(failures, 5)))
