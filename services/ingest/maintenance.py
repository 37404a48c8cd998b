"""Keeps the store in order: room ahead, days over retention into the archive, and then away.

A day over retention goes through these, in this order, and stays where one of them fails:

1. Where it was dropped before and has rows again (a retention that was made longer and shorter),
   the archived rows are brought back first: the file that follows holds all of them.
2. Where no file holds exactly its rows, it is archived: written, read back, compared, recorded.
3. In one transaction: its rows are compared once more with what is recorded, its statistics have to
   be calculated, it is dropped, and that is recorded.

Each can be repeated, so whatever dies in between, the next run goes on from there.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum
from typing import Final

import structlog

from services.ingest import store_archive, store_days
from services.ingest.archive.archiver import Archiver
from services.ingest.archive.records import ArchivedDay, ArchiveError, DamagedError, StoredDay
from services.ingest.events import day_changed
from services.ingest.failpoints import Failpoints
from services.ingest.profile import StorageProfile
from services.ingest.retention import first_day_kept
from services.ingest.store_archive import ArchiveStore, Turn
from services.ingest.store_days import DayStore, Extent

log = structlog.get_logger()

# After the start, when there is enough to do; and after a failure.
_SOON_SECONDS: Final = 60.0
# Readers hold a day for as long as they read, and the roll-up follows within seconds.
_DROP_PAUSES_SECONDS: Final = (0.0, 0.5, 1.0, 2.0, 4.0)
# Rows that arrive while a day is archived make it worth another try, not endless ones.
_ARCHIVE_ATTEMPTS: Final = 3
_CHANGED: Final = "Rows arrived while it was archived."


class StepKind(Enum):
    """What was done; the words are those of the contract's MaintenanceStep."""

    WAITING = "WAITING"
    DAY_CREATED = "DAY_CREATED"
    ARCHIVING = "ARCHIVING"
    ARCHIVED = "ARCHIVED"
    DROPPED = "DROPPED"
    KEPT = "KEPT"


@dataclass(frozen=True, slots=True)
class Step:
    """One step, and the day it was done to."""

    kind: StepKind
    day: date | None = None
    row_count: int = 0
    byte_size: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class StorageState:
    """How results are stored, and how that stands to retention and archive."""

    extent: Extent
    retention_days: int
    overdue_day_count: int
    archive_location: str
    archived_day_count: int
    dropped_day_count: int


