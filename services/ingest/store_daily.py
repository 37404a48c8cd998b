"""SQL for daily statistics: marks of days to calculate, the calculation, and reading.

One calculation serves the roll-up and the readers: a reader calculates the days that are marked
itself, from the same snapshot that it reads the others from, and so sees what the results say. A
day's statistics outlive its results: what was counted from more of them than are there now stays.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ARRAY, Text, Uuid, bindparam, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from servemark.runtime.database import Database, driver_connection
from servemark.runtime.ids import uuid7
from services.ingest.records import DailyStats, Turn
from services.ingest.store_filter import Arguments, among
from services.ingest.tables import benchmark_configs

_c = benchmark_configs.c

# Marks looked at in one turn of the roll-up, and days of a model that it calculates.
_MARKS: Final = 50_000
_DAYS_A_TURN: Final = 100

# Marks name the same days again and again: all are taken, each day is calculated once, and what is
# too much for a turn goes back, in the order it came. Code that marks no configurations may still
# run somewhere; all of its models' are marked then.
_CLAIM = text(
    """
    WITH claimed AS (
        DELETE FROM dirty_days WHERE id IN (
            SELECT id FROM dirty_days ORDER BY id LIMIT :marks FOR UPDATE SKIP LOCKED
        )
        RETURNING id, model_id, stats_date, created_at, configs_marked
    ), days AS (
        SELECT model_id, stats_date, min(id) AS first, max(created_at) AS newest,
            row_number() OVER (ORDER BY min(id)) AS place
        FROM claimed GROUP BY model_id, stats_date
    ), put_back AS (
        INSERT INTO dirty_days (model_id, stats_date, created_at, configs_marked)
        SELECT model_id, stats_date, newest, true FROM days WHERE place > :days ORDER BY place
    ), condensed AS (
        INSERT INTO dirty_configs (config_ids)
        SELECT array_agg(id) FROM benchmark_configs
        WHERE model_id IN (SELECT model_id FROM claimed WHERE NOT configs_marked)
        HAVING count(*) > 0
    )
    SELECT model_id, stats_date, (SELECT count(*) FROM days) > :days AS more
    FROM days WHERE place <= :days
    """
)

_LOCK = text(
    "SELECT pg_advisory_xact_lock(key) FROM ("
    "SELECT hashtextextended(name, 0) AS key FROM unnest(:keys) AS name ORDER BY key"
    ") AS keys"
).bindparams(bindparam("keys", type_=ARRAY(Text())))

# One day of some models, whose versions are named: a few of many are read through the index of the
# versions' times. A percentile over runs and one over requests are different quantities; the row
# says which.
_CALCULATION: Final = """
    SELECT model_id, CAST(:day AS date) AS stats_date, avg_accuracy, avg_throughput,
        coalesce(sketch_p95, run_p95) AS p95_latency_ms, total_benchmarks,
        jsonb_strip_nulls(jsonb_build_object(
            'p95_latency_source', CASE
                WHEN sketch_p95 IS NOT NULL THEN 'sketches' WHEN run_p95 IS NOT NULL THEN 'runs'
            END,
            'accuracy_runs', accuracy_runs,
            'throughput_runs', throughput_runs,
            'latency_runs', CASE WHEN sketch_p95 IS NULL THEN latency_runs ELSE sketch_runs END,
            'request_count', request_count,
            'failed_request_count', failed_request_count
        )) AS aggregated_metrics,
        clock_timestamp() AS updated_at
    FROM (
        SELECT result.model_id,
            avg(accuracy_score) AS avg_accuracy,
            avg(throughput_tokens_sec) AS avg_throughput,
            percentile_cont(0.95) WITHIN GROUP (ORDER BY ttft_p50_ms) AS run_p95,
            CASE WHEN coalesce(bool_and(ttft_sketch IS NOT NULL) FILTER (
                WHERE coalesce(ttft_p50_ms, ttft_p90_ms, ttft_p95_ms, ttft_p99_ms) IS NOT NULL
            ), true) THEN
                ingest.sketch_quantile(ingest.merge_sketches(ttft_sketch), 0.95)
            END AS sketch_p95,
            count(*) AS total_benchmarks,
            count(accuracy_score) AS accuracy_runs,
            count(throughput_tokens_sec) AS throughput_runs,
            count(ttft_p50_ms) AS latency_runs,
            count(ttft_sketch) AS sketch_runs,
            sum(request_count) AS request_count,
            sum(failed_request_count) AS failed_request_count
        FROM benchmark_results AS result
        WHERE result.model_version_id = ANY(:versions)
            AND result.benchmarked_at >= :starts AND result.benchmarked_at < :ends
        GROUP BY result.model_id
    ) AS figures
