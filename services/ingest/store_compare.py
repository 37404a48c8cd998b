"""SQL that stores rows of which some may be stored already, and compares those with what is.

What is the *same content* of a result: its configuration, its figures, counts and batch size, where
its percentiles come from, the tool's own figures, its sketches and the digest of its source. Not
the stream, the tool, or when it was stored: the same measurement may come by another road.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any, Final

from services.ingest.copy_format import COPY_COLUMNS, HEADER, POSITION_COLUMN, ROW_COLUMNS, TRAILER
from services.ingest.profile import Target
from services.ingest.records import CheckedBatch, Day, RowRejection, StoredRows

# Every column of a row but the two of its id, and what it is a measurement of.
SAME_CONTENT: Final = ("config_id", *ROW_COLUMNS[2:])

_COLUMNS = ", ".join(COPY_COLUMNS)
_INCOMING = ", ".join(f"incoming.{name}" for name in SAME_CONTENT)
_STORED = ", ".join(f"result.{name}" for name in SAME_CONTENT)

# Nothing is known of the size of the temporary table: without the two settings the planner may read
# whole days to compare a few rows.
_PREPARE = f"""
    CREATE TEMP TABLE IF NOT EXISTS incoming_results ON COMMIT DELETE ROWS AS
        SELECT {_COLUMNS}, 0 AS {POSITION_COLUMN}
        FROM ingest.benchmark_results WITH NO DATA;
    SET LOCAL enable_hashjoin = off;
    SET LOCAL enable_mergejoin = off
"""  # noqa: S608  (column names of this package)

# Where days lie in columns, a look-up of each row would unpack them each time.
_READ_DAYS_WHOLE = "SET LOCAL enable_hashjoin = on; SET LOCAL enable_nestloop = off"
_READ_BY_KEY = "SET LOCAL enable_hashjoin = off; SET LOCAL enable_nestloop = on"


def _compare(target: Target) -> str:
    """The statement that finds, for rows of the given span of time, the new and the different."""
    # Named in the text: a plan that was kept for the one way is none for the other.
    way = "in columns" if target.columnar else "by key"
    return f"""
        /* {way} */ SELECT count(*) FILTER (WHERE result.id IS NULL) AS new_count,
            array_agg(incoming.{POSITION_COLUMN} ORDER BY incoming.{POSITION_COLUMN}) FILTER (
                WHERE result.id IS NOT NULL AND ({_INCOMING}) IS DISTINCT FROM ({_STORED})
            ) AS reused
        FROM incoming_results AS incoming
        LEFT JOIN {target.table} AS result
            ON result.id = incoming.id AND result.benchmarked_at = incoming.benchmarked_at
            AND result.benchmarked_at >= $1 AND result.benchmarked_at < $2
        WHERE incoming.benchmarked_at >= $1 AND incoming.benchmarked_at < $2
    """  # noqa: S608


def _insert(conflict: str) -> str:
    """The statement that stores the rows that are new, and counts them.

    Of rows with one id the first in the batch counts; the others are compared with what is stored.
    """
    return f"""
        WITH stored AS (
            INSERT INTO benchmark_results ({_COLUMNS})
            SELECT {_COLUMNS} FROM (
                SELECT DISTINCT ON (id) * FROM incoming_results ORDER BY id, {POSITION_COLUMN}
            ) AS first
            ON CONFLICT {conflict} DO NOTHING
            RETURNING model_id, config_id, benchmark_date
        )
        SELECT model_id, config_id, benchmark_date, count(*) AS row_count
        FROM stored GROUP BY model_id, config_id, benchmark_date
    """  # noqa: S608


_INSERT = _insert("")
# TimescaleDB passes over the batches of a compressed day by their filters only if the key is named:
# 0.5 instead of 10 milliseconds a row, among 300,000 rows.
_INSERT_AMONG_COLUMNS = _insert("(id, benchmarked_at)")


async def store_compared(
    driver: Any, batch: CheckedBatch, targets: Sequence[Target]
) -> tuple[StoredRows, list[RowRejection]]:
    """Stores the rows that are new, and compares the others with what is stored.

    Returns also the rejections of rows whose id is stored with other content.
    """
    await driver.execute(_PREPARE)
    await driver.copy_to_table(
        "incoming_results",
        source=_document(batch),
        columns=(*COPY_COLUMNS, POSITION_COLUMN),
        format="binary",
    )
    new_count, reused = await _compared(driver, targets)
    stored = StoredRows()
    if new_count:
        among_columns = any(target.columnar for target in targets)
        groups = await driver.fetch(_INSERT_AMONG_COLUMNS if among_columns else _INSERT)
        stored = StoredRows(
            # Counted by RETURNING: a command tag may count rows that were not inserted.
            sum(group["row_count"] for group in groups),
            list({group["config_id"] for group in groups}),
            frozenset((group["model_id"], group["benchmark_date"]) for group in groups),
        )
        # Again, in a statement that sees the rows of this batch and those that a concurrent one
        # committed meanwhile.
        _, reused = await _compared(driver, targets)
    return stored, [batch.refuse_reused(position) for position in reused]


async def _document(batch: CheckedBatch) -> AsyncIterator[bytes]:
    yield HEADER
    for day in batch.days:
        for piece in batch.rows.pieces(day.start, day.rows, positions=True):
            yield piece
    yield TRAILER


async def _compared(driver: Any, targets: Sequence[Target]) -> tuple[int, list[int]]:
    """How many rows are new, and the indexes of those that are stored with other content."""
    new_count, reused = 0, list[int]()
    for target in targets:
        if target.columnar:
            await driver.execute(_READ_DAYS_WHOLE)
        found = await driver.fetchrow(_compare(target), *_span(target.days))
        if target.columnar:
            await driver.execute(_READ_BY_KEY)
        new_count += found["new_count"]
        reused += found["reused"] or []
    return new_count, reused


def _span(days: Sequence[Day]) -> tuple[datetime, datetime]:
    """The first instant of the first day, and that after the last."""
    first, last = days[0].date, days[-1].date + timedelta(days=1)
    return datetime.combine(first, time(), UTC), datetime.combine(last, time(), UTC)
