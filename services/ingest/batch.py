"""A batch on its way from a message to what the store takes: converted, checked, encoded.

That is work of the processor alone, done in turns of a few milliseconds: among those who wait for a
turn is the batch before, which the database may be answering.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Final
from uuid import UUID

import numpy as np

from servemark.ingest.v1.result_stream_pb2 import ResultBatch
from servemark.type.v1.error_reason_pb2 import ErrorReason
from services.ingest.columns import Columns, Ints, joined
from services.ingest.convert_columns import columns_of, message_of, row_count
from services.ingest.copy_format import ROWS_A_PIECE, ByteTable, Content, encode
from services.ingest.explain import ID_REUSED, explain
from services.ingest.records import CheckedBatch, Config, Day, RowRejection, StoredRows
from services.ingest.validation import (
    MILLISECONDS_A_DAY,
    TimeWindow,
    check,
    stored_sources,
)

# Result messages read before others get a turn: about a millisecond.
_MESSAGES_A_TURN: Final = 250
# Rows encoded before others get a turn: likewise.
_ROWS_A_TURN: Final = ROWS_A_PIECE
# A UUID has 36 characters; a client that sends a novel as an id gets its beginning back.
_MAX_RESULT_ID: Final = 64


class Dictionary:
    """The configurations of a stream as the rows of its batches need them, in the header's order.

    `configs` are None where one is not resolved; `fields` are their parts of a row
    (`copy_format.config_fields`), b"" where one is not.
    """

    def __init__(self, configs: Sequence[Config | None], fields: Sequence[bytes]) -> None:
        self.fields = ByteTable(fields)
        self.is_resolved = np.array([config is not None for config in configs], np.bool_)
        self._ids = [None if config is None else config.id for config in configs]
        models = [None if config is None else config.key.parts.model_id for config in configs]
        self._models = [*dict.fromkeys(models)]
        places = {model_id: place for place, model_id in enumerate(self._models)}
        self._model_places = np.array([places[model_id] for model_id in models], np.int64)

    def __len__(self) -> int:
        return len(self._ids)

    def ids(self, indexes: Ints) -> list[UUID]:
        """The ids of resolved configurations."""
        return [_resolved(self._ids[index]) for index in indexes.tolist()]

    def models(self, indexes: Ints) -> list[UUID]:
        """The models of resolved configurations, one for each."""
        return [_resolved(self._models[place]) for place in self._model_places[indexes].tolist()]

    def different_models(self, indexes: Ints) -> list[UUID]:
        """The models of resolved configurations, each once."""
        places = np.unique(self._model_places[indexes]).tolist()
        return [_resolved(self._models[place]) for place in places]


def _resolved(identifier: UUID | None) -> UUID:
    if identifier is None:
        raise LookupError("a row that passed the checks has no configuration")
    return identifier


class _Encoded:
    """The valid rows of a batch, each day encoded once for each of the two ways to store it."""

    def __init__(self, content: Content, order: Ints) -> None:
        self._content = content
        self._order = order
        self._ready: dict[tuple[int, int, bool], list[bytes]] = {}

    async def prepare(self, days: Sequence[Day], *, positions: bool) -> None:
        """Encodes the days ahead of their turn."""
        for day in days:
            pieces: list[bytes] = []
            for start in range(day.start, day.start + day.rows, _ROWS_A_TURN):
                await asyncio.sleep(0)
                stop = min(start + _ROWS_A_TURN, day.start + day.rows)
                pieces += encode(self._content, self._order[start:stop], positions=positions)
            self._ready[day.start, day.rows, positions] = pieces

    def pieces(self, start: int, count: int, *, positions: bool) -> Sequence[bytes]:
        """See EncodedRows."""
        ready = self._ready.get((start, count, positions))
        if ready is not None:
            return ready
        return encode(self._content, self._order[start : start + count], positions=positions)


async def check_batch(
    batch: ResultBatch, dictionary: Dictionary, window: TimeWindow, *, expect_duplicates: bool
) -> CheckedBatch:
    """The batch with its valid rows encoded and the others refused.

    `expect_duplicates` says which way to store it is the likelier one. Raises INVALID_FIELD for a
    batch whose columns do not make rows.
    """
    columns = await _columns(batch)
    checked = check(columns, dictionary.is_resolved, window)
    # Checked, they are in `checked` as they are stored; the texts as they came are in the message.
    columns = replace(columns, details=None)
    valid = columns.in_order_of_id(np.flatnonzero(checked.reasons == 0))
    content = Content(columns, dictionary.fields, stored_sources(columns), checked.details)
    rows = _Encoded(content, valid)
    days = _days(columns, valid)
    used = np.flatnonzero(np.bincount(columns.config_indexes[valid]))
    await rows.prepare(days, positions=expect_duplicates)

    def refused(index: int, reason: int, detail: str) -> RowRejection:
        message = message_of(batch, columns, index)
        return RowRejection(
            row=index,
            # A text column takes no NUL.
            result_id=message.id[:_MAX_RESULT_ID].replace("\x00", "\ufffd"),
            reason=reason,
            detail=detail,
            payload_sha256=hashlib.sha256(message.SerializeToString(deterministic=True)).digest(),
        )

    return CheckedBatch(
        sequence=batch.sequence,
        row_count=len(columns),
        valid=_changes(columns, valid, days, used, dictionary),
        rows=rows,
        days=days,
        used=used,
        rejections=[
            refused(
                index,
                int(checked.reasons[index]),
                explain(columns, checked, index, len(dictionary)),
            )
            for index in np.flatnonzero(checked.reasons).tolist()
        ],
        refuse_reused=lambda index: refused(index, ErrorReason.ERROR_REASON_ID_REUSED, ID_REUSED),
        first_id=columns.ids[valid[0]].tobytes() if len(valid) else b"",
        last_id=columns.ids[valid[-1]].tobytes() if len(valid) else b"",
    )


def passed_by(batch: ResultBatch) -> CheckedBatch:
    """A batch of which only the sequence counts: its rows are stored already."""
    return CheckedBatch(
        sequence=batch.sequence,
        row_count=row_count(batch),
        valid=StoredRows(),
        rows=_Nothing(),
        days=(),
        used=np.zeros(0, np.int64),
        rejections=(),
        refuse_reused=_none_to_refuse,
    )


class _Nothing:
    """No rows."""

    def pieces(self, start: int, count: int, *, positions: bool) -> Sequence[bytes]:
        """See EncodedRows."""
        return ()


def _none_to_refuse(index: int) -> RowRejection:
    raise IndexError(f"a batch without rows has no row {index}")


async def _columns(batch: ResultBatch) -> Columns:
    parts = []
    for start in range(0, max(1, len(batch.rows)), _MESSAGES_A_TURN):
        await asyncio.sleep(0)
        parts.append(columns_of(batch, start, start + _MESSAGES_A_TURN))
    return joined(parts)


def _days(columns: Columns, rows: Ints) -> tuple[Day, ...]:
    """The days of rows that are in order of id, and so of time."""
    days = columns.times_ms[rows] // MILLISECONDS_A_DAY
    numbers, starts, counts = np.unique(days, return_index=True, return_counts=True)
    return tuple(
        Day(_date(number), start, count)
        for number, start, count in zip(
            numbers.tolist(), starts.tolist(), counts.tolist(), strict=True
        )
    )


def _changes(
    columns: Columns, rows: Ints, days: Sequence[Day], used: Ints, dictionary: Dictionary
) -> StoredRows:
    """What the rows change once they are stored."""
    model_days = set()
    for day in days:
        indexes = columns.config_indexes[rows[day.start : day.start + day.rows]]
        here = used if len(days) == 1 else np.flatnonzero(np.bincount(indexes))
        model_days |= {(model_id, day.date) for model_id in dictionary.different_models(here)}
    return StoredRows(len(rows), dictionary.ids(used), frozenset(model_days))


def _date(day: int) -> date:
    return datetime.fromtimestamp(day * MILLISECONDS_A_DAY // 1000, UTC).date()
