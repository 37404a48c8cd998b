"""What goes past SQLAlchemy to the driver gives its connection back, whatever becomes of it."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from servemark.runtime import deadline
from servemark.runtime.database import Database, translate_database_error
from servemark.type.v1.error_reason_pb2 import ErrorReason
from tests.support import servers

OWN = "SELECT pg_backend_pid()"
BUSY = """
    SELECT count(*) FROM pg_stat_activity
    WHERE query = 'SELECT pg_sleep(30)' AND state = 'active' AND datname = current_database()
"""


@pytest.fixture
async def database(migrated_database: str) -> AsyncIterator[Database]:
    """A pool of one connection."""
    pool = Database(migrated_database, "ingest", pool_size=1)
    yield pool
    await pool.close()


async def one(database: Database) -> int:
    """What a query finds on the only connection."""
    async with asyncio.timeout(5):
        rows = await database.fetch("SELECT 1 AS found")
    assert rows[0]["found"] == rows[0][0]
    return int(rows[0][0])


async def test_a_snapshot_sees_one_moment(database: Database, migrated_database: str) -> None:
    count = "SELECT count(*) FROM settings"
    add = "INSERT INTO ingest.settings (name, value) VALUES ('new', '1')"
    async with database.snapshot() as snapshot:
        before = (await snapshot.fetch(count))[0][0]
        await asyncio.to_thread(servers.execute, migrated_database, add)
        assert (await snapshot.fetch(count))[0][0] == before
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await snapshot.fetch("DELETE FROM settings RETURNING name")
    assert (await database.fetch(count))[0][0] == before + 1


async def test_a_lost_connection_is_replaced(database: Database, migrated_database: str) -> None:
    (own,) = (await database.fetch(OWN))[0]
    end = f"SELECT pg_terminate_backend({own})"
    await asyncio.to_thread(servers.execute, migrated_database, end)
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)) as lost:
        await one(database)
    known = translate_database_error(lost.value)
    assert known is not None
    assert known.reason == ErrorReason.ERROR_REASON_DEPENDENCY_UNAVAILABLE
    assert await one(database) == 1


async def test_a_connection_that_is_lost_within_a_snapshot_is_replaced(
    database: Database, migrated_database: str
) -> None:
    async def read() -> None:
        async with database.snapshot() as snapshot:
            (own,) = (await snapshot.fetch(OWN))[0]
            end = f"SELECT pg_terminate_backend({own})"
            await asyncio.to_thread(servers.execute, migrated_database, end)
            await snapshot.fetch("SELECT 1")

    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await read()
    assert await one(database) == 1


async def test_a_statement_ends_with_its_calls_time(
    database: Database, migrated_database: str
) -> None:
    async def call() -> None:
        deadline.set_deadline(0.2)
        await database.fetch("SELECT pg_sleep(30)")

    with pytest.raises(TimeoutError):
        await asyncio.create_task(call())
    assert await one(database) == 1
    assert await asyncio.to_thread(servers.fetch_value, migrated_database, BUSY) == 0


@pytest.mark.parametrize("within", ["fetch", "snapshot"])
async def test_a_reader_that_is_cancelled_gives_its_connection_back(
    database: Database, migrated_database: str, within: str
) -> None:
    async def read() -> None:
        if within == "fetch":
            await database.fetch("SELECT pg_sleep(30)")
        async with database.snapshot() as snapshot:
            await snapshot.fetch("SELECT pg_sleep(30)")

    reading = asyncio.create_task(read())
    async with asyncio.timeout(5):
        while not await asyncio.to_thread(servers.fetch_value, migrated_database, BUSY):
            await asyncio.sleep(0.01)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    assert await one(database) == 1
    assert await asyncio.to_thread(servers.fetch_value, migrated_database, BUSY) == 0
