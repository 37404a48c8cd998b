"""What both streaming methods do: open a stream, check its batches, make them durable."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Final

from servemark.ingest.v1.result_stream_pb2 import ResultBatch
from servemark.runtime.database import translate_database_error
from servemark.runtime.errors import ServemarkError
from servemark.runtime.validation import Violations
from servemark.type.v1.error_reason_pb2 import ErrorReason
from services.ingest.catalog import CatalogClient
from services.ingest.convert_stream import Header
from services.ingest.copy_format import config_fields
from services.ingest.flow import MemoryGate, read_ahead
from services.ingest.partitions import NativePartitions
from services.ingest.records import BatchOutcome, CheckedBatch, NewConfig, RowRejection, Stream
from services.ingest.store_append import AppendStore, PartitionMissingError
from services.ingest.store_streams import Failures, StreamStore
from services.ingest.validation import (
    MILLISECONDS_A_DAY,
    RowRefusedError,
    TimeWindow,
    encode_row,
    id_reused,
    rejection,
)

MAX_ROWS: Final = 10_000
# Batches of one call that were read and are not yet acknowledged.
MAX_UNACKNOWLEDGED: Final = 16
# Rows checked before others get a turn: half a millisecond. Among the others is the batch before,
# whose every answer from the database would have to wait for a longer turn to end.
_ROWS_A_TURN: Final = 50
# What a row takes up when it is encoded, besides the text in it.
_ENCODED_ROW_BYTES: Final = 350


@dataclass(slots=True)
class OpenStream:
    """A stream as one call uses it.

    `next_sequence` follows the acknowledgements of this call. `fields` are the encoded parts of its
    configurations, None where one is not resolved. `repeats` says that the batch before had rows
    that were stored already: then the next one probably has, too.
    """

    stream: Stream
    next_sequence: int
    fields: Sequence[bytes | None] = field(repr=False)
    repeats: bool = False

    @classmethod
    def of(cls, stream: Stream) -> "OpenStream":
        """The stream at the beginning of a call."""
        return cls(
            stream=stream,
            next_sequence=stream.next_sequence,
            fields=[
                None if entry.config is None else config_fields(entry.config, stream.source)
                for entry in stream.entries
            ],
        )


class IngestEngine:
    """The write path. `now_ms` answers Unix milliseconds."""

    def __init__(
        self,
        streams: StreamStore,
        appends: AppendStore,
        partitions: NativePartitions,
        catalog: CatalogClient,
        gate: MemoryGate,
        *,
        retention_days: int,
        now_ms: Callable[[], int],
    ) -> None:
        self._streams = streams
        self._appends = appends
        self._partitions = partitions
        self._catalog = catalog
        self._gate = gate
        self._retention_days = retention_days
        self._now_ms = now_ms

    async def open(self, header: Header) -> OpenStream:
        """The stream of a header, new or where it had got to.

        The catalog is asked about configurations that are not known to be resolved: all of a new
        stream, of one that was opened before only those that failed then. Raises HEADER_CHANGED for
        a stream_id that was opened with another header.
        """
        stream = await self._streams.load(header.source.stream_id)
        if stream is not None:
            _same_header(header, stream)
        entries = () if stream is None else stream.entries
        missing = [
            index
            for index in range(len(header.shapes))
            if index >= len(entries) or entries[index].config is None
        ]
        if stream is None or missing:
            stream = await self._streams.open(
                header.source, header.digest, await self._resolve(header, missing)
            )
            _same_header(header, stream)
        return OpenStream.of(stream)

    async def _resolve(
        self, header: Header, indexes: Sequence[int]
    ) -> dict[int, NewConfig | Failures]:
        answers = await self._catalog.resolve([header.references[index] for index in indexes])
        return {
            index: answer
            if isinstance(answer, tuple)
            else NewConfig(answer, header.shapes[index], header.source.provenance)
            for index, answer in zip(indexes, answers, strict=True)
        }

    async def append(
        self, stream: OpenStream, batches: AsyncIterator[ResultBatch]
    ) -> AsyncGenerator[BatchOutcome]:
        """The outcome of each batch, in order, each after it became durable.

        Raises what is wrong with a batch after the outcomes of those before it.
        """
        checked = read_ahead(
            batches, partial(self._check, stream), _memory_of, MAX_UNACKNOWLEDGED, self._gate
        )
        async with aclosing(checked):
            async for batch in checked:
                yield await self._append_one(stream, batch)
                del batch

    async def _check(self, stream: OpenStream, batch: ResultBatch) -> CheckedBatch:
        """The batch with its valid rows encoded and the others refused."""
        _whole_batch(batch)
        rows, refused = batch.rows, list[RowRejection]()
        encoded: list[tuple[bytes, int]] = []
        touched: set[tuple[int, int]] = set()
        # Of a batch that is stored already only the sequence counts.
        count = len(rows) if batch.sequence >= stream.next_sequence else 0
        window = TimeWindow.around(self._now_ms(), self._retention_days)
        for position in range(count):
            if position % _ROWS_A_TURN == 0:
                await asyncio.sleep(0)
            row = rows[position]
            try:
                fields, milliseconds = encode_row(row, stream.fields, window)
            except RowRefusedError as problem:
                refused.append(rejection(position, row, problem))
            else:
                encoded.append((fields, position))
                touched.add((row.config_index, milliseconds // MILLISECONDS_A_DAY))
        # By id, which the fields begin with: two batches with the same rows never wait for each
        # other in a circle, and the index grows at its end.
        encoded.sort()
        return _checked(stream.stream, batch, encoded, touched, refused)

    async def _append_one(self, stream: OpenStream, batch: CheckedBatch) -> BatchOutcome:
        try:
            outcome = await self._store(stream, batch)
        except Exception as error:
            raise _told(error) from error
        stream.next_sequence = max(stream.next_sequence, outcome.sequence + 1)
        stream.repeats = outcome.duplicate_count > 0 and not outcome.replayed
        return outcome

    async def _store(self, stream: OpenStream, batch: CheckedBatch) -> BatchOutcome:
        stream_id = stream.stream.source.stream_id
        await self._partitions.ensure(batch.days)
        try:
            return await self._appends.append(stream_id, batch, expect_duplicates=stream.repeats)
        except PartitionMissingError:
            # A day that this process made a partition for was dropped since.
            self._partitions.forget(batch.days)
            await self._partitions.ensure(batch.days)
            return await self._appends.append(stream_id, batch, expect_duplicates=stream.repeats)


def _same_header(header: Header, stream: Stream) -> None:
    if stream.header_digest != header.digest:
        raise ServemarkError(
            ErrorReason.ERROR_REASON_HEADER_CHANGED,
            "This stream_id was opened with another header. Send the same header again, or use a "
            "new stream_id.",
        )


def _memory_of(batch: ResultBatch) -> int:
    """About what a batch takes up until it is stored, in bytes: rather too much than too little.

    It is there four times at worst: the message, its encoded rows, the document for COPY, and what
    the driver has not sent of that.
    """
    return 4 * (batch.ByteSize() + _ENCODED_ROW_BYTES * len(batch.rows))


def _whole_batch(batch: ResultBatch) -> None:
    """Refuses a batch that is none: without rows, with too many, or with no place in a stream."""
    if len(batch.rows) > MAX_ROWS:
        raise ServemarkError(
            ErrorReason.ERROR_REASON_BATCH_TOO_LARGE,
            f"The batch has {len(batch.rows)} rows; at most {MAX_ROWS} are allowed.",
        )
    check = Violations("batch.")
    if not batch.rows:
        check.add("rows", "is required: 1 row or more")
    if batch.sequence < 0:
        check.add("sequence", f"is {batch.sequence}; it must be 0 or more")
    check.raise_if_any()


def _checked(
    stream: Stream,
    batch: ResultBatch,
    encoded: Sequence[tuple[bytes, int]],
    touched: set[tuple[int, int]],
    refused: Sequence[RowRejection],
) -> CheckedBatch:
    configs = {
        index: entry.config
        for index, entry in enumerate(stream.entries)
        if entry.config is not None
    }
    fields = [row for row, _ in encoded]
    return CheckedBatch(
        sequence=batch.sequence,
        row_count=len(batch.rows),
        rows=fields,
        positions=[position for _, position in encoded],
        config_ids=frozenset(configs[index].id for index, _ in touched),
        model_days=frozenset(
            (
                configs[index].key.parts.model_id,
                datetime.fromtimestamp(day * MILLISECONDS_A_DAY // 1000, UTC).date(),
            )
            for index, day in touched
        ),
        rejections=refused,
        refuse_reused=lambda position: rejection(position, batch.rows[position], id_reused()),
    )


def _told(error: Exception) -> Exception:
    """The error as the caller is told: a database that is away means to send the batch again."""
    known = translate_database_error(error)
    if known is None or known.reason != ErrorReason.ERROR_REASON_DEPENDENCY_UNAVAILABLE:
        return error
    return ServemarkError(
        known.reason,
        "The database does not answer. Send the batch again; what is stored already is not stored "
        "twice.",
        metadata=known.metadata,
        retry_after=known.retry_after,
    )
