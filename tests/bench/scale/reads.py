"""How long the reads take that people wait for."""

import asyncio
import importlib
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import asyncpg
import grpc
import numpy as np

from servemark.ingest.v1 import result_query_pb2 as query
from servemark.ingest.v1.ingest_service_pb2_grpc import IngestServiceStub

# Reads of one kind end then, however few they were.
_MOST_SECONDS: Final = 30.0
_ROLL_UP_TIMEOUT: Final = 300.0


# A small load has results of some models only.
_MEASURED: Final = """
    SELECT model, version
    FROM (
        SELECT DISTINCT model_id, model_version_id FROM ingest.benchmark_configs
    ) AS configs (model, version)
    WHERE EXISTS (
        SELECT FROM ingest.benchmark_results AS result WHERE result.model_version_id = version
    )
    ORDER BY version
"""

# Milliseconds of a kind of read: `p50` is the median, 99 of 100 stay below `p99`.
Times = dict[str, float]


async def read_times(target: str, dsn: str, count: int) -> dict[str, Times]:
    """The times of `count` reads of each kind by its title, one after the other by one caller.

    Nothing is read before the daily statistics have caught up with the rows. Each read asks for a
    model version at random, so that a cache of the answer would not help.
    """
    await _until_rolled_up(dsn)
    versions, models, newest = await _measured(dsn)
    chosen = random.Random(1)
    async with grpc.aio.insecure_channel(target) as channel:
        stub: Any = IngestServiceStub(channel)

        async def latest() -> None:
            request = query.ListBenchmarkResultsRequest(page_size=100)
            request.filter.model_version_ids.append(chosen.choice(versions))
            await stub.ListBenchmarkResults(request)

        async def first_page() -> None:
            await stub.ListBenchmarkResults(query.ListBenchmarkResultsRequest())

        async def days() -> None:
            request = query.ListDailyModelStatsRequest(model_ids=[chosen.choice(models)])
            await stub.ListDailyModelStats(request)

        async def hours() -> None:
            async for _ in stub.QueryTimeSeries(_last_week(chosen.choice(models), newest)):
                pass

        reads = {
            "latest 100 of a version": latest,
            "first page of all": first_page,
            "days of a model": days,
        }
        if hasattr(stub, "QueryTimeSeries"):
            reads["hours of a model, a week"] = hours
        found = {title: await _times(read, count) for title, read in reads.items()}
    for title, times in found.items():
        print(f"  {title:<26}{times['p50']:>8.1f} ms p50  {times['p99']:>8.1f} ms p99", flush=True)
    return found


async def _times(read: Callable[[], Awaitable[None]], count: int) -> Times:
    await read()
    taken: list[float] = []
    until = time.perf_counter() + _MOST_SECONDS
    while len(taken) < count and time.perf_counter() < until:
        began = time.perf_counter()
        await read()
        taken.append((time.perf_counter() - began) * 1e3)
    p50, p99 = np.percentile(taken, [50, 99])
    return {"p50": round(float(p50), 2), "p99": round(float(p99), 2), "reads": len(taken)}


async def _until_rolled_up(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        async with asyncio.timeout(_ROLL_UP_TIMEOUT):
            while await connection.fetchval("SELECT EXISTS (SELECT FROM ingest.dirty_days)"):
                await asyncio.sleep(0.2)
    finally:
        await connection.close()


def _last_week(model_id: str, newest: datetime) -> Any:
    """A request for what was measured of the model, by the hour, up to the newest result."""
    messages: Any = importlib.import_module("servemark.ingest.v1.time_series_pb2")
    request = messages.QueryTimeSeriesRequest(series_key=messages.SERIES_KEY_MODEL)
    request.filter.model_ids.append(model_id)
    request.filter.benchmark_time.start_time.FromDatetime(newest - timedelta(days=7))
    request.filter.benchmark_time.end_time.FromDatetime(newest)
    request.bucket.FromTimedelta(timedelta(hours=1))
    return request


async def _measured(dsn: str) -> tuple[Sequence[str], Sequence[str], datetime]:
    """The model versions and the models that have results, and the time of the newest."""
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch(_MEASURED)
        newest = await connection.fetchval(
            "SELECT max(benchmarked_at) FROM ingest.benchmark_results"
        )
    finally:
        await connection.close()
    models = sorted({str(row["model"]) for row in rows})
    return [str(row["version"]) for row in rows], models, newest
