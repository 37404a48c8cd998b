"""SQL for whole days of results: which there are, what is in one, out to a file and back from it.

Everything but the two functions of the schema is plain SQL on `benchmark_results`, so it is the
same for every storage profile. Rows come out and go in as CSV, which parquet.py understands.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

import asyncpg
from sqlalchemy import UniqueConstraint, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from servemark.runtime.database import Database, driver_connection
from services.ingest.archive.layout import COLUMNS, ArchiveColumn
from services.ingest.archive.records import DamagedError, Fingerprint, StoredDay
from services.ingest.tables import benchmark_configs, benchmark_results, dirty_days, settings

# Counting what lies in less takes well under a second.
_COUNTED_BYTES: Final = 256 * 1024 * 1024

_DAY: Final = "r.benchmarked_at >= $1 AND r.benchmarked_at < $2"
_RESULTS: Final = """
    benchmark_results AS r
    LEFT JOIN benchmark_configs AS c ON c.model_id = r.model_id AND c.id = r.config_id
"""
# The rows of a file while they are compared and before they are stored.
_STAGE: Final = "archived_rows"
# The natural key, in whose order streams insert new configurations, too: none waits in a circle.
_CONFIG_KEY: Final = next(
    ", ".join(column.name for column in constraint.columns)
    for constraint in benchmark_configs.constraints
    if isinstance(constraint, UniqueConstraint)
)


@dataclass(frozen=True, slots=True)
class Extent:
    """How results are stored, and how many. `timescaledb_version` is "" where it is not there."""

    profile: str
    timescaledb_version: str
    days: Sequence[StoredDay]
    oldest_day: date | None
    newest_day: date | None
    row_count: int
    is_estimate: bool


class DaySnapshot:
    """One moment of a day: its fingerprint and its rows are of the same set."""

    def __init__(self, connection: AsyncConnection, day: date) -> None:
        self._connection = connection
        self._day = day

    async def fingerprint(self) -> Fingerprint:
        """What the day holds."""
        return await fingerprint_of_day(self._connection, self._day)

    async def copy(self, consume: Callable[[bytes], Awaitable[None]]) -> None:
        """Hands the rows to `consume` as CSV, in order of id; it gets pieces of any length.

        The next piece is read when `consume` has returned.
        """
        driver = await driver_connection(self._connection)
        await driver.copy_from_query(
            f"SELECT {', '.join(map(_out, COLUMNS))} "  # noqa: S608  (columns of this service)
            f"FROM {_RESULTS} WHERE {_DAY} ORDER BY r.id",
            *day_span(self._day),
            output=consume,
            format="csv",
        )


class DayStore:
    """Days of results."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def days(self) -> list[StoredDay]:
        """The days that there is room for, the oldest first."""
        async with self._database.transaction() as connection:
            return await _days(connection)

    async def count(self, day: date) -> int:
        """Results of a day."""
        query = text(
            "SELECT count(*) FROM benchmark_results AS r "
            "WHERE r.benchmarked_at >= :start AND r.benchmarked_at < :end"
        )
        start, end = day_span(day)
        async with self._database.transaction() as connection:
            return int(await connection.scalar(query, {"start": start, "end": end}) or 0)

    async def extent(self) -> Extent:
        """How results are stored. Counts them where that is quick, else takes the estimate."""
        async with self._database.transaction() as connection:
            profile = await connection.scalar(
                select(settings.c.value).where(settings.c.name == "storage_profile")
            )
            version = await connection.scalar(
                text("SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'")
            )
            days = await _days(connection)
            is_estimate = sum(day.byte_size for day in days) > _COUNTED_BYTES
            return Extent(
                profile=profile or "",
                timescaledb_version=version or "",
                days=days,
                oldest_day=await _first_with_results(connection, days),
                newest_day=await _first_with_results(connection, days[::-1]),
                row_count=await (_estimated if is_estimate else _counted)(connection),
                is_estimate=is_estimate,
            )

    @asynccontextmanager
    async def snapshot(self, day: date) -> AsyncIterator[DaySnapshot]:
        """The day as it is at the beginning of the block. Writers go on."""
        async with self._database.engine.connect() as connection:
            await connection.execution_options(isolation_level="REPEATABLE READ")
            async with connection.begin():
                yield DaySnapshot(connection, day)

    async def fingerprint_of_file(
        self, columns: Sequence[ArchiveColumn], rows: AsyncIterator[bytes]
    ) -> Fingerprint:
        """What the rows of a file are in this database, had it stored them. Nothing is stored."""
        async with self._database.transaction() as connection:
            return await stage(connection, columns, rows)


async def fingerprint_of_day(
    connection: AsyncConnection, day: date, columns: Sequence[ArchiveColumn] = COLUMNS
) -> Fingerprint:
    """What a day holds in the given columns."""
    return await _fingerprint(
        connection,
        [column.source for column in columns],
        f"{_RESULTS} WHERE {_DAY}",
        *day_span(day),
    )


async def stage(
    connection: AsyncConnection, columns: Sequence[ArchiveColumn], rows: AsyncIterator[bytes]
) -> Fingerprint:
    """Reads a file's rows into a temporary table, gone with the transaction; what they are.

    Raises DamagedError for rows that the database does not take.
    """
    driver = await driver_connection(connection)
    wanted = ", ".join(f"{column.source} AS {column.name}" for column in columns)
    await driver.execute(
        f"CREATE TEMP TABLE {_STAGE} ON COMMIT DROP AS SELECT {wanted} "  # noqa: S608
        "FROM benchmark_results AS r JOIN benchmark_configs AS c ON false WITH NO DATA"
    )
    names = [column.name for column in columns]
    try:
        await driver.copy_to_table(_STAGE, source=rows, columns=names, format="csv")
    except asyncpg.DataError as error:
        raise DamagedError(f"Its rows cannot be read: {error}.") from error
    # Nothing else tells the planner how many they are.
    await driver.execute(f"ANALYZE {_STAGE}")
    return await _fingerprint(connection, names, _STAGE)


