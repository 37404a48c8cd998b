"""The database merges sketches and reads percentiles as the service does."""

import asyncio
from typing import Any

import asyncpg
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.ingest.sketches import merge, quantiles, sketch_of

pytestmark = pytest.mark.every_profile

QUANTILES = (0.0, 0.5, 0.9, 0.95, 0.99, 1.0)
POOLED = """
    SELECT ingest.merge_sketches(run.sketch) AS merged,
        ingest.sketch_count(ingest.merge_sketches(run.sketch)) AS total,
        array(
            SELECT ingest.sketch_quantile(ingest.merge_sketches(run.sketch), q)
            FROM unnest($2::float8[]) AS q
        ) AS found
    FROM (SELECT ARRAY(SELECT jsonb_array_elements_text(one)::int) AS sketch
          FROM jsonb_array_elements($1::text::jsonb) AS one) AS run
"""
POOLS = st.lists(st.lists(st.just(0.0) | st.floats(1e-6, 1e9), max_size=40), min_size=1, max_size=6)


async def pooled(connection: asyncpg.Connection, sketches: list[Any]) -> asyncpg.Record:
    """What one query makes of the sketches."""
    text = str([[int(number) for number in sketch] for sketch in sketches])
    return await connection.fetchrow(POOLED, text, QUANTILES)


async def test_the_database_pools_as_the_service_does(module_database: str) -> None:
    loop = asyncio.get_running_loop()
    connection = await asyncpg.connect(module_database)

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(POOLS)
    def examples(pools: list[list[float]]) -> None:
        sketches = [sketch_of(samples) for samples in pools]
        asked = asyncio.run_coroutine_threadsafe(pooled(connection, sketches), loop)
        row = asked.result(30)
        merged = merge(sketches)
        assert int(row["total"]) == merged[1:].sum()
        if merged[2:].any():
            assert row["merged"] == merged.tolist()
        expected = quantiles(merged, QUANTILES)
        found = np.array([np.nan if value is None else value for value in row["found"]])
        np.testing.assert_allclose(found, expected, rtol=1e-12)

    try:
        await asyncio.to_thread(examples)
    finally:
        await connection.close()


async def test_sums_of_many_runs_do_not_overflow(module_database: str) -> None:
    connection = await asyncpg.connect(module_database)
    try:
        row = await connection.fetchrow(
            "SELECT ingest.merge_sketches(ARRAY[7, 2147483647, 2147483647]) AS merged "
            "FROM generate_series(1, 1000)"
        )
    finally:
        await connection.close()
    assert row["merged"] == [7, 2147483647000, 2147483647000]


@pytest.mark.parametrize("workers", [0, 2])
async def test_parallel_workers_combine_what_each_merged(
    module_database: str, workers: int
) -> None:
    connection = await asyncpg.connect(module_database)
    try:
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS public.runs AS SELECT ARRAY[i % 90, i % 3, i % 5, 1] AS s "
            "FROM generate_series(1, 20000) AS i; "
            "SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; "
            f"SET min_parallel_table_scan_size = 0; SET max_parallel_workers_per_gather = {workers}"
        )
        merged = await connection.fetchval("SELECT ingest.merge_sketches(s) FROM public.runs")
        plan = await connection.fetch("EXPLAIN SELECT ingest.merge_sketches(s) FROM public.runs")
    finally:
        await connection.close()
    expected = merge([np.array([i % 90, i % 3, i % 5, 1]) for i in range(1, 20001)])
    assert merged == expected.tolist()
    assert ("Gather" in str(plan)) == bool(workers)


async def test_the_service_may_use_them(module_database: str) -> None:
    connection = await asyncpg.connect(
        module_database, server_settings={"role": "servemark_ingest"}
    )
    try:
        found = await connection.fetchval(
            "SELECT ingest.sketch_quantile(ingest.merge_sketches(ARRAY[0, 0, 1]), 0.5)"
        )
    finally:
        await connection.close()
    assert found == pytest.approx(1.0, rel=0.01)
