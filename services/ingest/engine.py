"""What both streaming methods do: open a stream, check its batches, make them durable."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import numpy as np

from servemark.ingest.v1.result_stream_pb2 import ResultBatch
from servemark.runtime import tenancy
from servemark.runtime.database import translate_database_error
from servemark.runtime.errors import ServemarkError
from servemark.runtime.validation import Violations
from servemark.type.v1.error_reason_pb2 import ErrorReason
from services.ingest.batch import Dictionary, check_batch, passed_by
from services.ingest.catalog import CatalogClient
from services.ingest.columns import Bools
from services.ingest.convert_columns import message_size, row_count
from services.ingest.convert_stream import Header
from services.ingest.copy_format import config_fields
from services.ingest.flow import MemoryGate, Taken, read_ahead
from services.ingest.overlap import Turn, overlapped
from services.ingest.profile import StorageProfile
from services.ingest.records import BatchOutcome, CheckedBatch, NewConfig, Parts, Stream
from services.ingest.store_append import AppendStore, Configs, PartitionMissingError
from services.ingest.store_streams import Failures, StreamStore
from services.ingest.validation import TimeWindow

MAX_ROWS: Final = 10_000
# Batches of one call that were read and are not yet acknowledged.
MAX_UNACKNOWLEDGED: Final = 16
# Batches of one call that are in the database at once.
_BESIDE: Final = 2
# In all calls together, so many batches are copied before their turn: more calls fill each other's
# waits.
_MAX_AHEAD: Final = 2
# What a row takes up when it is encoded, besides the text in it.
_ENCODED_ROW_BYTES: Final = 350


@dataclass(slots=True)
class OpenStream:
    """A stream as one call uses it.

    `next_sequence` follows the acknowledgements of this call. `found` (configurations,) marks those
    that the database was seen to have. `repeats` says that the batch before had rows that were
    stored already: then the next one probably has, too. `last_id` is the greatest id of the batch
    that was begun last.
    """

    stream: Stream
    next_sequence: int
    dictionary: Dictionary = field(repr=False)
    found: Bools = field(repr=False)
    repeats: bool = False
    last_id: bytes = b""

    @classmethod
    def of(cls, stream: Stream) -> "OpenStream":
        """The stream at the beginning of a call."""
        configs = [entry.config for entry in stream.entries]
        fields = [
            b"" if config is None else config_fields(config, stream.source) for config in configs
        ]
        found = np.zeros(len(configs), np.bool_)
        return cls(stream, stream.next_sequence, Dictionary(configs, fields), found)

    def unchecked(self, batch: CheckedBatch) -> Configs:
        """The batch's configurations that the database was not yet seen to have."""
        new = batch.used[~self.found[batch.used]]
        return Configs(self.dictionary.models(new), self.dictionary.ids(new))


