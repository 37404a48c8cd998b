"""Moves results from day partitions into a hypertable, while streams go on writing.

The hypertable grows beside the partitions, in a schema of its own. Each day is copied in one
transaction and compared on both sides: number of rows, and a checksum of every bit of every row,
whatever their order. A trigger meanwhile notes the days that get rows, and those are copied again,
round after round, until what is left is little. That is copied and compared in a last transaction
which keeps everybody out, and in which the hypertable takes the place of the partitions.

Whatever is interrupted leaves the partitions as they are. What was copied stays beside them, and
the next run goes on from there: a day that was compared is compared again only if it got rows.

Runs with the rights of the database's owner. The DDL is the migration's that chose the storage
profile.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, TypeVar

from sqlalchemy import Row, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from migrations import storage_sql as sql
from migrations.runner import ADVISORY_LOCK, current, head

Say = Callable[[str], None]
T = TypeVar("T")

# Streams that write all the time leave something to every round. Another one is worth while only if
# it leaves much less to the last transaction.
_SHORT_ROUND_SECONDS: Final = 0.5
_MUCH_LESS: Final = 0.7
# Whoever asks for the table behind one who waits for it waits, too, so nobody waits long for it:
# less than after what PostgreSQL looks for a deadlock, and would end somebody else's transaction.
_LOCK_WAIT: Final = "700ms"
_LOCK_PAUSE_SECONDS: Final = 0.3
_LOCK_ATTEMPTS: Final = 100
# Lock not available, statement timed out, deadlock.
_NOT_ALONE: Final = ("55P03", "57014", "40P01")
_NOT_ALLOWED: Final = "42501"


class MoveError(Exception):
    """The results cannot be moved; the text is a sentence that says why and what to do."""


@dataclass(frozen=True)
class Moved:
    """What was moved, for how long everybody had to wait, and how much the partitions take.

    `was` is the profile before: results that lay in a hypertable already were not moved.
    """

    was: str
    profile: str
    days: int = 0
    rows: int = 0
    locked_seconds: float = 0.0
    kept_bytes: int = 0


async def move_results(dsn: str, say: Say) -> Moved:
    """Moves the results; `dsn` must own the database, and `say` is told how far it got.

    The partitions stay, in the schema `ingest_native`, where no service reads or writes. A reader
    that began before the exchange, and asks for results only after it, may for once miss those that
    were copied last. Raises MoveError, and what the driver raises.
    """
    async with _owner(dsn) as connection:
        await _require_newest_schema(connection)
        profile = await _value(connection, sql.RECORDED)
        (offered,) = await _rows(connection, "SELECT * FROM ingest.offered_profile()")
        if (profile, offered.profile) == ("timescale-apache", "timescale"):
            await _execute(connection, "SELECT ingest.compress_old_days()")
            return Moved(profile, offered.profile)
        if profile != "native":
            raise MoveError(f"Results lie in a hypertable already: the profile is {profile}.")
        if offered.profile == "native":
            raise MoveError(f"Results stay in native partitions: {offered.reason}.")
        move = _Move(connection, offered.profile, say)
        await move.prepare()
        await move.copy()
        return await move.finish()


async def drop_partitions(dsn: str) -> int:
    """Drops the partitions that results were moved from; their size in bytes, 0 for none.

    Raises MoveError while results lie in them, and what the driver raises.
    """
    async with _owner(dsn) as connection:
        if await _value(connection, sql.RECORDED) == "native":
            raise MoveError("Results lie in native partitions; they were not moved from them.")
        size = int(await _value(connection, sql.KEPT_BYTES))
        await _execute(connection, "DROP SCHEMA IF EXISTS ingest_native CASCADE")
        return size


class _Move:
    """One run. `connection` is in autocommit."""

    def __init__(self, connection: AsyncConnection, profile: str, say: Say) -> None:
        self._connection = connection
        self._profile = profile
        self._say = say
        self._columns = ""
        self._written = ""

    async def prepare(self) -> None:
        """Makes the hypertable and the trigger, or finds those of an earlier run."""
        if await self._can_go_on():
            self._say("Going on from where an earlier run was interrupted.")
        else:
            # Readers may stay.
            await self._locked("SHARE ROW EXCLUSIVE", self._begin)
        columns = await _rows(self._connection, sql.COLUMNS)
        self._columns = ", ".join(column.name for column in columns)
        self._written = ", ".join(column.name for column in columns if column.is_written)

    async def copy(self) -> None:
        """Copies what is there, until there is little that the last transaction has to copy."""
        before = float("inf")
        while True:
            started = time.monotonic()
            for found in await _rows(self._connection, sql.TO_COPY):
                async with _transaction(self._connection, "REPEATABLE READ"):
                    rows = await self._copy_day(found.day, found.part)
                self._say(f"{found.day}: {rows:,} rows are the same on both sides.")
            took = time.monotonic() - started
            if took < _SHORT_ROUND_SECONDS or took > before * _MUCH_LESS:
                break
            before = took
        await _execute(self._connection, f"ANALYZE {sql.NEW}")

    async def finish(self) -> Moved:
        """Copies the rest with nobody else at the table, and puts the hypertable in its place."""
        days, rows, seconds = await self._locked("ACCESS EXCLUSIVE", self._exchange)
        kept = int(await _value(self._connection, sql.KEPT_BYTES))
        return Moved("native", self._profile, days, rows, seconds, kept)

    async def _can_go_on(self) -> bool:
        there = "SELECT to_regclass('ingest_hypertable.moved_days') IS NOT NULL"
        if not await _value(self._connection, there):
            return False
        return bool(await _value(self._connection, sql.CAN_GO_ON))

    async def _begin(self) -> None:
        """Makes everything anew while nobody writes: whoever writes later finds the trigger."""
        await _execute(self._connection, "DROP SCHEMA IF EXISTS ingest_hypertable CASCADE")
        await _execute(self._connection, "SELECT ingest.build_hypertable()")
        for statement in sql.NOTE_CHANGED_DAYS:
            await _execute(self._connection, statement)

    async def _exchange(self) -> tuple[int, int, float]:
        """The last transaction: days and rows that were moved, and the seconds it took."""
        started = time.monotonic()
        for found in await _rows(self._connection, sql.TO_COPY):
            await self._copy_day(found.day, found.part)
        for found in await _rows(self._connection, sql.GONE):
            await self._clear_day(found.day)
        (moved,) = await _rows(self._connection, sql.MOVED)
        adopt = "SELECT ingest.adopt_hypertable(:profile, keep_partitions => true)"
        await _execute(self._connection, adopt, profile=self._profile)
        return int(moved.days), int(moved.rows), time.monotonic() - started

    async def _locked(self, mode: str, work: Callable[[], Awaitable[T]]) -> T:
        """What `work` answers, done in one transaction with the partitions locked."""
        for attempt in range(_LOCK_ATTEMPTS):
            if attempt:
                await asyncio.sleep(_LOCK_PAUSE_SECONDS)
            try:
                async with _transaction(self._connection):
                    for statement in (
                        f"SET LOCAL lock_timeout = '{_LOCK_WAIT}'",
                        # For the locks on all partitions together.
                        f"SET LOCAL statement_timeout = '{_LOCK_WAIT}'",
                        f"LOCK TABLE {sql.OLD} IN {mode} MODE",
                        "SET LOCAL statement_timeout = 0",
                    ):
                        await _execute(self._connection, statement)
                    return await work()
            except DBAPIError as error:
                if _code(error) not in _NOT_ALONE:
                    raise
        raise MoveError(
            "Somebody reads or writes results all the time, so they cannot be exchanged. What was "
            "copied stays: try again."
        )

    async def _copy_day(self, day: date, part: int) -> int:
        """Copies what a day lacks, and compares the day; the number of its rows.

        In a transaction that sees one moment, or that is alone: the notes that are taken away are
        those of rows that are seen.
        """
        await _execute(
            self._connection, "DELETE FROM ingest_hypertable.changed_days WHERE day = :day", day=day
        )
        await self._copy_rows(day)
        wanted = await self._fingerprint(sql.OLD, day)
        if await self._fingerprint(sql.NEW, day) != wanted:
            # Rows that were copied are no longer here: a day that was dropped, and came again.
            await self._clear_day(day)
            await self._copy_rows(day)
            if await self._fingerprint(sql.NEW, day) != wanted:
                raise MoveError(
                    f"The copy of {day} differs from its rows. Results stay where they are."
                )
        rows, _ = wanted
        await _execute(
            self._connection,
            "INSERT INTO ingest_hypertable.moved_days VALUES (:day, :part, :rows) "
            "ON CONFLICT (day) DO UPDATE SET part = :part, row_count = :rows",
            day=day,
            part=part,
            rows=rows,
        )
        return rows

    async def _copy_rows(self, day: date) -> None:
        await _execute(
            self._connection,
            f"INSERT INTO {sql.NEW} ({self._written}) "  # noqa: S608
            f"SELECT {self._written} FROM {sql.OLD} AS old WHERE {sql.WITHIN} AND NOT EXISTS ("
            f"SELECT FROM {sql.NEW} AS new WHERE {sql.WITHIN} "
            "AND new.id = old.id AND new.benchmarked_at = old.benchmarked_at)",
            **_span(day),
        )

    async def _clear_day(self, day: date) -> None:
        await _execute(
            self._connection,
            f"DELETE FROM {sql.NEW} WHERE {sql.WITHIN}",  # noqa: S608
            **_span(day),
        )
        await _execute(
            self._connection, "DELETE FROM ingest_hypertable.moved_days WHERE day = :day", day=day
        )

    async def _fingerprint(self, table: str, day: date) -> tuple[int, str]:
        """How many rows a day has, and a checksum that does not depend on their order."""
        (found,) = await _rows(
            self._connection,
            "SELECT count(*) AS rows, coalesce(sum(hashtextextended("  # noqa: S608
            f"encode(record_send(ROW({self._columns})), 'hex'), 0)), 0)::text AS checksum "
            f"FROM {table} WHERE {sql.WITHIN}",
            **_span(day),
        )
        return int(found.rows), str(found.checksum)


@asynccontextmanager
async def _owner(dsn: str) -> AsyncIterator[AsyncConnection]:
    """A connection in autocommit, alone among migrations. Raises MoveError for whom it is not."""
    _, _, rest = dsn.partition("://")
    engine = create_async_engine(f"postgresql+asyncpg://{rest}", isolation_level="AUTOCOMMIT")
    try:
        async with engine.connect() as connection:
            lock = "SELECT pg_try_advisory_lock(:key)"
            if not await _value(connection, lock, key=ADVISORY_LOCK):
                raise MoveError("Another migration is at work. Try again when it is done.")
            await _execute(connection, "SET statement_timeout = 0")
            yield connection
    except DBAPIError as error:
        if _code(error) != _NOT_ALLOWED:
            raise
        raise MoveError("Only the login that owns the database may move its results.") from error
    finally:
        # With its connection the lock ends.
        await engine.dispose()


@asynccontextmanager
async def _transaction(
    connection: AsyncConnection, isolation: str = "READ COMMITTED"
) -> AsyncIterator[None]:
    await _execute(connection, f"BEGIN ISOLATION LEVEL {isolation}")
    try:
        yield
    except BaseException:
        with suppress(DBAPIError):
            await _execute(connection, "ROLLBACK")
        raise
    await _execute(connection, "COMMIT")


async def _require_newest_schema(connection: AsyncConnection) -> None:
    if await connection.run_sync(current, "ingest") != head("ingest"):
        raise MoveError("The schema is not at its newest revision: run `servemark migrate` first.")


async def _rows(
    connection: AsyncConnection, statement: str, **values: object
) -> Sequence[Row[Any]]:
    return (await connection.execute(text(statement), values)).all()


async def _value(connection: AsyncConnection, statement: str, **values: object) -> Any:
    return (await connection.execute(text(statement), values)).scalar_one()


async def _execute(connection: AsyncConnection, statement: str, **values: object) -> None:
    await connection.execute(text(statement), values)


def _span(day: date) -> dict[str, datetime]:
    starts = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return {"starts": starts, "ends": starts + timedelta(days=1)}


def _code(error: DBAPIError) -> str | None:
    code: str | None = getattr(error.orig, "sqlstate", None)
    return code
