"""SQL that makes a batch durable: cursor, rows, marks, rejections and event in one transaction.

What is the *same content* of a result: its configuration, its figures, counts and batch size, where
its percentiles come from, the tool's own figures and the digest of its source. Not the stream, the
tool, or when it was stored: the same measurement may come by another road.
"""

from collections.abc import Callable
from typing import Any, Final
from uuid import UUID

import asyncpg
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from servemark.runtime.database import Database, driver_connection
from servemark.runtime.errors import ServemarkError, reason_name
from servemark.type.v1.error_reason_pb2 import ErrorReason
from services.ingest import copy_format
from services.ingest.failpoints import Failpoints
from services.ingest.metrics import METRIC_COLUMNS
from services.ingest.records import (
    BatchOutcome,
    CheckedBatch,
    OutboxEvent,
    RowRejection,
    StoredRows,
)
from services.ingest.tables import streams

# Makes the event that says what a batch of a stream stored.
Announce = Callable[[UUID, int, StoredRows], OutboxEvent]

SAME_CONTENT: Final = (
    "config_id",
    *METRIC_COLUMNS,
    "request_count",
    "failed_request_count",
    "batch_size",
    "percentile_source",
    "source_sha256",
    "detailed_metrics",
)

_COLUMNS = ", ".join(copy_format.COPY_COLUMNS)

# Nothing is known of the size of the temporary table: without the two settings the planner may read
# every partition to compare a few rows.
_PREPARE_INCOMING = f"""
    CREATE TEMP TABLE IF NOT EXISTS incoming_results ON COMMIT DELETE ROWS AS
        SELECT {_COLUMNS}, 0 AS {copy_format.POSITION_COLUMN}
        FROM ingest.benchmark_results WITH NO DATA;
    SET LOCAL enable_hashjoin = off;
    SET LOCAL enable_mergejoin = off
"""  # noqa: S608  (column names of this package)

# Of rows with one id the first in the batch counts; the others are compared with what is stored.
_INSERT_INCOMING = f"""
    WITH stored AS (
        INSERT INTO benchmark_results ({_COLUMNS})
        SELECT {_COLUMNS} FROM (
            SELECT DISTINCT ON (id) * FROM incoming_results
            ORDER BY id, {copy_format.POSITION_COLUMN}
        ) AS first
        ON CONFLICT DO NOTHING
        RETURNING config_id, model_id, benchmark_date
    )
    SELECT config_id, model_id, benchmark_date, count(*) AS row_count
    FROM stored GROUP BY config_id, model_id, benchmark_date
"""  # noqa: S608

# A statement of its own, after the insert: it sees what a concurrent batch committed meanwhile.
_FIND_REUSED = f"""
    SELECT incoming.{copy_format.POSITION_COLUMN} AS position
    FROM incoming_results AS incoming
    JOIN benchmark_results AS result
        ON result.id = incoming.id AND result.benchmarked_at = incoming.benchmarked_at
    WHERE ({", ".join(f"incoming.{name}" for name in SAME_CONTENT)})
        IS DISTINCT FROM ({", ".join(f"result.{name}" for name in SAME_CONTENT)})
    ORDER BY position
"""  # noqa: S608

_ADVANCE = """
    WITH marked AS (
        INSERT INTO dirty_days (model_id, stats_date)
        SELECT * FROM unnest($5::uuid[], $6::date[])
    ), told AS (
        INSERT INTO outbox (id, topic, payload, created_at)
        SELECT $12::uuid, $13::text, $14::bytea, statement_timestamp() WHERE $12 IS NOT NULL
    ), refused AS (
        INSERT INTO result_rejections
            (stream_id, sequence, row_index, result_id, reason, detail, payload_sha256)
        SELECT $1::uuid, $2::bigint, rows.*
        FROM unnest($7::int[], $8::text[], $9::text[], $10::text[], $11::bytea[]) AS rows
    )
    UPDATE streams SET
        next_sequence = $2 + 1,
        stored_count = stored_count + $3::bigint,
        duplicate_count = duplicate_count + $4::bigint,
        rejected_count = rejected_count + cardinality($7),
        updated_at = clock_timestamp()
    WHERE stream_id = $1
"""


class PartitionMissingError(LookupError):
    """A day of the batch has no partition; nothing was stored."""


