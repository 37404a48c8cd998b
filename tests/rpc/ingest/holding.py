"""Holds the service up in the middle of a statement, and tells when it waits."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC

import asyncpg

from servemark.ingest.v1.benchmark_result_pb2 import ResultRow

HOLD = """
    INSERT INTO ingest.benchmark_results (
        id, benchmarked_at, config_id, model_id, model_version_id, hardware_config_id,
        framework_id, stream_id, workload_type, percentile_source, tool, tool_version
    )
    SELECT $1, $2, config_id, model_id, model_version_id, hardware_config_id,
        framework_id, stream_id, workload_type, percentile_source, tool, tool_version
    FROM ingest.benchmark_results LIMIT 1
"""
HOLD_CONFIG = """
    INSERT INTO ingest.benchmark_configs (
        id, model_id, model_version_id, hardware_config_id, framework_id, workload_type,
        concurrency, tensor_parallel, pipeline_parallel, data_parallel, expert_parallel, provenance
    )
    SELECT gen_random_uuid(), model_id, model_version_id, hardware_config_id, framework_id,
        workload_type, $1, 0, 0, 0, 0, provenance
    FROM ingest.benchmark_configs
"""
WAITING = """
    SELECT pid FROM pg_stat_activity
    WHERE application_name = 'servemark-ingest' AND wait_event_type = 'Lock'
        AND datname = current_database()
"""


@asynccontextmanager
async def held(dsn: str, middle: ResultRow) -> AsyncIterator[asyncpg.Connection]:
    """An open transaction with a row's id: a COPY of that row waits in the middle of its batch."""
    connection = await asyncpg.connect(dsn)
    transaction = connection.transaction()
    await transaction.start()
    moment = middle.benchmark_time.ToDatetime(tzinfo=UTC)
    await connection.execute(HOLD, middle.id, moment)
    try:
        yield connection
    finally:
        if not connection.is_closed():
            await transaction.rollback()
            await connection.close()


@asynccontextmanager
async def held_config(dsn: str, concurrency: int) -> AsyncIterator[None]:
    """An open transaction with a configuration like the only one there, of another concurrency."""
    connection = await asyncpg.connect(dsn)
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute(HOLD_CONFIG, concurrency)
    try:
        yield
    finally:
        await transaction.rollback()
        await connection.close()


async def waiting_backends(dsn: str, count: int = 1) -> list[int]:
    """The process ids of the service's backends that wait for a lock, once there are so many."""
    # Within a transaction the view would show the same moment for ever.
    connection = await asyncpg.connect(dsn)
    try:
        async with asyncio.timeout(10):
            while True:
                waiting = await connection.fetch(WAITING)
                if len(waiting) >= count:
                    return [int(row["pid"]) for row in waiting]
                await asyncio.sleep(0.01)
    finally:
        await connection.close()
