"""PostgreSQL merges sketches and reads quantiles as numpy does, as the service's own role."""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Sequence
from typing import Any

import asyncpg
import numpy as np
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Row, text
from sqlalchemy.exc import DBAPIError

from servemark.runtime.database import Database
from services.ingest.sketches import encode, merge, quantiles

pytestmark = pytest.mark.every_profile

Sketch = list[int] | None

INT4_MAX = 2**31 - 1
QUANTILES = (0.5, 0.9, 0.95, 0.99)

# Counts of the widest range, zeros alone, empty buckets at the ends, runs without a sketch.
SKETCHES: st.SearchStrategy[Sketch] = st.one_of(
    st.none(),
    st.integers(0, 5).map(lambda zeros: [0, zeros]),
    st.lists(st.one_of(st.just(0.0), st.floats(1e-6, 1e9), st.floats(90, 110)), max_size=20).map(
        lambda samples: encode(samples).tolist()
    ),
    st.tuples(
        st.integers(-1100, 1000),
        st.integers(0, INT4_MAX),
        st.lists(st.one_of(st.integers(0, 3), st.integers(0, INT4_MAX)), max_size=100),
    ).map(lambda parts: [parts[0], parts[1], *parts[2]]),
)

# Rows from a JSON list of sketches, in the type of the results' columns.
RUNS = """
    SELECT CASE jsonb_typeof(one) WHEN 'array' THEN
        ARRAY(SELECT CAST(element AS int) FROM jsonb_array_elements_text(one)
            WITH ORDINALITY AS elements (element, place) ORDER BY place)
    END AS sketch
    FROM jsonb_array_elements(CAST(:runs AS jsonb)) AS one
"""


@pytest_asyncio.fixture(scope="module")
async def database(module_database: str) -> AsyncIterator[Database]:
    """The service's own connection."""
    pool = Database(module_database, "ingest")
    yield pool
    await pool.close()


async def rows(database: Database, query: str, **parameters: Any) -> Sequence[Row[Any]]:
    """All rows of a query."""
    async with database.transaction() as connection:
        return (await connection.execute(text(query), parameters)).all()


async def merged(database: Database, *runs: Sketch) -> list[int] | None:
    """The runs' sketches, merged by the database."""
    [[found]] = await rows(
        database, f"SELECT ingest.merge_sketches(sketch) FROM ({RUNS}) AS r", runs=json.dumps(runs)
    )
    return None if found is None else list(found)


async def quantile(database: Database, sketch: Sketch, q: float) -> float | None:
    """A quantile of one sketch, read by the database."""
    [[found]] = await rows(
        database,
        "SELECT ingest.sketch_quantile(CAST(:sketch AS bigint[]), CAST(:q AS double precision))",
        sketch=sketch,
        q=q,
    )
    return None if found is None else float(found)


def pooled_query(sketches: str) -> str:
    """One query for p50, p90, p95, p99 and the count of all rows of `sketches` together."""
    places = ", ".join(f"ingest.sketch_quantile(total, {q})" for q in QUANTILES)
    merged = f"SELECT ingest.merge_sketches(sketch) AS total FROM ({sketches}) AS runs"
    return f"SELECT {places}, ingest.sketch_count(total) FROM ({merged}) AS merged"


async def pooled(database: Database, runs: Sequence[Sketch]) -> tuple[Any, ...]:
    """The percentiles and the count of all runs together."""
    [row] = await rows(database, pooled_query(RUNS), runs=json.dumps(runs))
    return tuple(row)


async def check(database: Database, runs: list[Sketch]) -> None:
    """Compares the database's merge and percentiles with numpy's."""
    present = [run for run in runs if run is not None]
    total = await merged(database, *runs)
    row = await pooled(database, runs)
    values: list[float | None]
    if not present:
        assert total is None
        assert row == (None,) * 5
        return
    expected = merge(present).tolist()
    assert total is not None
    # One that is alone is passed on as it is: without buckets, its first one means nothing.
    assert total[1:] == expected[1:]
    assert total[0] == expected[0] or len(total) == 2
    *values, n = row
    assert n == sum(expected[1:])
    found = [math.nan if value is None else value for value in values]
    # A power of gamma differs in its last digits between the two.
    np.testing.assert_allclose(found, quantiles(expected, QUANTILES), rtol=1e-12)