class AppendStore:
    """Makes batches durable, each exactly once.

    `announce` makes the event that says so; `failpoints` are for tests of faults.
    """

    def __init__(self, database: Database, announce: Announce, failpoints: Failpoints) -> None:
        self._database = database
        self._announce = announce
        self._failpoints = failpoints

    async def append(
        self, stream_id: UUID, batch: CheckedBatch, *, expect_duplicates: bool = False
    ) -> BatchOutcome:
        """What became of the batch, after its transaction was committed.

        A sequence below the cursor changes nothing; one beyond it raises SEQUENCE_GAP. With
        `expect_duplicates` the rows are compared at once instead of after a collision: the outcome
        is the same, only the cheaper way to it differs.
        """
        self._failpoints.hit("before_tx")
        try:
            outcome = await self._attempt(stream_id, batch, compare=expect_duplicates)
        except asyncpg.UniqueViolationError:
            # A row is stored already, or twice in the batch. All of the attempt was rolled back.
            outcome = await self._attempt(stream_id, batch, compare=True)
        except asyncpg.CheckViolationError as error:
            # The only check on results is that of the partitions.
            raise PartitionMissingError(str(error)) from error
        self._failpoints.hit("after_commit_before_ack")
        return outcome

    async def _attempt(
        self, stream_id: UUID, batch: CheckedBatch, *, compare: bool
    ) -> BatchOutcome:
        """One transaction. Without `compare`, rows that are stored already make it fail."""
        async with self._database.transaction() as connection:
            expected = await self._lock_cursor(connection, stream_id)
            if batch.sequence < expected:
                return BatchOutcome(batch.sequence, 0, batch.row_count, replayed=True)
            if batch.sequence > expected:
                raise _gap(batch.sequence, expected)
            driver = await driver_connection(connection)
            store = _store_compared if compare else _store_fresh
            stored, reused = await store(driver, batch)
            self._failpoints.hit("after_rows")
            outcome = BatchOutcome(
                sequence=batch.sequence,
                stored_count=stored.count,
                duplicate_count=len(batch.rows) - stored.count - len(reused),
                rejections=sorted((*batch.rejections, *reused), key=lambda refused: refused.row),
            )
            event = self._announce(stream_id, batch.sequence, stored) if stored.count else None
            await _advance(driver, stream_id, outcome, stored, event)
            self._failpoints.hit("before_commit")
        return outcome

    async def _lock_cursor(self, connection: AsyncConnection, stream_id: UUID) -> int:
        # The lock on the row makes two clients of one stream take turns.
        cursor = await connection.scalar(
            select(streams.c.next_sequence)
            .where(streams.c.stream_id == stream_id)
            .with_for_update()
        )
        if cursor is None:
            raise LookupError(f"stream {stream_id} was not opened")
        return int(cursor)


def _gap(sequence: int, expected: int) -> ServemarkError:
    return ServemarkError(
        ErrorReason.ERROR_REASON_SEQUENCE_GAP,
        f"The batch has sequence {sequence}, the stream expects {expected}. Go on from there.",
        metadata={"expected_sequence": str(expected)},
    )


async def _store_fresh(driver: Any, batch: CheckedBatch) -> tuple[StoredRows, list[RowRejection]]:
    """Stores rows that are all new. Raises UniqueViolationError if one is not."""
    if not batch.rows:
        return StoredRows(0, frozenset(), frozenset()), []
    await driver.copy_to_table(
        "benchmark_results",
        source=copy_format.document(batch.rows),
        columns=copy_format.COPY_COLUMNS,
        format="binary",
    )
    return StoredRows(len(batch.rows), batch.config_ids, batch.model_days), []


async def _store_compared(
    driver: Any, batch: CheckedBatch
) -> tuple[StoredRows, list[RowRejection]]:
    """Stores the rows that are new, and compares the others with what is stored.

    Returns also the rejections of rows whose id is stored with other content.
    """
    await driver.execute(_PREPARE_INCOMING)
    await driver.copy_to_table(
        "incoming_results",
        source=copy_format.document_with_positions(batch.rows, batch.positions),
        columns=(*copy_format.COPY_COLUMNS, copy_format.POSITION_COLUMN),
        format="binary",
    )
    groups = await driver.fetch(_INSERT_INCOMING)
    stored = StoredRows(
        # Counted by RETURNING: a command tag may count rows that were not inserted.
        count=sum(group["row_count"] for group in groups),
        config_ids=frozenset(group["config_id"] for group in groups),
        model_days=frozenset((group["model_id"], group["benchmark_date"]) for group in groups),
    )
    reused = await driver.fetch(_FIND_REUSED)
    return stored, [batch.refuse_reused(row["position"]) for row in reused]


async def _advance(
    driver: Any,
    stream_id: UUID,
    outcome: BatchOutcome,
    stored: StoredRows,
    event: OutboxEvent | None,
) -> None:
    """Moves the cursor on, and notes the days to calculate again, the refused rows, the event."""
    refused = outcome.rejections
    days = sorted(stored.model_days)
    await driver.execute(
        _ADVANCE,
        stream_id,
        outcome.sequence,
        outcome.stored_count,
        outcome.duplicate_count,
        [model_id for model_id, _ in days],
        [day for _, day in days],
        [rejection.row for rejection in refused],
        [rejection.result_id for rejection in refused],
        [reason_name(rejection.reason) for rejection in refused],
        [rejection.detail for rejection in refused],
        [rejection.payload_sha256 for rejection in refused],
        event.id if event else None,
        event.topic if event else None,
        event.payload if event else None,
    )
