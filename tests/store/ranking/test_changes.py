"""Changes that events tell of: each is one process's until it is ranked, or that one dies."""

import asyncio
from collections.abc import Collection
from typing import Any, cast

import pytest

from servemark.events.v1.event_pb2 import CatalogChanged, Event, ResultsStored
from servemark.runtime.database import Database
from servemark.runtime.ids import uuid7
from services.ranking.consumer import Follower
from services.ranking.model_use_cases import RESOURCE
from services.ranking.settings import RankingSettings
from services.ranking.store_changes import ChangeStore
from tests.support import servers

ONE, OTHER = str(uuid7()), str(uuid7())


async def note(database: Database, config_ids: Collection[str] | None) -> None:
    async with database.transaction() as connection:
        await ChangeStore(database).note(connection, config_ids)


async def test_what_is_noted_is_taken_once_and_goes_when_it_is_done(database: Database) -> None:
    store = ChangeStore(database)
    assert (await store.take()).config_ids == frozenset()
    await note(database, {ONE})
    await note(database, {ONE, OTHER})
    taken = await store.take()
    assert (len(taken.ids), taken.config_ids) == (2, frozenset({ONE, OTHER}))
    # Noted after it was taken: that reading may not have it.
    await note(database, {ONE})
    await store.done(taken.ids)
    again = await store.take()
    assert (len(again.ids), again.config_ids) == (1, frozenset({ONE}))
    assert not again.ids & taken.ids
    assert not (await store.take()).ids


async def test_anything_is_noted_once_until_somebody_takes_it(database: Database) -> None:
    store = ChangeStore(database)
    for _ in range(3):
        await note(database, None)
    await note(database, {ONE})
    taken = await store.take()
    assert (len(taken.ids), taken.config_ids) == (2, None)
    await note(database, None)
    assert len((await store.take()).ids) == 1


async def test_of_two_that_take_at_once_one_gets_it(database: Database) -> None:
    store = ChangeStore(database)
    for _ in range(20):
        await note(database, {ONE})
        taken = await asyncio.gather(*(store.take() for _ in range(4)))
        assert sum(len(one.ids) for one in taken) == 1


async def test_what_is_not_committed_is_not_noted(database: Database) -> None:
    store = ChangeStore(database)

    async def fail() -> None:
        async with database.transaction() as connection:
            await store.note(connection, {ONE})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    assert not (await store.take()).ids


async def test_what_the_dead_leave_is_left_for_others(
    database: Database, migrated_database: str
) -> None:
    def later(column: str, seconds: float) -> None:
        servers.execute(
            migrated_database,
            f"UPDATE ranking.noted_changes SET {column} = now() - interval '{seconds} seconds'",
        )

    store = ChangeStore(database)
    await note(database, {ONE})
    assert not await store.are_left()
    later("noted_at", 3.1)
    assert await store.are_left()
    taken = await store.take()
    assert not await store.are_left()
    later("taken_at", 10.1)
    assert await store.are_left()
    assert await store.take() == taken
    await store.done(taken.ids)
    assert not await store.are_left()


async def test_an_event_that_tells_of_no_change_is_not_noted(database: Database) -> None:
    settings = RankingSettings(database_url="postgresql://", port_base=0)  # type: ignore[arg-type]
    store, nothing = ChangeStore(database), cast(Any, None)
    follower = Follower(nothing, nothing, store, nothing, None, settings)
    own = CatalogChanged(resource=RESOURCE, id=ONE)
    async with database.transaction() as connection:
        await follower.handle(connection, [Event(id=ONE), Event(id=OTHER, catalog_changed=own)])
    assert not (await store.take()).ids
    result = ResultsStored(config_ids=[ONE])
    async with database.transaction() as connection:
        await follower.handle(connection, [Event(id=ONE), Event(id=OTHER, results_stored=result)])
    assert (await store.take()).config_ids == frozenset({ONE})
