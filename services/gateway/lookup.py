"""Reads keys and users from Postgres, remembers each a second, and asks for many at once.

A second is what lets a revoked key be refused everywhere within two, without telling the other
processes: nothing has to reach them, so nothing (Redis) can be down.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, TypeVar

from servemark.runtime import deadline
from servemark.runtime.database import translate_database_error
from servemark.runtime.errors import unavailable

MAX_AGE_SECONDS = 1.0
MAX_ENTRIES = 10_000
_READ_SECONDS = 0.9
_MAX_BATCH = 1_000

Stored = TypeVar("Stored")


class _Remembered(Generic[Stored]):
    """Answers by id with when they were read; the longest unused leave when it is full."""

    def __init__(self, most: int) -> None:
        self._entries: OrderedDict[str, tuple[float, Stored | None]] = OrderedDict()
        self._most = most

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, key_id: str, read_at: float, stored: Stored | None) -> None:
        self._entries[key_id] = (read_at, stored)
        self._entries.move_to_end(key_id)
        if len(self._entries) > self._most:
            self._entries.popitem(last=False)

    def get(self, key_id: str, not_before: float) -> tuple[float, Stored | None] | None:
        entry = self._entries.get(key_id)
        if entry is None or entry[0] < not_before:
            return None
        self._entries.move_to_end(key_id)
        return entry

    def drop(self, key_id: str) -> None:
        self._entries.pop(key_id, None)


class KeyLookup(Generic[Stored]):
    """`get` answers from memory, or with all others that wait now in one query.

    One query at a time, so that a flood of made-up ids costs one connection and not the pool; ids
    that do not exist are remembered apart, so that it cannot push out those that do.
    """

    def __init__(
        self,
        find: Callable[[Sequence[str]], Awaitable[Mapping[str, Stored]]],
        *,
        clock: Callable[[], float] = time.monotonic,
        max_entries: int = MAX_ENTRIES,
    ) -> None:
        self._find = find
        self._clock = clock
        self._known: _Remembered[Stored] = _Remembered(max_entries)
        self._unknown: _Remembered[Stored] = _Remembered(max_entries)
        self._waiting: dict[str, asyncio.Future[Stored | Exception | None]] = {}
        self._reader: asyncio.Task[None] | None = None

    @property
    def remembered(self) -> tuple[int, int]:
        """How many known and how many unknown ids are held in memory."""
        return len(self._known), len(self._unknown)

    async def get(self, key_id: str) -> Stored | None:
        """The key as it was at most a second ago, or None. Raises DEPENDENCY_UNAVAILABLE."""
        oldest = self._clock() - MAX_AGE_SECONDS
        entry = self._known.get(key_id, oldest) or self._unknown.get(key_id, oldest)
        if entry is not None:
            return entry[1]
        answer = self._waiting.get(key_id)
        if answer is None:
            answer = asyncio.get_running_loop().create_future()
            self._waiting[key_id] = answer
        if self._reader is None or self._reader.done():
            self._reader = asyncio.create_task(self._read_waiting())
        # Shielded, because others may wait for the same answer.
        outcome = await asyncio.shield(answer)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def forget(self, key_id: str) -> None:
        """Makes the next `get` of this id read it anew."""
        self._known.drop(key_id)
        self._unknown.drop(key_id)

    async def close(self) -> None:
        """Ends a read that is under way."""
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)

    async def _read_waiting(self) -> None:
        while self._waiting:
            ids = list(self._waiting)[:_MAX_BATCH]
            batch = {key_id: self._waiting.pop(key_id) for key_id in ids}
            # An answer is as old as its question: what was revoked meanwhile may not be in it.
            asked_at = self._clock()
            outcomes = await self._read(ids)
            for key_id, answer in batch.items():
                outcome = outcomes if isinstance(outcomes, Exception) else outcomes.get(key_id)
                if not isinstance(outcome, Exception):
                    memory = self._unknown if outcome is None else self._known
                    memory.put(key_id, asked_at, outcome)
                if not answer.done():
                    answer.set_result(outcome)

    async def _read(self, ids: Sequence[str]) -> Mapping[str, Stored] | Exception:
        # Of its own, not of the call that happened to come first.
        deadline.set_deadline(_READ_SECONDS)
        try:
            async with asyncio.timeout(_READ_SECONDS):
                return await self._find(ids)
        except TimeoutError:
            return unavailable("The database")
        except Exception as error:
            return translate_database_error(error) or error