class StorageKeeper:
    """What keeps the store in order. `archiver` is None where there is no archive.

    `now` answers the time in UTC. `interval` is in seconds.
    """

    def __init__(
        self,
        days: DayStore,
        store: ArchiveStore,
        profile: StorageProfile,
        archiver: Archiver | None,
        *,
        retention_days: int,
        interval: float,
        now: Callable[[], datetime],
        failpoints: Failpoints,
    ) -> None:
        self._days = days
        self._store = store
        self._profile = profile
        self._archiver = archiver
        self._retention_days = retention_days
        self._interval = interval
        self._now = now
        self._failpoints = failpoints

    async def state(self) -> StorageState:
        """How everything stands now."""
        extent = await self._days.extent()
        archived, dropped = await self._store.counts()
        return StorageState(
            extent=extent,
            retention_days=self._retention_days,
            overdue_day_count=await self._overdue_count(),
            archive_location="" if self._archiver is None else self._archiver.location,
            archived_day_count=archived,
            dropped_day_count=dropped,
        )

    async def maintain(self) -> AsyncGenerator[Step]:
        """Does what is to be done, step by step; waits for its turn if it has to."""
        async with self._store.turn() as turn:
            if turn is not None:
                async with aclosing(self._in_turn(turn)) as steps:
                    async for step in steps:
                        yield step
                return
        yield Step(StepKind.WAITING)
        async with (
            self._store.next_turn() as turn,
            aclosing(self._in_turn(turn)) as steps,
        ):
            async for step in steps:
                yield step

    async def plan(self) -> AsyncGenerator[Step]:
        """The steps that `maintain` would take now. Changes nothing."""
        for day in await self._missing_ahead():
            yield Step(StepKind.DAY_CREATED, day)
        if self._archiver is None:
            async for step in self._without_archive():
                yield step
            return
        for stored in await self._over_retention():
            archived = await self._store.day(stored.day)
            if archived is not None and self._is_held(archived):
                yield _held(archived)
                continue
            count = await self._days.count(stored.day)
            if count and not (archived and archived.written.fingerprint.row_count == count):
                yield Step(StepKind.ARCHIVED, stored.day, count)
            yield Step(StepKind.DROPPED, stored.day, count)

    async def run(self) -> None:
        """Maintains every `interval` seconds until cancelled. What is away is waited for."""
        soon = min(self._interval, _SOON_SECONDS)
        pause = soon
        while True:
            await asyncio.sleep(pause)
            try:
                await self._maintain_if_free()
                pause = self._interval
            except Exception as error:
                text = str(error) if isinstance(error, ArchiveError) else type(error).__name__
                log.warning("storage maintenance waits", error=text)
                pause = soon

    async def _maintain_if_free(self) -> None:
        """One round; none where another process is at it."""
        async with self._store.turn() as turn:
            if turn is None:
                return
            async with aclosing(self._in_turn(turn)) as steps:
                async for step in steps:
                    log.info(
                        "storage",
                        step=step.kind.name.lower(),
                        day=str(step.day or ""),
                        rows=step.row_count,
                        detail=step.detail or None,
                    )

    async def _in_turn(self, turn: Turn) -> AsyncGenerator[Step]:
        for day in await self._missing_ahead():
            self._profile.forget([day])
            await self._profile.ensure([day])
            yield Step(StepKind.DAY_CREATED, day)
        if self._archiver is None:
            async for step in self._without_archive():
                yield step
            return
        await self._archiver.prepare(turn)
        for stored in await self._over_retention():
            try:
                async with aclosing(self._let_go(self._archiver, turn, stored.day)) as steps:
                    async for step in steps:
                        yield step
            except DamagedError as error:
                log.warning("a day cannot go", day=str(stored.day), problem=str(error))
                yield Step(StepKind.KEPT, stored.day, detail=str(error))

    async def _let_go(self, archiver: Archiver, turn: Turn, day: date) -> AsyncGenerator[Step]:
        """Archives a day and drops it."""
        archived = await self._store.day(day)
        if archived is not None and self._is_held(archived):
            yield _held(archived)
            return
        if archived is not None and archived.dropped_at and await self._days.count(day):
            await archiver.restore(turn, archived, None)
            archived = await self._store.day(day)
        reason = ""
        for _ in range(_ARCHIVE_ATTEMPTS):
            count = await self._days.count(day)
            if count and not (archived and await self._lies_in(archiver, archived)):
                yield Step(StepKind.ARCHIVING, day)
                archived = await archiver.write(turn, day)
                written = archived.written
                count = written.fingerprint.row_count
                yield Step(StepKind.ARCHIVED, day, count, written.byte_size)
            reason = await self._drop(turn, day, archived if count else None)
            if not reason:
                yield Step(StepKind.DROPPED, day, count)
                return
            if reason != _CHANGED:
                break
        yield Step(StepKind.KEPT, day, detail=reason)

    async def _lies_in(self, archiver: Archiver, archived: ArchivedDay) -> bool:
        """Whether the day's file is there, whole, and holds exactly the day's rows."""
        async with self._days.snapshot(archived.day) as snapshot:
            here = await snapshot.fingerprint()
        return here == archived.written.fingerprint and not await archiver.problem(archived)

    async def _drop(self, turn: Turn, day: date, archived: ArchivedDay | None) -> str:
        """Drops a day, with patience; why it could not, or "". `archived` is None without rows."""
        reason = ""
        for pause in _DROP_PAUSES_SECONDS:
            await asyncio.sleep(pause)
            reason = await self._try_to_drop(turn, day, archived)
            if reason in ("", _CHANGED):
                break
        return reason

    async def _try_to_drop(self, turn: Turn, day: date, archived: ArchivedDay | None) -> str:
        try:
            async with turn.transaction() as connection:
                if await store_days.has_pending_statistics(connection, day):
                    return "Its statistics are still to be calculated."
                if archived is not None:
                    here = await store_days.fingerprint_of_day(connection, day)
                    if here != archived.written.fingerprint:
                        return _CHANGED
                # Before the drop, which the commit has to follow at once.
                await day_changed(connection, day)
                if not await store_archive.drop_day(connection, day, self._now()):
                    return _CHANGED
                self._failpoints.hit("day_dropped")
        except store_archive.DayInUseError:
            return "It is being read; it goes once nobody reads it."
        self._failpoints.hit("drop_committed")
        return ""

    async def _missing_ahead(self) -> list[date]:
        """The days ahead that there is no room for yet."""
        there = {stored.day for stored in await self._days.days()}
        return [day for day in self._profile.ahead() if day not in there]

    async def _over_retention(self) -> list[StoredDay]:
        """The days that may go by their age, the oldest first."""
        kept = first_day_kept(self._now(), self._retention_days)
        return [stored for stored in await self._days.days() if stored.day < kept]

    async def _without_archive(self) -> AsyncGenerator[Step]:
        overdue = await self._over_retention()
        if overdue:
            yield Step(
                StepKind.KEPT,
                detail=f"{len(overdue)} days are over retention, and no archive is set "
                "(SERVEMARK_ARCHIVE_URL): nothing is dropped.",
            )

    async def _overdue_count(self) -> int:
        held = {archived.day for archived in await self._store.days() if self._is_held(archived)}
        return sum(stored.day not in held for stored in await self._over_retention())

    def _is_held(self, archived: ArchivedDay) -> bool:
        return archived.keep_until is not None and archived.keep_until > self._now()


def _held(archived: ArchivedDay) -> Step:
    return Step(
        StepKind.KEPT,
        archived.day,
        detail=f"It was restored, and is kept until {archived.keep_until:%Y-%m-%d %H:%M} UTC.",
    )