class IngestEngine:
    """The write path. `now_ms` answers Unix milliseconds."""

    def __init__(
        self,
        streams: StreamStore,
        appends: AppendStore,
        profile: StorageProfile,
        catalog: CatalogClient,
        gate: MemoryGate,
        *,
        retention_days: int,
        now_ms: Callable[[], int],
    ) -> None:
        self._streams = streams
        self._appends = appends
        self._profile = profile
        self._catalog = catalog
        self._gate = gate
        self._retention_days = retention_days
        self._now_ms = now_ms
        self._ahead = 0

    async def open(self, header: Header) -> OpenStream:
        """The stream of a header, new or where it had got to.

        The catalog is asked about configurations that are not known to be resolved: all of a new
        stream, of one that was opened before only those that failed then. Raises HEADER_CHANGED for
        a stream_id that was opened with another header, or by another organization, and
        HARDWARE_NOT_ALLOWED for hardware that is not the key's.
        """
        stream = await self._streams.load(header.source.stream_id)
        if stream is not None:
            _same_header(header, stream)
        entries = () if stream is None else stream.entries
        await self._allowed(entry.config.key.parts for entry in entries if entry.config)
        missing = [
            index
            for index in range(len(header.shapes))
            if index >= len(entries) or entries[index].config is None
        ]
        if stream is None or missing:
            resolved = await self._resolve(header, missing)
            await self._allowed(
                key.parts for key in resolved.values() if isinstance(key, NewConfig)
            )
            stream = _same_header(
                header, await self._streams.open(header.source, header.digest, resolved)
            )
        return OpenStream.of(stream)

    async def _resolve(
        self, header: Header, indexes: Sequence[int]
    ) -> dict[int, NewConfig | Failures]:
        answers = await self._catalog.resolve([header.references[index] for index in indexes])
        return {
            index: answer
            if isinstance(answer, tuple)
            else NewConfig(
                answer, header.shapes[index], header.source.provenance, header.organization_id
            )
            for index, answer in zip(indexes, answers, strict=True)
        }

    async def _allowed(self, parts: Iterable[Parts]) -> None:
        """Raises HARDWARE_NOT_ALLOWED if the caller's key is for other hardware than these."""
        allowed = tenancy.current().hardware
        ids = {part.hardware_config_id for part in parts}
        if not allowed or not ids:
            return
        same = {name.casefold() for name in allowed}
        names = await self._catalog.hardware_names(ids)
        others = sorted(name for name in names if name.casefold() not in same)
        if others:
            raise ServemarkError(
                ErrorReason.ERROR_REASON_HARDWARE_NOT_ALLOWED,
                f"The key is for results of {', '.join(sorted(allowed))}, not of "
                f"{', '.join(others)}. Nothing was stored.",
                metadata={"hardware": ",".join(others)},
            )

    async def append(
        self, stream: OpenStream, batches: AsyncIterator[ResultBatch]
    ) -> AsyncGenerator[BatchOutcome]:
        """The outcome of each batch, in order, each after it became durable.

        Raises what is wrong with a batch after the outcomes of those before it.
        """
        checked = read_ahead(
            batches, partial(self._check, stream), _memory_of, MAX_UNACKNOWLEDGED, self._gate
        )
        async with (
            aclosing(checked),
            aclosing(overlapped(checked, partial(self._append_one, stream), _BESIDE)) as outcomes,
        ):
            async for outcome in outcomes:
                yield outcome

    async def _check(self, stream: OpenStream, batch: ResultBatch) -> CheckedBatch:
        _whole_batch(batch)
        if batch.sequence < stream.next_sequence:
            return passed_by(batch)
        window = TimeWindow.around(self._now_ms(), self._retention_days)
        return await check_batch(batch, stream.dictionary, window, expect_duplicates=stream.repeats)

    async def _append_one(
        self, stream: OpenStream, taken: Taken[CheckedBatch], turn: Turn
    ) -> BatchOutcome:
        batch = taken.item
        try:
            outcome = await self._store_ahead(stream, batch, turn)
            if outcome is None:
                await turn.come()
                outcome = await self._store(stream, batch)
        except Exception as error:
            raise _told(error) from error
        finally:
            taken.done()
        stream.next_sequence = max(stream.next_sequence, outcome.sequence + 1)
        stream.found[batch.used] = True
        stream.repeats = outcome.duplicate_count > 0 and not outcome.replayed
        return outcome

    async def _store_ahead(
        self, stream: OpenStream, batch: CheckedBatch, turn: Turn
    ) -> BatchOutcome | None:
        """The outcome of a batch that could be copied while the one before it was stored.

        None: it was not tried, or it did not work out, and nothing is stored.
        """
        # Two batches with a row in common would wait for each other.
        apart = batch.first_id > stream.last_id
        stream.last_id = batch.last_id or stream.last_id
        if turn.has_come() or stream.repeats or not apart or self._ahead >= _MAX_AHEAD:
            return None
        self._ahead += 1
        try:
            await self._profile.ensure([day.date for day in batch.days])
            return await self._appends.append_ahead(
                stream.stream.source.stream_id,
                batch,
                turn.come,
                unchecked=partial(stream.unchecked, batch),
            )
        except Exception:
            # The ordinary way meets it again, if it lasts, and tells.
            return None
        finally:
            self._ahead -= 1

    async def _store(self, stream: OpenStream, batch: CheckedBatch) -> BatchOutcome:
        days = [day.date for day in batch.days]
        await self._profile.ensure(days)
        try:
            return await self._append_to(stream, batch)
        except PartitionMissingError:
            # A day that this process made a partition for was dropped since.
            self._profile.forget(days)
            await self._profile.ensure(days)
            return await self._append_to(stream, batch)

    async def _append_to(self, stream: OpenStream, batch: CheckedBatch) -> BatchOutcome:
        return await self._appends.append(
            stream.stream.source.stream_id,
            batch,
            unchecked=stream.unchecked(batch),
            expect_duplicates=stream.repeats,
        )


def _same_header(header: Header, stream: Stream | None) -> Stream:
    """The stream, if the header opened it; None stands for one that is another organization's."""
    if stream is None or stream.header_digest != header.digest:
        raise ServemarkError(
            ErrorReason.ERROR_REASON_HEADER_CHANGED,
            "This stream_id was opened with another header. Send the same header again, or use a "
            "new stream_id.",
        )
    return stream


def _memory_of(batch: ResultBatch) -> int:
    """About what a batch takes up until it is stored, in bytes: rather too much than too little.

    It is there six times at worst: the message, its texts while they are checked, the documents to
    store, the layout of its rows, these encoded for COPY, and what the driver has not sent of them.
    """
    return 6 * (message_size(batch) + _ENCODED_ROW_BYTES * row_count(batch))


def _whole_batch(batch: ResultBatch) -> None:
    """Refuses a batch that is none: without rows, with too many, or with no place in a stream."""
    count = row_count(batch)
    if max(count, len(batch.rows)) > MAX_ROWS:
        raise ServemarkError(
            ErrorReason.ERROR_REASON_BATCH_TOO_LARGE,
            f"The batch has {count} rows; at most {MAX_ROWS} are allowed.",
        )
    check = Violations("batch.")
    if batch.rows and batch.HasField("columns"):
        check.add("columns", "came together with `rows`; send either")
    elif not count:
        if batch.HasField("columns"):
            check.add("columns.ids", "is required: 16 bytes for each of 1 row or more")
        else:
            check.add("rows", "is required: 1 row or more, here or in `columns`")
    if batch.sequence < 0:
        check.add("sequence", f"is {batch.sequence}; it must be 0 or more")
    check.raise_if_any()


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
