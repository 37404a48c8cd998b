"""Days into the archive and back: each file is read back and compared before it counts.

A day's file goes up under a name of its own, which `archive_uploads` notes before. It counts from
the moment its manifest lies beside it and `archived_days` names it. No finished file is ever
deleted: where a day is archived again, the newer one holds what the older one held.

The work on files is done in one thread, a bounded piece at a time, so that neither memory nor the
streams of the service feel the size of a day.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, BinaryIO, Final, TypeVar, cast
from uuid import UUID

import structlog

from services.ingest import store_archive, store_days
from services.ingest.archive.layout import COLUMNS
from services.ingest.archive.manifest import (
    day_in,
    file_metadata,
    is_manifest,
    manifest_name,
    manifest_of,
    object_name,
    read_manifest,
)
from services.ingest.archive.objects import ArchiveObjects, ObjectSink
from services.ingest.archive.parquet import DayReader, DayWriter
from services.ingest.archive.records import (
    ArchivedDay,
    DamagedError,
    Fingerprint,
    WrittenDay,
)
from services.ingest.events import day_changed
from services.ingest.failpoints import Failpoints
from services.ingest.profile import StorageProfile
from services.ingest.store_archive import ArchiveStore, Turn
from services.ingest.store_days import DayStore

log = structlog.get_logger()

# Of CSV, before rows become a row group: about a tenth of it in the file.
_PIECE_BYTES: Final = 8 * 1024 * 1024

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did: rows that were brought back, and rows that were here already."""

    restored_count: int
    present_count: int


