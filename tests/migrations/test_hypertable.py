"""A database with TimescaleDB becomes a hypertable while it is empty, and can go back."""

import secrets
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from migrations import runner
from migrations.runner import migrate_async
from servemark.runtime.database import async_url
from tests.support import servers
from tests.support.days import recorded
from tests.support.timescale import (
    appear,
    compress,
    database_before_timescale,
    has_columnstore,
    require_timescale,
)

require_timescale()
pytestmark = pytest.mark.timescale

RESULTS = """
    INSERT INTO ingest.benchmark_results (
        id, benchmarked_at, config_id, model_id, model_version_id, hardware_config_id,
        framework_id, stream_id, workload_type, percentile_source, tool, tool_version, ttft_p50_ms
    ) SELECT gen_random_uuid(), '2026-02-27 23:00Z'::timestamptz + make_interval(mins => n % 120),
        id, id, id, id, id, id, 'chatbot', 'measured', 'vllm', '1', n / 7.0
    FROM (SELECT n, md5((n % 3)::text)::uuid AS id FROM generate_series(1, 120) AS n) AS rows
"""
CONTENT = "SELECT sum(hashtextextended(r::text, 0))::text FROM ingest.benchmark_results AS r"


@pytest.fixture
def dsn(timescale_server: str) -> Iterator[str]:
    """The DSN of an empty database."""
    with servers.database(timescale_server) as made:
        yield made


def revision_before(sentence: str) -> str:
    """The revision that the migration of ingest with this name comes after."""
    for script in ScriptDirectory.from_config(runner._config("ingest")).walk_revisions():
        if script.path.endswith(f"_{sentence}.py"):
            return str(script.down_revision)
    raise LookupError(sentence)


def value(dsn: str, query: str) -> Any:
    """The first value a query finds."""
    return servers.fetch_value(dsn, query)


async def test_an_empty_database_becomes_a_hypertable_of_days(dsn: str) -> None:
    await migrate_async(dsn, ["ingest"])
    licence = value(dsn, "SELECT current_setting('timescaledb.license')")
    assert recorded(dsn) == (
        "timescale" if licence == "timescale" else "timescale-apache",
        None,
    )
    servers.execute(dsn, RESULTS)
    spans = value(
        dsn,
        "SELECT array_agg(range_start::text || ' ' || (range_end - range_start) "
        "ORDER BY range_start) FROM timescaledb_information.chunks "
        "WHERE hypertable_schema = 'ingest' AND hypertable_name = 'benchmark_results'",
    )
    assert spans == ["2026-02-27 00:00:00+00 1 day", "2026-02-28 00:00:00+00 1 day"]
    days = value(
        dsn, "SELECT array_agg(format('%s %s', day, is_compressed)) FROM ingest.result_days()"
    )
    assert days == ["2026-02-27 f", "2026-02-28 f"]
    assert value(dsn, "SELECT ingest.create_result_partition('2026-03-01')") is False
    policies = value(
        dsn,
        "SELECT array_agg(proc_name::text) FROM timescaledb_information.jobs "
        "WHERE hypertable_name = 'benchmark_results'",
    )
    # Nothing drops a day but the retention that has archived it.
    assert policies == (["policy_compression"] if has_columnstore(dsn) else None)


async def test_compressed_days_take_a_third_of_the_room_and_hold_the_same(dsn: str) -> None:
    await migrate_async(dsn, ["ingest"])
    if not has_columnstore(dsn):
        pytest.skip("the server's licence has no columnstore")
    servers.execute(dsn, RESULTS.replace("(1, 120)", "(1, 10000)"))
    before, content = value(dsn, "SELECT sum(bytes) FROM ingest.result_days()"), value(dsn, CONTENT)
    assert compress(dsn) > 0
    assert value(dsn, CONTENT) == content
    assert value(dsn, "SELECT bool_and(is_compressed) FROM ingest.result_days()")
    assert value(dsn, "SELECT sum(bytes) FROM ingest.result_days()") < before / 2


async def test_a_database_with_results_stays_native_and_says_so(dsn: str) -> None:
    await migrate_async(dsn, ["ingest"], revision_before("choose_the_storage_profile"))
    servers.execute(
        dsn,
        "SELECT ingest.create_result_partition('2026-02-27')",
        "SELECT ingest.create_result_partition('2026-02-28')",
        RESULTS,
    )
    await migrate_async(dsn, ["ingest"])
    assert recorded(dsn) == ("native", "results were stored before TimescaleDB was there")
    assert value(dsn, "SELECT count(*) FROM ingest.benchmark_results") == 120


