"""Each day has a partition, made when it is needed, by a role that may not create tables."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

import asyncpg
import pytest_asyncio

from servemark.runtime.database import Database
from servemark.runtime.ids import uuid7
from services.ingest.partitions import DAYS_AHEAD, NativePartitions
from tests.support import servers

DAY = date(2026, 2, 28)
INSERT = """
    INSERT INTO ingest.benchmark_results (
        id, benchmarked_at, config_id, model_id, model_version_id, hardware_config_id,
        framework_id, stream_id, workload_type, percentile_source, tool, tool_version, ttft_p50_ms
    ) VALUES ($1, $2, $3, $4, $5, $5, $5, $5, 'chatbot', 'measured', 'vllm', '1', $6)
"""
NEW_CONFIG = """
    INSERT INTO ingest.benchmark_configs (
        id, model_id, model_version_id, hardware_config_id, framework_id, workload_type,
        tensor_parallel, pipeline_parallel, data_parallel, expert_parallel, provenance
    ) VALUES ($1, $2, $3, $3, $3, 'chatbot', 0, 0, 0, 0, 'measured')
"""


@pytest_asyncio.fixture
async def database(migrated_database: str) -> AsyncIterator[Database]:
    """The service's own connection."""
    pool = Database(migrated_database, "ingest")
    yield pool
    await pool.close()


def partitions(database: Database, today: date = DAY) -> NativePartitions:
    """The partitions as one process knows them."""
    return NativePartitions(database, lambda: today)


def made(dsn: str) -> list[str]:
    """The names of the day partitions."""
    names = servers.fetch_value(
        dsn,
        "SELECT string_agg(inhrelid::regclass::text, ' ' ORDER BY inhrelid::regclass::text) "
        "FROM pg_inherits WHERE inhparent = 'ingest.benchmark_results'::regclass",
    )
    return [] if names is None else str(names).split()


async def test_racing_processes_make_each_day_once(
    migrated_database: str, database: Database
) -> None:
    days = [DAY + timedelta(days=offset) for offset in range(6)]
    processes = [partitions(database) for _ in range(4)]
    await asyncio.gather(
        *(
            process.ensure(days if index % 2 else days[::-1])
            for index, process in enumerate(processes)
        )
    )
    assert made(migrated_database) == [f"ingest.benchmark_results_{day:%Y%m%d}" for day in days]


async def test_a_partition_is_made_beside_a_running_insert(
    migrated_database: str, database: Database
) -> None:
    await partitions(database).ensure([DAY])
    writer = await asyncpg.connect(migrated_database)
    try:
        async with writer.transaction():
            await insert(writer, datetime(2026, 2, 28, 12, tzinfo=UTC))
            async with asyncio.timeout(5):
                await partitions(database).ensure([DAY + timedelta(days=1)])
    finally:
        await writer.close()
    assert len(made(migrated_database)) == 2


async def test_the_coming_week_is_made_ahead(migrated_database: str, database: Database) -> None:
    await partitions(database).maintain()
    last = DAY + timedelta(days=DAYS_AHEAD)
    names = made(migrated_database)
    assert len(names) == DAYS_AHEAD + 1
    assert names[0].endswith("20260228")
    assert names[-1].endswith(f"{last:%Y%m%d}")


async def test_a_known_day_is_not_asked_for_again(
    migrated_database: str, database: Database
) -> None:
    process = partitions(database)
    await process.ensure([DAY])
    servers.execute(migrated_database, "DROP TABLE ingest.benchmark_results_20260228")
    await process.ensure([DAY])
    assert made(migrated_database) == []
    process.forget([DAY])
    await process.ensure([DAY])
    assert len(made(migrated_database)) == 1


async def insert(connection: asyncpg.Connection, moment: datetime, ttft: float = 40.0) -> None:
    """Stores a result of a configuration of its own."""
    config, model, other = uuid4(), uuid4(), uuid4()
    await connection.execute(NEW_CONFIG, config, model, other)
    identifier = uuid7(int(moment.timestamp() * 1000))
    await connection.execute(INSERT, identifier, moment, config, model, other, ttft)


async def test_each_listing_has_its_index(migrated_database: str, database: Database) -> None:
    names = servers.fetch_value(
        migrated_database,
        "SELECT string_agg(indexname, ' ') FROM pg_indexes "
        "WHERE schemaname = 'ingest' AND tablename IN ('benchmark_results', 'daily_model_stats')",
    )
    assert set(names.split()) >= {
        "idx_benchmark_results_model_hardware_framework",
        "idx_benchmark_results_latency_sla",
        "idx_benchmark_results_date_workload",
        "idx_benchmark_results_version_latest",
        "idx_daily_stats_model_date",
    }
    await partitions(database).ensure([DAY])
    on_the_day = servers.fetch_value(
        migrated_database,
        "SELECT count(*) FROM pg_indexes WHERE tablename = 'benchmark_results_20260228'",
    )
    assert on_the_day == 5