@pytest.mark.filterwarnings("error")
async def test_any_runs_have_the_sketch_and_percentiles_that_numpy_gives(
    database: Database,
) -> None:
    loop = asyncio.get_running_loop()

    @settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(SKETCHES, max_size=8))
    def example(runs: list[Sketch]) -> None:
        asyncio.run_coroutine_threadsafe(check(database, runs), loop).result()

    await asyncio.to_thread(example)


async def test_pooled_percentiles_are_within_one_percent_of_the_exact_ones(
    database: Database,
) -> None:
    random = np.random.default_rng(7)
    runs = [random.lognormal(random.normal(5, 1), 0.5, random.integers(1, 400)) for _ in range(60)]
    samples = np.sort(np.concatenate(runs))
    *found, n = await pooled(database, [encode(run).tolist() for run in runs])
    assert n == samples.size
    exact = [samples[math.ceil(q * samples.size) - 1] for q in QUANTILES]
    np.testing.assert_allclose(found, exact, rtol=0.01)


async def test_runs_merged_into_days_merge_into_the_same_months(database: Database) -> None:
    random = np.random.default_rng(8)
    runs = [encode(random.lognormal(5, 1, 50)).tolist() for _ in range(40)]
    [[by_days]] = await rows(
        database,
        f"""
        SELECT ingest.merge_sketches(day) FROM (
            SELECT ingest.merge_sketches(sketch) AS day
            FROM (SELECT sketch, row_number() OVER () % 7 AS day FROM ({RUNS}) AS runs) AS runs
            GROUP BY day
        ) AS days
        """,
        runs=json.dumps(runs),
    )
    assert by_days == await merged(database, *runs)
    days = "SELECT CAST(:sketch AS bigint[]) AS sketch"
    [of_days] = await rows(database, pooled_query(days), sketch=by_days)
    assert tuple(of_days) == await pooled(database, runs)


async def test_runs_without_a_sketch_are_passed_over(database: Database) -> None:
    assert await merged(database) is None
    assert await merged(database, None, None) is None
    assert await merged(database, None, [231, 1, 3], None, [233, 0, 1]) == [231, 1, 3, 0, 1]


async def test_sums_of_many_full_counts_do_not_overflow(database: Database) -> None:
    full = [231, INT4_MAX, INT4_MAX, INT4_MAX]
    assert await merged(database, *[full] * 5) == [231, *[5 * INT4_MAX] * 3]
    assert (await pooled(database, [full] * 5))[-1] == 15 * INT4_MAX


async def test_more_than_bigint_holds_is_an_error_and_no_other_number(database: Database) -> None:
    for query in (
        "SELECT ingest.merge_sketches(CAST(:sketch AS bigint[])) FROM generate_series(1, 2)",
        "SELECT ingest.sketch_count(CAST(:sketch AS bigint[]))",
    ):
        with pytest.raises(DBAPIError, match="out of range"):
            await rows(database, query, sketch=[0, 2**62, 2**62, 2**62])


async def test_zeros_alone_do_not_widen_a_sketch(database: Database) -> None:
    for runs in ([[0, 2], [900, 1, 5]], [[900, 1, 5], [0, 2]]):
        assert await merged(database, *runs) == [900, 3, 5]
    p50, *_, p99, _ = await pooled(database, [[0, 3], [900, 0, 1]])
    assert p50 == 0
    assert p99 == pytest.approx(0.99 * (101 / 99) ** 900, rel=1e-12)


async def test_a_sketch_without_samples_has_no_quantiles(database: Database) -> None:
    for empty in ([0, 0], [231, 0, 0, 0]):
        assert await quantile(database, empty, 0.5) is None
        assert await pooled(database, [empty]) == (None, None, None, None, 0)


@pytest.mark.parametrize("bucket", [-1100, 0, 1100])
@pytest.mark.parametrize("q", [0.0, 0.5, 1.0])
async def test_a_single_bucket_has_its_own_value_at_every_quantile(
    database: Database, bucket: int, q: float
) -> None:
    value = 0.99 * (101 / 99) ** bucket
    assert await quantile(database, [bucket, 0, 7], q) == pytest.approx(value, rel=1e-12)


