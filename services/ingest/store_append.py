"""SQL that makes a batch durable: cursor, rows, marks, rejections and event in one transaction.

What is the *same content* of a result: its configuration, its figures, counts and batch size, where
its percentiles come from, the tool's own figures and the digest of its source. Not the stream, the
tool, or when it was stored: the same measurement may come by another road.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

import asyncpg

from servemark.runtime.database import Database
from servemark.runtime.errors import ServemarkError, reason_name
from servemark.type.v1.error_reason_pb2 import ErrorReason
from services.ingest import store_compare
from services.ingest.copy_format import COPY_COLUMNS, HEADER, TRAILER
from services.ingest.failpoints import Failpoints
from services.ingest.profile import Target
from services.ingest.records import (
    BatchOutcome,
    CheckedBatch,
    Day,
    OutboxEvent,
    RowRejection,
    StoredRows,
)

# Makes the event that says what a batch of a stream stored.
Announce = Callable[[UUID, int, StoredRows], OutboxEvent]
# The tables that the days of a batch are copied into.
Targets = Callable[[Sequence[Day]], Sequence[Target]]
# Who waits for its turn with rows in the table may be waited for, over other streams, by the one
# whose turn it is. The database does not see such a ring, so that after a while one has to let go.
_PATIENCE_SECONDS: Final = 2.0

# The lock on the row makes two clients of one stream take turns. In the same statement the batch's
# references are checked, instead of by foreign keys that would ask for every row, and each once in
# a call: what a stream's dictionary names stays, by the dictionary's own foreign key. The look-up
# is written so that the planner, which knows nothing of the arrays, cannot think of reading the
# whole table.
_LOCK_CURSOR = """
    SELECT next_sequence, ARRAY(
        SELECT used.config_id FROM unnest($2::uuid[], $3::uuid[]) AS used (model_id, config_id)
        WHERE (
            SELECT true FROM benchmark_configs AS config
            WHERE config.model_id = used.model_id AND config.id = used.config_id
        ) IS NULL
    ) AS unknown
    FROM streams WHERE stream_id = $1 FOR UPDATE
"""

_ADVANCE = """
    WITH marked AS (
        INSERT INTO dirty_days (model_id, stats_date, configs_marked)
        SELECT *, true FROM unnest($5::uuid[], $6::date[])
    ), condensed AS (
        INSERT INTO dirty_configs (config_ids) SELECT $15::uuid[] WHERE cardinality($15) > 0
    ), told AS (
        INSERT INTO outbox (id, topic, payload, created_at)
        SELECT $12::uuid, $13::text, $14::bytea, statement_timestamp() WHERE $12 IS NOT NULL
    ), refused AS (
        INSERT INTO result_rejections
            (org_id, stream_id, sequence, row_index, result_id, reason, detail, payload_sha256)
        SELECT (SELECT org_id FROM streams WHERE stream_id = $1), $1::uuid, $2::bigint, rows.*
        FROM unnest($7::int[], $8::text[], $9::text[], $10::text[], $11::bytea[]) AS rows
    )
    UPDATE streams SET
        next_sequence = $2 + 1,
        stored_count = stored_count + $3::bigint,
        duplicate_count = duplicate_count + $4::bigint,
        rejected_count = rejected_count + cardinality($7),
        updated_at = clock_timestamp()
    WHERE stream_id = $1 AND next_sequence = $2
