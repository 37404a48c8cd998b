"""`servemark doctor` says how results are stored, why, and what would be better."""

from collections.abc import Iterator

import asyncpg
import pytest

from migrations.runner import migrate_async
from migrations.storage import move_results
from servemark.stack.doctor_storage import storage, timescaledb
from tests.support import servers
from tests.support.timescale import appear, database_before_timescale, has_columnstore


async def told(dsn: str) -> tuple[str, tuple[str, str] | None]:
    """What is said of TimescaleDB and of the storage."""
    connection = await asyncpg.connect(dsn)
    try:
        return await timescaledb(connection), await storage(connection)
    finally:
        await connection.close()


async def test_without_timescaledb_it_names_the_partitions_and_the_reason(
    migrated_database: str,
) -> None:
    servers.execute(migrated_database, "SELECT ingest.create_result_partition('2026-02-28')")
    server, stored = await told(migrated_database)
    assert server == "not on this server"
    assert stored is not None
    state, text = stored
    assert state == "ok"
    assert text.startswith("native: 1 day partitions, 0.")
    assert text.endswith("because TimescaleDB is not on this server")


async def test_before_the_first_migration_nothing_is_said_of_the_storage(
    fresh_database: str,
) -> None:
    assert (await told(fresh_database))[1] is None


async def test_a_profile_of_another_version_is_wrong(migrated_database: str) -> None:
    servers.execute(
        migrated_database, "UPDATE ingest.settings SET value = 'x' WHERE name = 'storage_profile'"
    )
    assert (await told(migrated_database))[1] == (
        "wrong",
        "the profile x is not known to this version",
    )


@pytest.fixture
def late_dsn(timescale_server: str) -> Iterator[str]:
    """The DSN of a database that was migrated before TimescaleDB was loaded."""
    with database_before_timescale(timescale_server) as dsn:
        servers.run_apart(migrate_async(dsn, ["ingest"]))
        yield dsn


@pytest.mark.timescale
async def test_with_timescaledb_it_follows_the_way_to_a_hypertable(late_dsn: str) -> None:
    servers.execute(late_dsn, "SELECT ingest.create_result_partition('2026-02-28')")
    server, stored = await told(late_dsn)
    assert server.endswith("not loaded: shared_preload_libraries lacks it")
    assert stored is not None
    assert "storage migrate" not in stored[1]
    appear(late_dsn)
    server, stored = await told(late_dsn)
    assert server.endswith("loaded; not used in this database")
    assert stored is not None
    assert stored[1].endswith("`servemark storage migrate` moves them into a hypertable")
    await move_results(late_dsn, print)
    server, stored = await told(late_dsn)
    licence = "timescale" if has_columnstore(late_dsn) else "apache"
    assert server.endswith(f", licence {licence}")
    assert stored is not None
    state, text = stored
    assert state == "ok"
    assert "a hypertable of 0 days, 0 of them compressed" in text
    assert "--drop-old" in text