"""
_VERSIONS: Final = bindparam("versions", type_=ARRAY(Uuid()))
_CALCULATE: Final = text(_CALCULATION).bindparams(_VERSIONS)

# Results only ever come, until their whole day is dropped: fewer of them than were counted before
# means that they were.
_ROLL_UP: Final = text(
    f"""
    INSERT INTO daily_model_stats AS stats (
        id, model_id, stats_date, avg_accuracy, avg_throughput, p95_latency_ms,
        total_benchmarks, aggregated_metrics, updated_at
    )
    SELECT wanted.id, calculated.* FROM ({_CALCULATION}) AS calculated
    JOIN unnest(:ids, :models) AS wanted (id, model_id) USING (model_id)
    ON CONFLICT (model_id, stats_date) DO UPDATE SET
        avg_accuracy = excluded.avg_accuracy,
        avg_throughput = excluded.avg_throughput,
        p95_latency_ms = excluded.p95_latency_ms,
        total_benchmarks = excluded.total_benchmarks,
        aggregated_metrics = excluded.aggregated_metrics,
        updated_at = excluded.updated_at
    WHERE excluded.total_benchmarks >= stats.total_benchmarks
    """  # noqa: S608  (all of it is ours)
).bindparams(_VERSIONS, *(bindparam(name, type_=ARRAY(Uuid())) for name in ("ids", "models")))

_COLUMNS: Final = (
    "avg_accuracy, avg_throughput, p95_latency_ms, total_benchmarks, aggregated_metrics, updated_at"
)


class DailyStore:
    """Daily statistics of models."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def roll_up(self) -> Turn:
        """Calculates up to 100 marked days of models anew.

        Several processes may do so at once. The marks go in the transaction that writes what they
        ask for. A lock for each model and day makes the second of two calculations of one day begin
        after the first was committed, so that the later figures, which know more, stay.
        """
        async with self._database.transaction() as connection:
            marks = (
                await connection.execute(_CLAIM, {"marks": _MARKS, "days": _DAYS_A_TURN})
            ).all()
            if not marks:
                return Turn()
            wanted = sorted((mark.stats_date, mark.model_id) for mark in marks)
            await _take_turns(connection, wanted)
            versions = await _versions(connection, {model_id for _, model_id in wanted})
            for day, models in _by_day(wanted):
                ids = {"ids": [uuid7() for _ in models], "models": models}
                await connection.execute(_ROLL_UP, _span(day, models, versions) | ids)
        return Turn(len(wanted), marks[0].more)

    async def page(
        self,
        model_ids: Sequence[UUID],
        start: date | None,
        end: date | None,
        after: tuple[date, UUID] | None,
        limit: int,
    ) -> list[DailyStats]:
        """Up to `limit` days, the latest first, then by model, after the day and model named."""
        found: list[DailyStats] = []
        async with self._database.snapshot() as connection:
            driver = await driver_connection(connection)
            while len(found) < limit:
                size = limit - len(found)
                query, arguments = _page(model_ids, start, end, after, size)
                rows = await driver.fetch(query, *arguments)
                found += await _with_stale(connection, rows)
                if len(rows) < size:
                    break
                after = rows[-1]["stats_date"], rows[-1]["model_id"]
        return found


async def _with_stale(connection: AsyncConnection, rows: Sequence[Any]) -> list[DailyStats]:
    """The statistics of the rows, of stale ones as the results are now."""
    stale = [(row["stats_date"], row["model_id"]) for row in rows if row["is_stale"]]
    made: dict[tuple[date, UUID], Any] = {}
    versions = await _versions(connection, {model_id for _, model_id in stale}) if stale else {}
    for day, models in _by_day(stale):
        for row in await connection.execute(_CALCULATE, _span(day, models, versions)):
            made[day, row.model_id] = row._mapping
    found = []
    for row in rows:
        fresh = made.get((row["stats_date"], row["model_id"]))
        count = row["total_benchmarks"]
        if fresh is not None and (count is None or fresh["total_benchmarks"] >= count):
            found.append(_stats(fresh))
        elif count is not None:
            found.append(_stats(row))
    return found