class Archiver:
    """The archive at one location. `now` answers the time in UTC, `new_id` a new UUIDv7."""

    def __init__(
        self,
        objects: ArchiveObjects,
        store: ArchiveStore,
        days: DayStore,
        profile: StorageProfile,
        *,
        now: Callable[[], datetime],
        new_id: Callable[[], UUID],
        failpoints: Failpoints,
    ) -> None:
        self._objects = objects
        self._store = store
        self._days = days
        self._profile = profile
        self._now = now
        self._new_id = new_id
        self._failpoints = failpoints
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="archive")

    @property
    def location(self) -> str:
        """Where the archive is, without secrets."""
        return self._objects.location

    async def close(self) -> None:
        """Ends the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def prepare(self, turn: Turn) -> None:
        """Finishes or clears away what a crash left, and learns of days that only files tell of."""
        for name in await self._store.uploads():
            await self._settle(turn, name)
        await self._adopt(turn)

    async def write(self, turn: Turn, day: date) -> ArchivedDay:
        """Writes a day's rows into a new file, reads it back, and makes it the day's.

        Raises DamagedError where what is read back is not what the day holds.
        """
        name = object_name(day, self._new_id())
        async with turn.transaction() as connection:
            await store_archive.begin_upload(connection, name, day, self._now())
        written = await self._upload(name, day)
        self._failpoints.hit("archive_written")
        await self._check_file(written)
        await self._check_rows(written)
        self._failpoints.hit("archive_verified")
        await self._run(self._objects.put, manifest_name(name), manifest_of(written))
        self._failpoints.hit("archive_described")
        archived = ArchivedDay(written, verified_at=self._now())
        async with turn.transaction() as connection:
            await store_archive.record(connection, written, archived.verified_at)
        self._failpoints.hit("archive_recorded")
        return archived

    async def problem(self, archived: ArchivedDay, *, rows: bool = False) -> str:
        """What is wrong with a day's file, a sentence; "" for one that is right.

        Its bytes and its manifest are compared with what was noted; with `rows` its rows, too.
        """
        try:
            await self._check_manifest(archived.written)
            await self._check_file(archived.written)
            if rows:
                await self._check_rows(archived.written)
        except DamagedError as error:
            return str(error)
        await self._store.verified(archived.written, self._now())
        return ""

    async def restore(
        self, turn: Turn, archived: ArchivedDay, keep_until: datetime | None
    ) -> Restored:
        """Brings a day's rows back, in one transaction that proves that each is here bit for bit.

        Raises DamagedError, and stores nothing, where the file is not what was archived or rows of
        its ids are here with other content.
        """
        written, day = archived.written, archived.day
        await self._check_file(written)
        self._profile.forget([day])
        await self._profile.ensure([day])
        async with (
            self._reader(written.object_name) as reader,
            turn.transaction() as connection,
        ):
            found = await store_days.stage(connection, reader.columns, self._pieces(reader))
            _same_rows(written.fingerprint, found)
            restored = await store_days.store_staged(connection, day, reader.columns)
            here = await store_days.fingerprint_of_stored(connection, day, reader.columns)
            if here != written.fingerprint:
                raise DamagedError(
                    "Results with its ids are here with other content, or their configurations "
                    "are. Nothing was restored."
                )
            await store_archive.set_restored(connection, day, self._now(), keep_until)
            await day_changed(connection, day)
        return Restored(restored, written.fingerprint.row_count - restored)

    async def _settle(self, turn: Turn, name: str) -> None:
        """Ends an upload that nobody ends any more: one with a manifest is whole, and is kept."""
        if await self._run(self._objects.exists, manifest_name(name)):
            written = await self._described(manifest_name(name))
            async with turn.transaction() as connection:
                await store_archive.record(connection, written, written.archived_at)
        else:
            await self._run(self._objects.delete, name)
            async with turn.transaction() as connection:
                await store_archive.forget_upload(connection, name)

    async def _adopt(self, turn: Turn) -> None:
        """Records the days of files that the database does not know: it is new, or was set back."""
        known = {str(archived.day) for archived in await self._store.days()}
        newest: dict[date, WrittenDay] = {}
        async for name in self._each(self._objects.names()):
            if not is_manifest(name) or day_in(name) in known:
                continue
            try:
                written = await self._described(name)
            except DamagedError as error:
                log.warning("a manifest in the archive is damaged", name=name, problem=str(error))
                continue
            before = newest.get(written.day)
            if before is None or before.archived_at < written.archived_at:
                newest[written.day] = written
        for written in newest.values():
            async with turn.transaction() as connection:
                await store_archive.record(
                    connection, written, written.archived_at, dropped_at=self._now()
                )

    async def _described(self, manifest: str) -> WrittenDay:
        return read_manifest(manifest, await self._run(self._objects.get, manifest))

    async def _upload(self, name: str, day: date) -> WrittenDay:
        """Writes the file; what it is, by what went in."""
        async with self._days.snapshot(day) as snapshot:
            fingerprint = await snapshot.fingerprint()
            sink = _CountingSink(await self._run(self._objects.create, name))
            try:
                writer = await self._run(DayWriter, cast("BinaryIO", sink), COLUMNS)
                rows = _Pieces(lambda piece: self._write_piece(writer, piece))
                await snapshot.copy(rows.add)
                await rows.end()
                await self._run(writer.close, file_metadata(day, fingerprint))
                await self._run(sink.commit)
            except BaseException:
                # Behind what the thread may still be writing.
                await self._run(sink.abort)
                raise
        return WrittenDay(
            day=day,
            object_name=name,
            byte_size=sink.byte_size,
            sha256=sink.sha256,
            fingerprint=fingerprint,
            archived_at=self._now(),
        )

    async def _write_piece(self, writer: DayWriter, piece: bytes) -> None:
        await self._run(writer.write, piece)
        self._failpoints.hit("archive_writing")

    async def _check_manifest(self, written: WrittenDay) -> None:
        if await self._described(manifest_name(written.object_name)) != written:
            raise DamagedError("Its manifest says something else than was noted.")

    async def _check_file(self, written: WrittenDay) -> None:
        """Compares every byte of the file, by its hash, and what it says of itself."""
        size, digest = 0, hashlib.sha256()
        async for piece in self._each(self._objects.pieces(written.object_name)):
            size += len(piece)
            await self._run(digest.update, piece)
        if size != written.byte_size:
            raise DamagedError(f"The file has {size} bytes, not {written.byte_size}.")
        if digest.digest() != written.sha256:
            raise DamagedError(
                f"The file's SHA-256 is {digest.hexdigest()}, not {written.sha256.hex()}: it was "
                "changed or damaged."
            )
        wanted = file_metadata(written.day, written.fingerprint)
        async with self._reader(written.object_name) as reader:
            said = {name: reader.metadata.get(name) for name in wanted}
            row_count = reader.row_count
        if said != wanted or row_count != written.fingerprint.row_count:
            raise DamagedError("The file's own metadata says something else than was noted.")

    async def _check_rows(self, written: WrittenDay) -> None:
        """Reads every row back into the database and compares what they are."""
        async with self._reader(written.object_name) as reader:
            found = await self._days.fingerprint_of_file(reader.columns, self._pieces(reader))
        _same_rows(written.fingerprint, found)

    @asynccontextmanager
    async def _reader(self, name: str) -> AsyncIterator[DayReader]:
        file = await self._run(self._objects.open, name)
        try:
            yield await self._run(DayReader, file)
        finally:
            # Behind what the thread may still be reading.
            await self._run(file.close)

    def _pieces(self, reader: DayReader) -> AsyncIterator[bytes]:
        return self._each(reader.pieces())

    async def _each(self, items: Iterator[T]) -> AsyncIterator[T]:
        """The items of an iterator that blocks, each fetched in the thread."""
        end: Any = object()
        while (item := await self._run(next, items, end)) is not end:
            yield item

    async def _run(self, work: Callable[..., T], *arguments: Any) -> T:
        """Does work that blocks in the archive's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)


