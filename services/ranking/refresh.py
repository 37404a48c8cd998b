"""Keeps the matrix in memory up to date, one reading at a time, whoever asks for it.

Where it is known which configurations got results, only they are read anew; reading everything
gives the same facts, and the same bytes.

A reading that finds nothing new keeps the version; one that does is stored before it is used, so
that what an answer names as its version is what a restarted process finds.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

import structlog

from servemark.runtime import deadline
from servemark.runtime.process import exempt_from_collection
from servemark.runtime.tenancy import PUBLIC
from services.ranking import content, matrix, references
from services.ranking.content import Content, Entry
from services.ranking.inputs import InputReader
from services.ranking.matrix import Matrix, Reference
from services.ranking.store_matrix import MatrixStore, StoredMatrix, Version
from services.ranking.view import seen_by

log = structlog.get_logger()


class Refresher:
    """Holds the newest matrix. `now_us` gives microseconds since 1970.

    `minimum_candidates` is how many must stand behind a reference bound before it stays.
    """

    def __init__(
        self,
        store: MatrixStore,
        reader: InputReader,
        *,
        now_us: Callable[[], int],
        minimum_candidates: int,
    ) -> None:
        self._store = store
        self._reader = reader
        self._now_us = now_us
        self._minimum = minimum_candidates
        self._matrix: Matrix | None = None
        self._references: Mapping[tuple[str, int], Reference] = {}
        # The entries of the rows that were read last, by id.
        self._entries: dict[str, Entry] = {}
        # How many rows the garbage collector passes over.
        self._exempt = 0
        self._turn = asyncio.Lock()
        self._waiting: asyncio.Task[Matrix] | None = None
        # What the waiting task is to read anew; None: everything.
        self._wanted: set[str] | None = set()
        self._tasks: set[asyncio.Task[Matrix]] = set()

    @property
    def matrix(self) -> Matrix | None:
        """The newest matrix this process knows; None before the first."""
        return self._matrix

    async def current(self) -> Matrix:
        """The matrix, read now if there is none yet. Raises DEPENDENCY_UNAVAILABLE."""
        if self._matrix is None:
            await self.adopt()
        return self._matrix or await self.refresh()

    async def newest(self) -> Matrix:
        """The matrix after a look whether another process stored a newer one."""
        await self.adopt()
        return await self.current()

    async def adopt(self) -> bool:
        """Takes over the newest stored matrix if it is newer than ours; whether it was."""
        newest = await self._store.newest_version()
        if newest is None or (self._matrix and newest.number <= self._matrix.version):
            return False
        stored = await self._store.load()
        if stored is None:
            return False
        self._references = stored.references
        try:
            loaded = await asyncio.to_thread(_restored, stored)
        except (KeyError, TypeError, ValueError) as error:
            # Written by other code: it will be read from the services anew.
            log.warning("stored matrix cannot be used", error=repr(error)[:200])
            return False
        if self._matrix is None or loaded.version > self._matrix.version:
            self._take(loaded)
        return True

    def turn(self) -> AbstractAsyncContextManager[None]:
        """A turn at refreshing, after other processes of the service that wait for one.

        It holds a connection, so it is for the one task that follows events, not for calls.
        """
        return self._store.turn()

    async def refresh(self, config_ids: Collection[str] | None = None) -> Matrix:
        """The matrix with everything that was durable when this was called.

        With `config_ids`, everything of these configurations: what else changed may be missing.
        Calls that come while one is waiting for its turn share it. Raises DEPENDENCY_UNAVAILABLE.
        """
        if config_ids is None:
            self._wanted = None
        elif self._wanted is not None:
            self._wanted |= set(config_ids)
        if self._waiting is None:
            self._waiting = asyncio.create_task(self._take_turn())
            self._tasks.add(self._waiting)
            self._waiting.add_done_callback(self._ended)
        return await asyncio.shield(self._waiting)

    async def close(self) -> None:
        """Ends readings that are under way."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[Matrix]) -> None:
        self._tasks.discard(task)
        # Callers leave when their time is over, so nobody may be left to hear of a failure.
        if not task.cancelled():
            task.exception()

    async def _take_turn(self) -> Matrix:
        # It is not only the first caller's, so that one's deadline does not bound it.
        deadline.set_deadline(None)
        async with self._turn:
            # Whoever asks from here on may know of facts that this reading misses.
            self._waiting = None
            wanted, self._wanted = self._wanted, set()
            return await self._read(wanted)

    async def _read(self, wanted: set[str] | None) -> Matrix:
        # Each lost race means that another process published, from facts hardly older than ours.
        while True:
            made = await self._attempt(wanted)
            if made is not None:
                return made

    async def _attempt(self, wanted: set[str] | None) -> Matrix | None:
        """The newest matrix after a reading; None where another process was first to publish."""
        newest = await self._store.newest_version()
        if newest is not None and (self._matrix is None or newest.number != self._matrix.version):
            await self.adopt()
        now_us = self._now_us()
        found = None
        # What the newest version was made from is here, unless other code made it.
        if wanted is not None and newest is not None and self._has(newest):
            assert self._matrix is not None  # noqa: S101  (what _has has seen)
            found = await self._reader.read_changed(self._matrix.content, wanted, now_us)
        if found is None:
            before = None if self._matrix is None else self._matrix.content
            found = await self._reader.read(now_us, before)
        entries, digest = await asyncio.to_thread(_digested, found, self._entries)
        self._entries = {entry.id: entry for entry in entries if entry.kind == content.ROW}
        if self._matrix and newest and self._has(newest) and self._matrix.digest == digest:
            return self._matrix
        made = await asyncio.to_thread(self._made, found, digest, newest, now_us)
        after = None if newest is None else newest.number
        if not await self._store.publish(after, _version_of(made), entries, made.references):
            return None
        log.info("matrix made", version=made.version, alternatives=len(made.rows))
        self._take(made)
        return made

    def _take(self, newer: Matrix) -> None:
        self._matrix = newer
        if len(newer.rows) > 2 * self._exempt:
            self._exempt = len(newer.rows)
            exempt_from_collection()

    def _has(self, newest: Version) -> bool:
        return self._matrix is not None and self._matrix.version == newest.number

    def _made(self, found: Content, digest: bytes, newest: Version | None, now_us: int) -> Matrix:
        # The stored bounds hold even where the facts beside them could not be read.
        known = self._references if self._matrix is None else self._matrix.references
        made = matrix.build(
            found,
            version=1 if newest is None else newest.number + 1,
            made_at_us=now_us,
            digest=digest,
            references=known,
        )
        # Answers to everybody show the bounds, so they are of what everybody sees.
        public = seen_by(made, PUBLIC)
        return replace(made, references=references.establish(public, self._minimum))


def _digested(
    found: Content, before: Mapping[str, Entry] | None = None
) -> tuple[list[Entry], bytes]:
    entries = content.entries(found, before)
    return entries, content.digest_of(entries, found.price_boundary_us)


def _version_of(made: Matrix) -> Version:
    return Version(
        number=made.version,
        digest=made.digest,
        alternative_count=len(made.rows),
        price_boundary_us=made.content.price_boundary_us,
        made_at_us=made.made_at_us,
    )


def _restored(stored: StoredMatrix) -> Matrix:
    found = content.content_from(stored.facts, stored.version.price_boundary_us)
    _, digest = _digested(found)
    if digest != stored.version.digest:
        raise ValueError("the stored facts do not have the stored digest")
    return matrix.build(
        found,
        version=stored.version.number,
        made_at_us=stored.version.made_at_us,
        digest=digest,
        references=stored.references,
    )