async def test_partitions_without_results_do_not_keep_a_database_native(dsn: str) -> None:
    await migrate_async(dsn, ["ingest"], revision_before("choose_the_storage_profile"))
    servers.execute(dsn, "SELECT ingest.create_result_partition('2026-02-27')")
    await migrate_async(dsn, ["ingest"])
    assert recorded(dsn)[0] != "native"
    servers.execute(dsn, RESULTS)


async def test_a_hypertable_goes_back_to_partitions_with_every_row(dsn: str) -> None:
    await migrate_async(dsn, ["ingest"])
    servers.execute(dsn, RESULTS)
    if has_columnstore(dsn):
        compress(dsn)
    content = value(dsn, CONTENT)
    await _back(dsn)
    assert value(dsn, CONTENT) == content
    assert recorded(dsn) == ("native", None)
    parts = (
        "SELECT array_agg(part ORDER BY part) FROM pg_inherits, "
        "LATERAL CAST(inhrelid::regclass AS text) AS part "
        "WHERE inhparent = 'ingest.benchmark_results'::regclass"
    )
    assert value(dsn, parts) == [
        "ingest.benchmark_results_20260227",
        "ingest.benchmark_results_20260228",
    ]
    assert value(dsn, "SELECT ingest.create_result_partition('2026-03-01')")
    await migrate_async(dsn, ["ingest"])
    assert recorded(dsn)[0] == "native"
    assert value(dsn, CONTENT) == content


async def _back(dsn: str) -> None:
    """Goes back to the revision before, and so by the migrations after it, too."""
    engine = create_async_engine(async_url(dsn), isolation_level="AUTOCOMMIT")
    revision = revision_before("choose_the_storage_profile")
    async with engine.connect() as connection:
        await connection.run_sync(
            lambda sync: command.downgrade(runner._config("ingest", sync), revision)
        )
    await engine.dispose()


async def test_a_migration_that_fails_leaves_nothing(dsn: str) -> None:
    await migrate_async(dsn, ["ingest"], revision_before("choose_the_storage_profile"))
    servers.execute(dsn, "CREATE SCHEMA ingest_hypertable")
    with pytest.raises(DBAPIError):
        await migrate_async(dsn, ["ingest"])
    assert value(dsn, "SELECT count(*) FROM pg_extension WHERE extname = 'timescaledb'") == 0
    assert value(dsn, "SELECT to_regproc('ingest.build_hypertable') IS NULL")
    assert value(dsn, "SELECT ingest.create_result_partition('2026-02-27')")
    servers.execute(dsn, "DROP SCHEMA ingest_hypertable")
    await migrate_async(dsn, ["ingest"])
    assert recorded(dsn)[0] != "native"


async def test_where_the_extension_cannot_be_made_the_database_stays_native(dsn: str) -> None:
    servers.execute(
        dsn,
        "CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN "
        "RAISE 'not in here' USING ERRCODE = 'insufficient_privilege'; END $$",
        "CREATE EVENT TRIGGER refuse ON ddl_command_start WHEN TAG IN ('CREATE EXTENSION') "
        "EXECUTE FUNCTION refuse()",
    )
    await migrate_async(dsn, ["ingest"])
    profile, reason = recorded(dsn)
    assert profile == "native"
    assert reason == "TimescaleDB could not be installed in this database: not in here"


async def test_timescaledb_that_is_not_loaded_leaves_the_database_native(
    timescale_server: str,
) -> None:
    with database_before_timescale(timescale_server) as dsn:
        await migrate_async(dsn, ["ingest"])
        assert recorded(dsn)[1] == "TimescaleDB is not loaded (shared_preload_libraries)"
        appear(dsn)
        await migrate_async(dsn, ["ingest"])
        assert recorded(dsn)[0] == "native"


async def test_an_owner_who_is_no_superuser_gets_a_hypertable(timescale_server: str) -> None:
    owner, password = f"test_owner_{secrets.token_hex(4)}", secrets.token_hex(8)
    with servers.database(timescale_server) as dsn:
        name = servers.database_name(dsn)
        servers.execute(
            dsn,
            f"CREATE ROLE {owner} LOGIN CREATEROLE PASSWORD '{password}'",
            f'ALTER DATABASE "{name}" OWNER TO {owner}',
        )
        address = urlsplit(dsn)
        own = address._replace(netloc=f"{owner}:{password}@{address.hostname}:{address.port}")
        try:
            await migrate_async(own.geturl(), ["ingest"])
            assert recorded(dsn)[0] != "native"
            servers.execute(dsn, RESULTS)
            assert value(own.geturl(), "SELECT count(*) FROM ingest.result_days()") == 2
        finally:
            servers.execute(
                dsn, f"REASSIGN OWNED BY {owner} TO CURRENT_USER", f"DROP OWNED BY {owner} CASCADE"
            )
    servers.execute(timescale_server, f"DROP ROLE {owner}")
