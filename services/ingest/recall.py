"""What is asked of the archive by hand: whether its files are right, and days back from them."""

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from services.ingest.archive.archiver import Archiver
from services.ingest.archive.records import (
    ArchivedDay,
    ArchiveNotUsableError,
    DamagedError,
    DaySpan,
)
from services.ingest.store_archive import ArchiveStore


@dataclass(frozen=True, slots=True)
class Recalled:
    """What became of a day that was to be restored; with a `problem`, nothing was."""

    day: date
    restored_count: int = 0
    present_count: int = 0
    keep_until: datetime | None = None
    problem: str = ""


class Recall:
    """Verifies and restores. `archiver` is None where there is no archive."""

    def __init__(
        self, store: ArchiveStore, archiver: Archiver | None, now: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._archiver = archiver
        self._now = now

    async def verify(self, span: DaySpan, *, rows: bool) -> AsyncGenerator[tuple[ArchivedDay, str]]:
        """Each archived day of the span, in order, and what is wrong with its file, "" for nothing.

        With `rows`, every row is read back into the database and compared, too.
        """
        archiver = self._usable()
        for archived in await self._store.days(span):
            checked, problem = archived, await archiver.problem(archived, rows=rows)
            if problem:
                # It may have been archived anew meanwhile.
                again = await self._store.day(archived.day)
                if again is not None and again.written != archived.written:
                    checked, problem = again, await archiver.problem(again, rows=rows)
            yield checked, problem

    async def restore(self, span: DaySpan, keep: timedelta) -> AsyncGenerator[Recalled]:
        """What became of each archived day of the span, in order. Waits for its turn first."""
        archiver = self._usable()
        async with self._store.next_turn() as turn:
            await archiver.prepare(turn)
            for archived in await self._store.days(span):
                keep_until = self._now() + keep
                try:
                    done = await archiver.restore(turn, archived, keep_until)
                except DamagedError as error:
                    yield Recalled(archived.day, problem=str(error))
                else:
                    yield Recalled(
                        archived.day, done.restored_count, done.present_count, keep_until
                    )

    def _usable(self) -> Archiver:
        if self._archiver is None:
            raise ArchiveNotUsableError(
                "No archive is set. Give the ingest service one with SERVEMARK_ARCHIVE_URL, "
                "file:///folder or s3://bucket/prefix."
            )
        return self._archiver