async def test_a_quantile_has_the_rank_that_was_asked_for(database: Database) -> None:
    sketch = [10, 1, 2, 0, 1]  # ranks: the zero 1, bucket 10: 2 and 3, bucket 12: 4
    ranks = {0.0: 0, 0.25: 0, 0.26: 10, 0.75: 10, 0.76: 12, 1.0: 12}
    for q, bucket in ranks.items():
        expected = 0 if bucket == 0 else 0.99 * (101 / 99) ** bucket
        assert await quantile(database, sketch, q) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("q", [-0.01, 1.01, math.nan])
async def test_a_quantile_outside_its_range_is_refused(database: Database, q: float) -> None:
    with pytest.raises(DBAPIError, match="between 0 and 1") as refusal:
        await quantile(database, [3, 0, 1], q)
    cause = refusal.value.orig.__cause__  # type: ignore[union-attr]
    assert isinstance(cause, asyncpg.InvalidParameterValueError)


async def test_processes_that_share_the_work_give_the_same_sketch(migrated_database: str) -> None:
    random = np.random.default_rng(9)
    kept = [encode(random.lognormal(random.normal(5, 2), 1, 20)).tolist() for _ in range(200)]
    connection = await asyncpg.connect(migrated_database)
    try:
        await connection.execute("CREATE TABLE runs (sketch int[])")
        await connection.copy_records_to_table("runs", records=[(one,) for one in kept])
        for name, value in (
            ("parallel_setup_cost", 0),
            ("parallel_tuple_cost", 0),
            ("min_parallel_table_scan_size", 0),
            ("parallel_leader_participation", "off"),
        ):
            await connection.execute(f"SET {name} = {value}")
        query = "SELECT ingest.merge_sketches(sketch) FROM runs"
        plan = await connection.fetch(f"EXPLAIN (ANALYZE) {query}")
        found = await connection.fetchrow(query)
    finally:
        await connection.close()
    lines = "\n".join(line[0] for line in plan)
    assert "Partial Aggregate" in lines
    assert "Workers Launched: 0" not in lines
    assert found is not None
    assert found["merge_sketches"] == merge(kept).tolist()


async def test_functions_of_the_same_names_elsewhere_are_not_called(migrated_database: str) -> None:
    connection = await asyncpg.connect(migrated_database)
    try:
        await connection.execute(
            """
            CREATE SCHEMA other;
            CREATE FUNCTION other.power(double precision, double precision)
                RETURNS double precision LANGUAGE sql IMMUTABLE RETURN 7;
            CREATE FUNCTION other.cardinality(bigint[]) RETURNS int
                LANGUAGE sql IMMUTABLE RETURN 7;
            CREATE FUNCTION other.unnest(bigint[]) RETURNS SETOF bigint
                LANGUAGE sql IMMUTABLE BEGIN ATOMIC SELECT 7; END;
            SET search_path = other, pg_catalog;
            """
        )
        found = await connection.fetchrow(
            """
            SELECT total, ingest.sketch_quantile(total, 0.5), ingest.sketch_count(total)
            FROM (
                SELECT ingest.merge_sketches(sketch) AS total
                FROM (VALUES (ARRAY[5, 0, 3]), (ARRAY[6, 0, 1])) AS runs (sketch)
            ) AS merged
            """
        )
    finally:
        await connection.close()
    assert found is not None
    assert list(found) == [[5, 0, 3, 1], pytest.approx(0.99 * (101 / 99) ** 5), 4]


async def test_every_sketch_function_may_be_planned_freely(database: Database) -> None:
    found = await rows(
        database,
        "SELECT proname, provolatile, proparallel FROM pg_proc "
        "WHERE pronamespace = 'ingest'::regnamespace AND proname LIKE '%sketch%' ORDER BY proname",
    )
    assert [tuple(row) for row in found] == [
        (name, b"i", b"s")
        for name in ("add_sketches", "merge_sketches", "sketch_count", "sketch_quantile")
    ]
