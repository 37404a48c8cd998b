"""The storage profile that the database was migrated to, followed when it changes.

`servemark storage migrate` changes it under a running service. What the service then finds out is
that a table is gone, and this makes it ask again.
"""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Final

import structlog
from sqlalchemy import select

from servemark.runtime.database import Database
from services.ingest.profile import StorageProfile, Target
from services.ingest.records import Day
from services.ingest.tables import settings

log = structlog.get_logger()

_MAINTENANCE_SECONDS: Final = 300.0
_RETRY_SECONDS: Final = 5.0


class RecordedProfile:
    """One of `profiles`: the one that the database has recorded."""

    def __init__(self, database: Database, profiles: Sequence[StorageProfile]) -> None:
        self._database = database
        self._profiles = {profile.name: profile for profile in profiles}
        self._current: StorageProfile | None = None
        self._is_stale = True

    @property
    def name(self) -> str:
        """The profile's name; "" while it was not looked up."""
        return "" if self._current is None else self._current.name

    async def recorded(self) -> bool:
        """Whether the database has a profile that is known. Raises what the driver raises."""
        try:
            await self._look()
        except LookupError as error:
            log.error("storage profile is not known", profile=str(error))
            return False
        return True

    def targets(self, days: Sequence[Day]) -> Sequence[Target]:
        """See StorageProfile. Raises LookupError before the first `ensure`."""
        if self._current is None:
            raise LookupError("the storage profile was not looked up")
        return self._current.targets(days)

    async def ensure(self, days: Iterable[date]) -> None:
        """See StorageProfile. Raises LookupError for a profile that is not known."""
        profile = self._current
        if profile is None or self._is_stale:
            profile = await self._look()
        await profile.ensure(days)

    def forget(self, days: Iterable[date]) -> None:
        """See StorageProfile; the next `ensure` also looks which profile it is."""
        self._is_stale = True
        if self._current is not None:
            self._current.forget(days)

    def ahead(self) -> Sequence[date]:
        """See StorageProfile; none while the profile was not looked up."""
        return () if self._current is None else self._current.ahead()

    async def maintain(self) -> None:
        """See StorageProfile."""
        await (await self._look()).maintain()

    async def run(self) -> None:
        """Keeps the store in order until cancelled. A database that is away is waited for."""
        while True:
            pause = _MAINTENANCE_SECONDS
            try:
                await self.maintain()
            except Exception as error:
                log.warning("storage maintenance waits", error=type(error).__name__)
                pause = _RETRY_SECONDS
            await asyncio.sleep(pause)

    async def _look(self) -> StorageProfile:
        query = select(settings.c.value).where(settings.c.name == "storage_profile")
        async with self._database.transaction() as connection:
            name = (await connection.execute(query)).scalar_one_or_none()
        if name not in self._profiles:
            raise LookupError(name)
        if name != self.name:
            log.info("storage profile", profile=name)
        self._current = self._profiles[name]
        self._is_stale = False
        return self._current