class _CountingSink:
    """Passes bytes on to an object, and knows how many they were and their hash."""

    def __init__(self, sink: ObjectSink) -> None:
        self._sink = sink
        self._digest = hashlib.sha256()
        self._given_up = False
        self.byte_size = 0
        self.closed = False

    @property
    def sha256(self) -> bytes:
        """The hash of what was written."""
        return self._digest.digest()

    def write(self, data: bytes) -> int:
        """Writes bytes."""
        # A writer that is thrown away still writes the end of its file.
        if not self._given_up:
            self._digest.update(data)
            self.byte_size += len(data)
            self._sink.write(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is held back here."""

    def commit(self) -> None:
        """Makes the object durable and visible."""
        self._sink.commit()

    def abort(self) -> None:
        """Leaves nothing of it."""
        self._given_up = True
        self._sink.abort()


class _Pieces:
    """Gathers CSV into pieces of whole rows, and hands each to `consume`."""

    def __init__(self, consume: Callable[[bytes], Any]) -> None:
        self._consume = consume
        self._parts: list[bytes] = []
        self._size = 0
        self._in_quotes = False

    async def add(self, part: bytes) -> None:
        """Takes more of the rows."""
        self._parts.append(part)
        self._size += len(part)
        # A line end between quotes is part of a value.
        self._in_quotes ^= bool(part.count(b'"') % 2)
        if self._size >= _PIECE_BYTES and not self._in_quotes and part.endswith(b"\n"):
            await self.end()

    async def end(self) -> None:
        """Hands on what there is."""
        if self._parts:
            piece = b"".join(self._parts)
            self._parts.clear()
            self._size = 0
            await self._consume(piece)


def _same_rows(wanted: Fingerprint, found: Fingerprint) -> None:
    if found.row_count != wanted.row_count:
        raise DamagedError(f"The file has {found.row_count} rows, not {wanted.row_count}.")
    if found.checksum != wanted.checksum:
        raise DamagedError(
            f"The checksum of the file's rows is {found.checksum.hex()}, not "
            f"{wanted.checksum.hex()}."
        )