def _page(
    model_ids: Sequence[UUID],
    start: date | None,
    end: date | None,
    after: tuple[date, UUID] | None,
    limit: int,
) -> tuple[str, list[Any]]:
    """What is rolled up, and the marked days with what was, with the arguments."""
    arguments = Arguments()
    conditions = ["true"]
    if model_ids:
        conditions.append(f"model_id = ANY({arguments.add(list(model_ids))}::uuid[])")
    if start is not None:
        conditions.append(f"stats_date >= {arguments.add(start)}")
    if end is not None:
        conditions.append(f"stats_date < {arguments.add(end)}")
    if after is not None:
        day, model = arguments.add(after[0]), arguments.add(after[1])
        conditions.append(f"stats_date <= {day} AND (stats_date < {day} OR model_id > {model})")
    narrowed = " AND ".join(conditions)
    query = f"""
        WITH marked AS (
            SELECT DISTINCT model_id, stats_date FROM dirty_days WHERE {narrowed}
        )
        SELECT model_id, stats_date, {_COLUMNS}, false AS is_stale
        FROM daily_model_stats
        WHERE (model_id, stats_date) NOT IN (SELECT model_id, stats_date FROM marked)
            AND {narrowed}
        UNION ALL
        SELECT model_id, stats_date, {_COLUMNS}, true
        FROM marked LEFT JOIN daily_model_stats USING (model_id, stats_date)
        ORDER BY stats_date DESC, model_id LIMIT {arguments.add(limit)}
    """  # noqa: S608  (names are ours, values are arguments)
    return query, arguments.values


async def _take_turns(connection: AsyncConnection, wanted: Sequence[tuple[date, UUID]]) -> None:
    """Locks each day and model until the commit, in one order everywhere."""
    keys = [f"daily_model_stats {day} {model_id}" for day, model_id in wanted]
    await connection.execute(_LOCK, {"keys": keys})


def _by_day(wanted: Sequence[tuple[date, UUID]]) -> list[tuple[date, list[UUID]]]:
    """The models of each day; a calculation reads one day's results."""
    days = groupby(sorted(wanted), key=itemgetter(0))
    return [(day, [model_id for _, model_id in group]) for day, group in days]


async def _versions(connection: AsyncConnection, models: set[UUID]) -> dict[UUID, list[UUID]]:
    """The versions of each model that were measured."""
    query = select(_c.model_id, _c.model_version_id).where(among(_c.model_id, sorted(models)))
    versions: dict[UUID, list[UUID]] = {}
    for model_id, version_id in await connection.execute(query.distinct()):
        versions.setdefault(model_id, []).append(version_id)
    return versions


def _span(
    day: date, models: Sequence[UUID], versions: Mapping[UUID, Sequence[UUID]]
) -> dict[str, Any]:
    starts = datetime.combine(day, time(), UTC)
    return {
        "day": day,
        "versions": [version for model in models for version in versions.get(model, ())],
        "starts": starts,
        "ends": starts + timedelta(days=1),
    }


def _stats(row: Any) -> DailyStats:
    known = row["aggregated_metrics"]
    return DailyStats(
        model_id=row["model_id"],
        stats_date=row["stats_date"],
        avg_accuracy=row["avg_accuracy"],
        avg_throughput=row["avg_throughput"],
        p95_latency_ms=row["p95_latency_ms"],
        p95_latency_source=known.get("p95_latency_source"),
        total_benchmarks=row["total_benchmarks"],
        accuracy_runs=known.get("accuracy_runs", 0),
        throughput_runs=known.get("throughput_runs", 0),
        latency_runs=known.get("latency_runs", 0),
        request_count=known.get("request_count", 0),
        failed_request_count=known.get("failed_request_count", 0),
        updated_at=row["updated_at"],
    )