"""


class Configs(NamedTuple):
    """Configurations: the model of each, and its id."""

    models: Sequence[UUID]
    ids: Sequence[UUID]


class PartitionMissingError(LookupError):
    """A day of the batch has no partition; nothing was stored."""


class AppendStore:
    """Makes batches durable, each exactly once.

    `targets` says where rows go, `announce` makes the event that says so; `failpoints` are for
    tests of faults.
    """

    def __init__(
        self, database: Database, targets: Targets, announce: Announce, failpoints: Failpoints
    ) -> None:
        self._database = database
        self._targets = targets
        self._announce = announce
        self._failpoints = failpoints

    async def append(
        self,
        stream_id: UUID,
        batch: CheckedBatch,
        *,
        unchecked: Configs,
        expect_duplicates: bool = False,
    ) -> BatchOutcome:
        """What became of the batch, after its transaction was committed.

        Raises LookupError if one of the `unchecked` configurations is not there; those of the batch
        that are not among them were found before.

        A sequence below the cursor changes nothing; one beyond it raises SEQUENCE_GAP. With
        `expect_duplicates` the rows are compared at once instead of after a collision: the outcome
        is the same, only the cheaper way to it differs.
        """
        self._failpoints.hit("before_tx")
        try:
            try:
                outcome = await self._attempt(
                    stream_id, batch, unchecked, compare=expect_duplicates
                )
            except asyncpg.UniqueViolationError:
                # A row is stored already, or twice in the batch. All of the attempt was rolled
                # back.
                outcome = await self._attempt(stream_id, batch, unchecked, compare=True)
        except (asyncpg.CheckViolationError, asyncpg.UndefinedTableError) as error:
            # The only check on results is that of the partitions.
            raise PartitionMissingError(str(error)) from error
        self._failpoints.hit("after_commit_before_ack")
        return outcome

    async def append_ahead(
        self,
        stream_id: UUID,
        batch: CheckedBatch,
        turn: Callable[[], Awaitable[None]],
        unchecked: Callable[[], Configs],
    ) -> BatchOutcome | None:
        """What became of a batch of new rows that is copied while the one before it is stored.

        `turn` returns when that is durable; only then `unchecked`, as for `append`, is asked for,
        the cursor is looked at, and this transaction may end. None, or anything raised, means that
        the batch has to be appended in the ordinary way: nothing of it is stored.
        """
        targets = self._targets(batch.days)
        if any(target.columnar for target in targets):
            return None
        self._failpoints.hit("before_tx")
        async with self._database.driver_transaction() as driver:
            stored, _ = await _store_fresh(driver, batch, targets)
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await turn()
            new = unchecked()
            if new.ids:
                await _lock_cursor(driver, stream_id, new)
            outcome = await self._finish(driver, stream_id, batch, stored, [])
        self._failpoints.hit("after_commit_before_ack")
        return outcome

    async def _attempt(
        self,
        stream_id: UUID,
        batch: CheckedBatch,
        unchecked: Configs,
        *,
        compare: bool,
    ) -> BatchOutcome:
        """One transaction. Without `compare`, rows that are stored already make it fail."""
        async with self._database.driver_transaction() as driver:
            expected = await _lock_cursor(driver, stream_id, unchecked)
            if batch.sequence < expected:
                return BatchOutcome(batch.sequence, 0, batch.row_count, replayed=True)
            if batch.sequence > expected:
                raise _gap(batch.sequence, expected)
            targets = self._targets(batch.days)
            compare = compare or any(target.columnar for target in targets)
            store = store_compare.store_compared if compare else _store_fresh
            stored, reused = await store(driver, batch, targets)
            return await self._finish(driver, stream_id, batch, stored, reused)

    async def _finish(
        self,
        driver: Any,
        stream_id: UUID,
        batch: CheckedBatch,
        stored: StoredRows,
        reused: Sequence[RowRejection],
    ) -> BatchOutcome:
        """The last of a batch's transaction, once its rows are in the table."""
        self._failpoints.hit("after_rows")
        outcome = BatchOutcome(
            sequence=batch.sequence,
            stored_count=stored.count,
            duplicate_count=batch.valid.count - stored.count - len(reused),
            rejections=sorted((*batch.rejections, *reused), key=lambda refused: refused.row),
        )
        event = self._announce(stream_id, batch.sequence, stored) if stored.count else None
        await _advance(driver, stream_id, outcome, stored, event)
        self._failpoints.hit("before_commit")
        return outcome


async def _lock_cursor(driver: Any, stream_id: UUID, unchecked: Configs) -> int:
    """The stream's cursor, after each of the configurations was found. Raises LookupError."""
    cursor = await driver.fetchrow(_LOCK_CURSOR, stream_id, unchecked.models, unchecked.ids)
    if cursor is None:
        raise LookupError(f"stream {stream_id} was not opened")
    if cursor["unknown"]:
        raise LookupError(f"configurations {cursor['unknown']} of a batch do not exist")
    return int(cursor["next_sequence"])


def _gap(sequence: int, expected: int) -> ServemarkError:
    return ServemarkError(
        ErrorReason.ERROR_REASON_SEQUENCE_GAP,
        f"The batch has sequence {sequence}, the stream expects {expected}. Go on from there.",
        metadata={"expected_sequence": str(expected)},
    )


async def _store_fresh(
    driver: Any, batch: CheckedBatch, targets: Sequence[Target]
) -> tuple[StoredRows, list[RowRejection]]:
    """Stores rows that are all new. Raises UniqueViolationError if one is not."""
    for target in targets:
        await driver.copy_to_table(
            target.table,
            schema_name="ingest",
            source=_document(batch, target.days),
            columns=COPY_COLUMNS,
            format="binary",
        )
    return batch.valid, []


async def _document(batch: CheckedBatch, days: Sequence[Day]) -> AsyncIterator[bytes]:
    yield HEADER
    for day in days:
        for piece in batch.rows.pieces(day.start, day.rows, positions=False):
            yield piece
    yield TRAILER


async def _advance(
    driver: Any,
    stream_id: UUID,
    outcome: BatchOutcome,
    stored: StoredRows,
    event: OutboxEvent | None,
) -> None:
    """Moves the cursor on, and notes what to calculate again, the refused rows, the event.

    Raises LookupError if the cursor is not at this batch.
    """
    refused = outcome.rejections
    days = sorted(stored.model_days)
    done = await driver.execute(
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
        stored.config_ids,
    )
    if done != "UPDATE 1":
        raise LookupError(f"the cursor of stream {stream_id} is not at {outcome.sequence}")
