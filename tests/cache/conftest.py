"""Things to cache, in a database of the test's own."""

from collections.abc import AsyncIterator

import pytest

from tests.cache.things import Process, Relay, World


@pytest.fixture
async def world(migrated_database: str) -> AsyncIterator[World]:
    """Nothing yet, and nobody who reads it."""
    World.prepare(migrated_database)
    made = World(migrated_database)
    yield made
    await made.database.close()


@pytest.fixture
async def relay(world: World, valkey: str) -> AsyncIterator[Relay]:
    """The relay of the things' events."""
    made = Relay(world.database, valkey)
    yield made
    await made.close()


@pytest.fixture
async def process(world: World, valkey: str) -> AsyncIterator[Process]:
    """A process that listens."""
    made = Process(world, valkey)
    await made.turn()
    yield made
    await made.close()


@pytest.fixture
async def other(world: World, valkey: str) -> AsyncIterator[Process]:
    """Another process that listens."""
    made = Process(world, valkey)
    await made.turn()
    yield made
    await made.close()
