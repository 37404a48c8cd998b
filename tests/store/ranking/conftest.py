"""What the tests of the ranking's stores share."""

from collections.abc import AsyncIterator

import pytest

from servemark.runtime.database import Database


@pytest.fixture
async def database(migrated_database: str) -> AsyncIterator[Database]:
    """A pool that acts as the ranking's role."""
    pool = Database(migrated_database, "ranking")
    try:
        yield pool
    finally:
        await pool.close()