async def store_staged(
    connection: AsyncConnection, day: date, columns: Sequence[ArchiveColumn]
) -> int:
    """Stores the staged rows that are not there yet, with their configurations; how many.

    The day's statistics are calculated again. Raises DamagedError where a configuration is there
    under another id.
    """
    driver = await driver_connection(connection)
    configs = [column for column in columns if column.of_config]
    into = ", ".join(["id", "model_id", *(column.source.removeprefix("c.") for column in configs)])
    taken = ", ".join(["config_id", "model_id", *(column.name for column in configs)])
    await driver.execute(
        f"INSERT INTO benchmark_configs ({into}) SELECT * FROM ("  # noqa: S608
        f"SELECT DISTINCT ON (model_id, config_id) {taken} FROM {_STAGE} "
        f"ORDER BY model_id, config_id) AS missing ({into}) ORDER BY {_CONFIG_KEY} "
        "ON CONFLICT DO NOTHING"
    )
    unknown = await driver.fetchval(
        f"SELECT config_id FROM {_STAGE} AS staged WHERE NOT EXISTS ("  # noqa: S608
        "SELECT FROM benchmark_configs AS config "
        "WHERE config.model_id = staged.model_id AND config.id = staged.config_id) LIMIT 1"
    )
    if unknown is not None:
        raise DamagedError(
            f"Its configuration {unknown} is known here under another id: the rows would belong to "
            "nothing."
        )
    names = ", ".join(column.name for column in columns if _is_stored(column))
    stored = await driver.fetchval(
        f"WITH stored AS (INSERT INTO benchmark_results ({names}) "  # noqa: S608
        f"SELECT {names} FROM {_STAGE} ORDER BY id ON CONFLICT DO NOTHING RETURNING 1) "
        "SELECT count(*) FROM stored"
    )
    if stored:
        await driver.execute("SELECT ingest.mark_day($1)", day)
    return int(stored)


async def fingerprint_of_stored(
    connection: AsyncConnection, day: date, columns: Sequence[ArchiveColumn]
) -> Fingerprint:
    """What the day holds under the ids of the staged rows."""
    return await _fingerprint(
        connection,
        [column.source for column in columns],
        f"{_RESULTS} JOIN {_STAGE} AS staged ON staged.id = r.id "
        f"AND staged.benchmarked_at = r.benchmarked_at WHERE {_DAY}",
        *day_span(day),
    )


async def has_pending_statistics(connection: AsyncConnection, day: date) -> bool:
    """Whether statistics of the day are still to be calculated from its rows."""
    pending = select(dirty_days.c.id).where(dirty_days.c.stats_date == day).limit(1)
    return await connection.scalar(pending) is not None


def day_span(day: date) -> tuple[datetime, datetime]:
    """The first instant of a UTC day, and that after its last."""
    start = datetime.combine(day, time(), UTC)
    return start, start + timedelta(days=1)


async def _fingerprint(
    connection: AsyncConnection, values: Sequence[str], source: str, *arguments: Any
) -> Fingerprint:
    """Count and checksum of rows. The binary form of a row has its columns' types and bits.

    hash_record() would be faster, but takes 0.0 and -0.0 for the same.
    """
    driver = await driver_connection(connection)
    found = await driver.fetchrow(
        "SELECT count(*) AS row_count, bit_xor(('x' || encode(sha256(record_send(ROW("  # noqa: S608
        f"{', '.join(values)}))), 'hex'))::bit(256))::text AS checksum FROM {source}",
        *arguments,
    )
    checksum = int(found["checksum"] or "0", 2).to_bytes(32, "big")
    return Fingerprint(int(found["row_count"]), checksum)


def _out(column: ArchiveColumn) -> str:
    """A column as it is written to CSV: see parquet.py."""
    if column.kind == "bytes":
        return f"encode({column.source}, 'hex')"
    if column.kind == "integers":
        # Leaves out a NULL in the array. The service stores none; the checksum would tell.
        return f"array_to_string({column.source}, ',')"
    return column.source


def _is_stored(column: ArchiveColumn) -> bool:
    return column.is_written_back and not column.of_config


async def _days(connection: AsyncConnection) -> list[StoredDay]:
    rows = await connection.execute(
        text("SELECT day, coalesce(bytes, 0), is_compressed FROM ingest.result_days() ORDER BY day")
    )
    return [StoredDay(*row) for row in rows]


async def _first_with_results(
    connection: AsyncConnection, days: Sequence[StoredDay]
) -> date | None:
    for day in days:
        start, end = day_span(day.day)
        there = select(benchmark_results.c.id).where(
            benchmark_results.c.benchmarked_at >= start, benchmark_results.c.benchmarked_at < end
        )
        if await connection.scalar(select(there.exists())):
            return day.day
    return None


async def _counted(connection: AsyncConnection) -> int:
    return int(await connection.scalar(text("SELECT count(*) FROM benchmark_results")) or 0)


async def _estimated(connection: AsyncConnection) -> int:
    plan = await connection.scalar(text("EXPLAIN (FORMAT JSON) SELECT FROM benchmark_results"))
    document = json.loads(plan) if isinstance(plan, str) else plan
    return int(document[0]["Plan"]["Plan Rows"])
