"""The place that the tests of events share."""

from collections.abc import AsyncIterator

import pytest

from tests.events.place import Place, place


@pytest.fixture
async def here(migrated_database: str, valkey: str) -> AsyncIterator[Place]:
    """An empty outbox, an empty inbox, an empty Valkey."""
    async with place(migrated_database, valkey) as made:
        yield made
