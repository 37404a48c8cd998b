"""SQL for what is known of the archive, and for the turn that changes it.

A day's row says which file holds it, and whether its rows are here, too: `dropped_at` is NULL then.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import date, datetime
from typing import Any, Final

import asyncpg
from sqlalchemy import Row, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from servemark.runtime.database import Database, driver_connection
from services.ingest.archive.records import ArchivedDay, DaySpan, Fingerprint, WrittenDay
from services.ingest.tables import archive_uploads, archived_days

_a = archived_days.c
_u = archive_uploads.c

# How long whoever waits for the turn waits before it asks again.
_TURN_SECONDS: Final = 0.5

_TRY_LOCK = text("SELECT pg_try_advisory_lock(hashtextextended('ingest.storage', 0))")
_UNLOCK = text("SELECT pg_advisory_unlock(hashtextextended('ingest.storage', 0))")

# One statement, so that little time passes between the drop and the commit.
_DROP = """
    WITH gone AS MATERIALIZED (
        SELECT ingest.drop_result_day($1) AS is_gone
    ), noted AS (
        UPDATE archived_days SET dropped_at = $2, keep_until = NULL
        FROM gone WHERE is_gone AND day = $1 AND dropped_at IS NULL
    )
    SELECT is_gone FROM gone
"""


class DayInUseError(Exception):
    """Somebody reads the results, or writes into the day: it cannot be dropped now."""


class Turn:
    """The right to change what is stored. It ends with its connection, and so does all it began.

    Transactions of the turn go through that connection: one that lost its turn can commit nothing.
    """

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """One transaction."""
        async with self._connection.begin():
            yield self._connection


class ArchiveStore:
    """What is known of the archive."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Turn | None]:
        """The turn, for the block; None where another process has it."""
        async with self._database.engine.connect() as connection:
            async with connection.begin():
                taken = bool(await connection.scalar(_TRY_LOCK))
            if not taken:
                yield None
                return
            try:
                yield Turn(connection)
                async with connection.begin():
                    await connection.execute(_UNLOCK)
            except BaseException:
                # Back in the pool with its lock it would end all such work for good.
                await connection.invalidate()
                raise

    @asynccontextmanager
    async def next_turn(self) -> AsyncIterator[Turn]:
        """The turn, for the block; waits until no other process has it."""
        while True:
            async with self.turn() as turn:
                if turn is not None:
                    yield turn
                    return
            await asyncio.sleep(_TURN_SECONDS)

    async def day(self, day: date) -> ArchivedDay | None:
        """A day in the archive; None where it is not."""
        found = await self.days(DaySpan.one(day))
        return found[0] if found else None

    async def days(self, span: DaySpan = DaySpan()) -> list[ArchivedDay]:  # noqa: B008
        """The archived days of a span, the oldest first."""
        query = select(archived_days).where(*_within(span)).order_by(_a.day)
        async with self._database.transaction() as connection:
            return [_archived_day(row) for row in await connection.execute(query)]

    async def page(self, span: DaySpan, before: date | None, limit: int) -> list[ArchivedDay]:
        """Up to `limit` archived days of a span, the latest first, before the one named."""
        query = select(archived_days).where(*_within(span))
        if before is not None:
            query = query.where(_a.day < before)
        query = query.order_by(_a.day.desc()).limit(limit)
        async with self._database.transaction() as connection:
            return [_archived_day(row) for row in await connection.execute(query)]

    async def counts(self) -> tuple[int, int]:
        """How many days are archived, and of how many of them the rows are no longer here."""
        query = select(func.count(), func.count(_a.dropped_at)).select_from(archived_days)
        async with self._database.transaction() as connection:
            total, dropped = (await connection.execute(query)).one()
        return int(total), int(dropped)

    async def uploads(self) -> list[str]:
        """Names of files that were begun and not recorded."""
        async with self._database.transaction() as connection:
            return list((await connection.scalars(select(_u.object_name))).all())

    async def verified(self, written: WrittenDay, at: datetime) -> None:
        """Notes that a file was read and found right."""
        same = (_a.day == written.day) & (_a.object_name == written.object_name)
        async with self._database.transaction() as connection:
            await connection.execute(update(archived_days).where(same).values(verified_at=at))


async def begin_upload(connection: AsyncConnection, name: str, day: date, at: datetime) -> None:
    """Notes that a file is being written."""
    await connection.execute(
        insert(archive_uploads).values(object_name=name, day=day, started_at=at)
    )


async def forget_upload(connection: AsyncConnection, name: str) -> None:
    """Forgets a file that was being written: it is recorded, or nothing is left of it."""
    await connection.execute(delete(archive_uploads).where(_u.object_name == name))


async def record(
    connection: AsyncConnection,
    written: WrittenDay,
    verified_at: datetime,
    *,
    dropped_at: datetime | None = None,
) -> None:
    """Makes a file the one that holds its day."""
    values = {
        "object_name": written.object_name,
        "row_count": written.fingerprint.row_count,
        "byte_size": written.byte_size,
        "sha256": written.sha256,
        "content_checksum": written.fingerprint.checksum,
        "archived_at": written.archived_at,
        "verified_at": verified_at,
        "dropped_at": dropped_at,
    }
    write = insert(archived_days).values(day=written.day, **values)
    await connection.execute(write.on_conflict_do_update(index_elements=[_a.day], set_=values))
    await forget_upload(connection, written.object_name)


async def drop_day(connection: AsyncConnection, day: date, at: datetime) -> bool:
    """Drops a day's rows and notes it; False where they are not as many as are archived.

    Raises DayInUseError where it would have to wait. Nobody reads or writes results from here to
    the commit, so that has to follow at once.
    """
    driver = await driver_connection(connection)
    try:
        return bool(await driver.fetchval(_DROP, day, at))
    except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError) as error:
        raise DayInUseError(str(day)) from error


async def set_restored(
    connection: AsyncConnection, day: date, at: datetime, keep_until: datetime | None
) -> None:
    """Notes that a day's rows are here again."""
    await connection.execute(
        update(archived_days)
        .where(_a.day == day)
        .values(dropped_at=None, restored_at=at, keep_until=keep_until)
    )


def _within(span: DaySpan) -> Sequence[Any]:
    conditions = []
    if span.start is not None:
        conditions.append(_a.day >= span.start)
    if span.end is not None:
        conditions.append(_a.day < span.end)
    return conditions


def _archived_day(row: Row[Any]) -> ArchivedDay:
    return ArchivedDay(
        written=WrittenDay(
            day=row.day,
            object_name=row.object_name,
            byte_size=row.byte_size,
            sha256=row.sha256,
            fingerprint=Fingerprint(row.row_count, row.content_checksum),
            archived_at=row.archived_at,
        ),
        verified_at=row.verified_at,
        dropped_at=row.dropped_at,
        restored_at=row.restored_at,
        keep_until=row.keep_until,
    )
