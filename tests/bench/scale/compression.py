"""What the same rows take in a hypertable of TimescaleDB, before and after compression."""

import tempfile
from typing import Final

import asyncpg

from migrations.runner import migrate_async
from services.ingest.copy_format import COPY_COLUMNS
from tests.support import servers

# As many of the latest days as make about a million rows.
_DAYS: Final = 4
_IS_HYPERTABLE: Final = """
    SELECT EXISTS (
        SELECT FROM timescaledb_information.hypertables
        WHERE (hypertable_schema, hypertable_name) = ('ingest', 'benchmark_results')
    )
"""
# Or a job could compress days before they were measured.
_STOP_JOBS: Final = """
    SELECT alter_job(job_id, scheduled => false) FROM timescaledb_information.jobs
    WHERE (hypertable_schema, hypertable_name) = ('ingest', 'benchmark_results')
"""
_CHUNKS: Final = "SELECT show_chunks('ingest.benchmark_results')::text"
_BYTES_PER_ROW: Final = """
    SELECT (SELECT hypertable_size('ingest.benchmark_results'))::float8
        / (SELECT count(*) FROM ingest.benchmark_results)
"""


async def hypertable_bytes_per_row(dsn: str, timescale_dsn: str) -> dict[str, float]:
    """Bytes a row, indexes included, of the latest days: `rows` as written, and `compressed`.

    They are copied into a database that is made for it on the server `timescale_dsn`, as its
    superuser, and dropped again. Empty where the migrations make no hypertable there.
    """
    with servers.database(timescale_dsn) as copy:
        await migrate_async(copy, ["ingest"])
        connection = await asyncpg.connect(copy)
        try:
            if not await _has_hypertable(connection):
                print("  the server of --timescale-dsn makes no hypertable")
                return {}
            await connection.execute(_STOP_JOBS)
            await _copy_latest(dsn, connection)
            found = {"rows": await connection.fetchval(_BYTES_PER_ROW)}
            for (chunk,) in await connection.fetch(_CHUNKS):
                await connection.execute(f"CALL convert_to_columnstore('{chunk}')")
            found["compressed"] = await connection.fetchval(_BYTES_PER_ROW)
        finally:
            await connection.close()
    for what, size in found.items():
        print(f"  {'hypertable, ' + what:<48}{size:>8.1f} bytes/row", flush=True)
    return {what: round(size, 1) for what, size in found.items()}


async def _has_hypertable(connection: asyncpg.Connection) -> bool:
    installed = "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb')"
    return bool(await connection.fetchval(installed) and await connection.fetchval(_IS_HYPERTABLE))


async def _copy_latest(dsn: str, target: asyncpg.Connection) -> None:
    columns = ", ".join(COPY_COLUMNS)
    latest = f"""
        SELECT {columns} FROM ingest.benchmark_results
        WHERE benchmarked_at >= (
            SELECT max(benchmarked_at) FROM ingest.benchmark_results
        ) - interval '{_DAYS} days'
    """
    source = await asyncpg.connect(dsn)
    try:
        with tempfile.TemporaryFile() as document:
            await source.copy_from_query(latest, output=document, format="binary")
            document.seek(0)
            await target.copy_to_table(
                "benchmark_results",
                schema_name="ingest",
                source=document,
                columns=COPY_COLUMNS,
                format="binary",
            )
    finally:
        await source.close()
