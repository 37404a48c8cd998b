"""What is remembered of keys: for a second, in bounds, and read in as few queries as can be."""

import asyncio
from collections.abc import Mapping, Sequence
from uuid import UUID

import pytest

from servemark.runtime.errors import ServemarkError
from services.gateway.lookup import KeyLookup
from services.gateway.store import StoredKey
from services.gateway.usage import UsageRecorder


def stored(key_id: str, active: bool = True) -> StoredKey:
    return StoredKey(key_id, UUID(int=1), bytes(32), frozenset({"READ"}), active)


class Table:
    """Keys that can be changed, a clock that can be set, and a count of the questions."""

    def __init__(self, *ids: str) -> None:
        self.keys = {key_id: stored(key_id) for key_id in ids}
        self.asked: list[list[str]] = []
        self.now = 100.0
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None

    async def find(self, ids: Sequence[str]) -> Mapping[str, StoredKey]:
        """The store's `find`."""
        self.asked.append(list(ids))
        found = {key_id: self.keys[key_id] for key_id in ids if key_id in self.keys}
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return found

    def lookup(self, max_entries: int = 100) -> KeyLookup[StoredKey]:
        """A lookup in this table, by its clock."""
        return KeyLookup(self.find, clock=lambda: self.now, max_entries=max_entries)


async def test_a_key_is_asked_for_once_a_second_at_most() -> None:
    table = Table("a")
    lookup = table.lookup()
    for _ in range(1000):
        table.now += 0.0015
        assert await lookup.get("a")
    assert len(table.asked) == 2


async def test_an_unknown_key_is_remembered_too_and_found_once_it_exists() -> None:
    table = Table()
    lookup = table.lookup()
    for _ in range(10):
        assert await lookup.get("b") is None
    assert len(table.asked) == 1
    table.keys["b"] = stored("b")
    table.now += 1.1
    assert await lookup.get("b") == stored("b")


async def test_an_answer_is_as_old_as_its_question() -> None:
    """A revocation during the query must not be hidden for a second after it."""
    table = Table("a")
    lookup = table.lookup()
    table.gate.clear()
    waiting = asyncio.create_task(lookup.get("a"))
    while not table.asked:
        await asyncio.sleep(0)
    table.keys["a"] = stored("a", active=False)
    table.now += 0.8
    table.gate.set()
    first = await waiting
    assert first is not None
    assert first.active
    table.now += 0.3
    again = await lookup.get("a")
    assert again is not None
    assert not again.active


async def test_a_flood_of_made_up_ids_stays_in_bounds_and_harms_no_real_key() -> None:
    table = Table("real")
    lookup = table.lookup(max_entries=50)
    await lookup.get("real")
    for n in range(1000):
        await lookup.get(f"made up {n}")
    assert lookup.remembered == (1, 50)
    asked = len(table.asked)
    await lookup.get("real")
    assert len(table.asked) == asked


async def test_many_at_once_share_one_query_at_a_time() -> None:
    table = Table("a")
    lookup = table.lookup(max_entries=10_000)
    table.gate.clear()
    calls = [asyncio.create_task(lookup.get(f"id {n % 200}")) for n in range(2000)]
    while not table.asked:
        await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    assert len(table.asked) == 1
    table.gate.set()
    await asyncio.gather(*calls)
    assert sum(len(ids) for ids in table.asked) == 200
    assert len(table.asked) <= 2


async def test_a_caller_who_goes_away_takes_the_answer_from_nobody() -> None:
    table = Table("a")
    lookup = table.lookup()
    table.gate.clear()
    impatient = asyncio.create_task(lookup.get("a"))
    patient = asyncio.create_task(lookup.get("a"))
    await asyncio.sleep(0.01)
    impatient.cancel()
    table.gate.set()
    assert await patient == stored("a")


async def test_a_database_that_does_not_answer_is_unavailable_and_not_remembered() -> None:
    table = Table("a")
    lookup = table.lookup()
    table.error = ConnectionRefusedError()
    with pytest.raises(ServemarkError, match="does not answer"):
        await lookup.get("a")
    table.error = None
    assert await lookup.get("a") == stored("a")


async def test_a_database_that_hangs_is_given_up_within_a_second() -> None:
    table = Table("a")
    lookup = table.lookup()
    table.gate.clear()
    async with asyncio.timeout(1.5):
        with pytest.raises(ServemarkError, match="does not answer"):
            await lookup.get("a")
    table.gate.set()
    await lookup.close()


async def test_use_is_written_at_most_once_a_minute() -> None:
    written: list[list[str]] = []
    now = 0.0

    async def record(ids: Sequence[str]) -> None:
        written.append(list(ids))

    usage = UsageRecorder(record, clock=lambda: now)
    for second in range(150):
        now = float(second)
        usage.touch("b")
        usage.touch("a")
        await usage.write()
    assert written == [["a", "b"]] * 3
