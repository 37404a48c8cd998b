"""The functions of the schema let a day go only when it lies in the archive, and for one role."""

import asyncio
from collections.abc import AsyncIterator
from datetime import date, timedelta

import asyncpg
import pytest
import pytest_asyncio

from servemark.runtime.database import Database
from services.ingest.store_archive import ArchiveStore
from services.ingest.store_days import DayStore, fingerprint_of_day
from tests.rpc.ingest.archiving import OLD_DAY, count_of, make_room, put_results
from tests.support import servers
from tests.support.days import recorded, table_of

pytestmark = pytest.mark.every_profile

NOTE = f"""
    INSERT INTO ingest.archived_days (
        day, object_name, row_count, byte_size, sha256, content_checksum, archived_at, verified_at
    ) VALUES ('{OLD_DAY}', 'a file', 40, 1, '', '', now(), now())
"""
DROP = "SELECT ingest.drop_result_day($1)"


@pytest_asyncio.fixture
async def database(migrated_database: str) -> AsyncIterator[Database]:
    """The service's own connection."""
    pool = Database(migrated_database, "ingest")
    yield pool
    await pool.close()


async def drop(dsn: str, role: str = "servemark_ingest", day: date = OLD_DAY) -> bool:
    """What the function answers a role."""
    connection = await asyncpg.connect(dsn, server_settings={"role": role})
    try:
        return bool(await connection.fetchval(DROP, day))
    finally:
        await connection.close()


async def test_a_day_that_is_not_archived_is_not_dropped(migrated_database: str) -> None:
    await put_results(migrated_database, OLD_DAY)
    assert not await drop(migrated_database)
    servers.execute(migrated_database, NOTE)
    servers.execute(migrated_database, "UPDATE ingest.archived_days SET row_count = 39")
    assert not await drop(migrated_database)
    servers.execute(migrated_database, "UPDATE ingest.archived_days SET row_count = 40")
    # Its rows were dropped before: those that are here are others.
    servers.execute(migrated_database, "UPDATE ingest.archived_days SET dropped_at = now()")
    assert not await drop(migrated_database)
    assert count_of(migrated_database, OLD_DAY) == 40
    servers.execute(migrated_database, "UPDATE ingest.archived_days SET dropped_at = NULL")
    assert await drop(migrated_database)
    assert count_of(migrated_database, OLD_DAY) == 0
    assert not await drop(migrated_database)


async def test_an_empty_day_is_dropped_and_one_that_was_never_there_is_not(
    migrated_database: str,
) -> None:
    await make_room(migrated_database, OLD_DAY)
    assert await drop(migrated_database)
    assert not await drop(migrated_database)


@pytest.mark.parametrize("function", ["drop_result_day(current_date)", "result_days()"])
async def test_the_functions_are_for_the_service_alone(
    migrated_database: str, function: str
) -> None:
    servers.execute(migrated_database, "GRANT USAGE ON SCHEMA ingest TO servemark_ranking")
    connection = await asyncpg.connect(
        migrated_database, server_settings={"role": "servemark_ranking"}
    )
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch(f"SELECT * FROM ingest.{function}")
    finally:
        await connection.close()


async def test_a_day_that_somebody_writes_into_is_given_up_soon(migrated_database: str) -> None:
    await put_results(migrated_database, OLD_DAY)
    servers.execute(migrated_database, NOTE)
    table = table_of(migrated_database, OLD_DAY)
    writer = await asyncpg.connect(migrated_database)
    try:
        async with writer.transaction():
            await writer.execute(f"LOCK TABLE {table} IN ROW EXCLUSIVE MODE")
            with pytest.raises(asyncpg.LockNotAvailableError):
                await drop(migrated_database)
    finally:
        await writer.close()
    assert await drop(migrated_database)


async def test_days_are_listed_in_order_with_their_sizes(
    migrated_database: str, database: Database
) -> None:
    days = [OLD_DAY + timedelta(days=offset) for offset in (3, 0, 1)]
    await make_room(migrated_database, *days)
    await put_results(migrated_database, OLD_DAY)
    stored = await DayStore(database).days()
    assert [one.day for one in stored] == sorted(days)
    assert stored[0].byte_size > stored[1].byte_size > 0
    assert not any(one.is_compressed for one in stored)


async def test_the_extent_counts_what_there_is(migrated_database: str, database: Database) -> None:
    store = DayStore(database)
    empty = await store.extent()
    profile, _ = recorded(migrated_database)
    assert (empty.profile, empty.row_count, empty.oldest_day) == (profile, 0, None)
    await make_room(migrated_database, OLD_DAY - timedelta(days=1), OLD_DAY + timedelta(days=9))
    await put_results(migrated_database, OLD_DAY)
    await put_results(migrated_database, OLD_DAY + timedelta(days=2), 2)
    extent = await store.extent()
    assert (extent.row_count, extent.is_estimate) == (42, False)
    assert extent.oldest_day == OLD_DAY
    assert extent.newest_day == OLD_DAY + timedelta(days=2)


async def test_a_large_store_is_estimated(
    migrated_database: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.ingest.store_days._COUNTED_BYTES", 0)
    await put_results(migrated_database, OLD_DAY, 400)
    servers.execute(migrated_database, "ANALYZE ingest.benchmark_results")
    extent = await DayStore(database).extent()
    assert extent.is_estimate
    assert 300 < extent.row_count < 500


@pytest.mark.parametrize(
    "change",
    [
        "ttft_p95_ms = -ttft_p95_ms",
        # The last bit of 0.3.
        "ttft_p95_ms = CASE WHEN ttft_p95_ms < 1 THEN ttft_p95_ms * 1.0000000000000002 END",
        "created_at = created_at + interval '1 microsecond'",
        "batch_size = coalesce(batch_size, 0)",
        "tool = tool || ' '",
        "detailed_metrics = '{\"many\": [1.0]}'",
        "ttft_sketch = CASE WHEN ttft_sketch = '{}' THEN NULL ELSE ttft_sketch END",
        "source_sha256 = coalesce(source_sha256, '')",
    ],
)
async def test_a_fingerprint_tells_every_bit(
    migrated_database: str, database: Database, change: str
) -> None:
    await put_results(migrated_database, OLD_DAY)

    async def fingerprint() -> bytes:
        async with database.transaction() as connection:
            return (await fingerprint_of_day(connection, OLD_DAY)).checksum

    before = await fingerprint()
    assert await fingerprint() == before
    servers.execute(migrated_database, f"UPDATE ingest.benchmark_results SET {change}")
    assert await fingerprint() != before


async def test_a_turn_is_had_by_one_and_given_back(
    migrated_database: str, database: Database
) -> None:
    store = ArchiveStore(database)
    async with store.turn() as first:
        assert first is not None
        async with store.turn() as second:
            assert second is None

    async def fail_in_a_turn() -> None:
        async with store.turn() as third:
            assert third is not None
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail_in_a_turn()
    other = Database(migrated_database, "ingest")
    async with asyncio.timeout(10), ArchiveStore(other).next_turn() as fourth:
        assert fourth is not None
    await other.close()
