"""SQL for daily statistics: marks of days to calculate, the calculation, and reading.

One calculation serves the roll-up and the readers: a reader calculates the days that are marked
itself, from the same snapshot that it reads the others from, and so sees what the results say. A
day's statistics outlive its results: what was counted from more of them than are there now stays.

`daily_model_stats` is of public results. What an organization sees of a model's day, public results
and its own, is in `organization_daily_stats`, for the organizations that have results of their own
of the model. Percentiles cannot be added up, so each is calculated as a whole.

A continuous aggregate of TimescaleDB does not take the table's place on any storage profile. Late
results of a day that was materialised are missing from it until the next refresh; a refresh over a
day that retention dropped loses the day; and partitions and the Apache licence have none.
tests/rpc/ingest/test_continuous_aggregate.py compares the two.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any, Final
from uuid import UUID

import orjson

from servemark.runtime import tenancy
from servemark.runtime.database import Database, Snapshot, driver_connection
from servemark.runtime.ids import uuid7
from services.ingest.records import DailyStats, Turn
from services.ingest.rows import Fetch
from services.ingest.store_filter import Arguments, where
from services.ingest.store_pool import total

# Marks looked at in one turn of the roll-up, and days of a model that it calculates.
_MARKS: Final = 50_000
_DAYS_A_TURN: Final = 100

# Marks name the same days again and again: all are taken, each day is calculated once, and what is
# too much for a turn goes back, in the order it came. Code that marks no configurations may still
# run somewhere; all of its models' are marked then.
_CLAIM: Final = """
    WITH claimed AS (
        DELETE FROM dirty_days WHERE id IN (
            SELECT id FROM dirty_days ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED
        )
        RETURNING id, model_id, stats_date, created_at, configs_marked
    ), days AS (
        SELECT model_id, stats_date, min(id) AS first, max(created_at) AS newest,
            row_number() OVER (ORDER BY min(id)) AS place
        FROM claimed GROUP BY model_id, stats_date
    ), put_back AS (
        INSERT INTO dirty_days (model_id, stats_date, created_at, configs_marked)
        SELECT model_id, stats_date, newest, true FROM days WHERE place > $2 ORDER BY place
    ), condensed AS (
        INSERT INTO dirty_configs (config_ids)
        SELECT array_agg(id) FROM benchmark_configs
        WHERE model_id IN (SELECT model_id FROM claimed WHERE NOT configs_marked)
        HAVING count(*) > 0
    )
    SELECT model_id, stats_date, (SELECT count(*) FROM days) > $2 AS more
    FROM days WHERE place <= $2
"""

_LOCK: Final = """
    SELECT pg_advisory_xact_lock(key) FROM (
        SELECT hashtextextended(name, 0) AS key FROM unnest($1::text[]) AS name ORDER BY key
    ) AS keys
"""

# One day of some models, whose versions are named: a few of many are read through the index of the
# versions' times. Of public results, and those of one organization if one is named. A percentile
# over runs and one over requests are different quantities; the row says which.
_CALCULATION: Final = f"""
    SELECT model_id, $1::date AS stats_date, avg_accuracy, avg_throughput,
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
            {total("sum(request_count)")} AS request_count,
            {total("sum(failed_request_count)")} AS failed_request_count
        FROM benchmark_results AS result
        WHERE result.model_version_id = ANY($2::uuid[])
            AND result.benchmarked_at >= $3 AND result.benchmarked_at < $4
            AND result.config_id IN (
                SELECT id FROM benchmark_configs
                WHERE model_version_id = ANY($2::uuid[]) AND (org_id IS NULL OR org_id = $5::uuid)
            )
        GROUP BY result.model_id
    ) AS figures
"""  # noqa: S608  (all of it is ours)
# Results only ever come, until their whole day is dropped: fewer of them than were counted before
# means that they were.
_FIGURES: Final = (
    "avg_accuracy",
    "avg_throughput",
    "p95_latency_ms",
    "total_benchmarks",
    "aggregated_metrics",
    "updated_at",
)


def _roll_up(table: str, key: str, source: str) -> str:
    """Writes the calculated days into a table, whose key is the given one."""
    return f"""
        INSERT INTO {table} AS stats ({source}, model_id, stats_date, {", ".join(_FIGURES)})
        SELECT wanted.{source}, calculated.* FROM ({_CALCULATION}) AS calculated
        JOIN unnest($6::uuid[], $7::uuid[]) AS wanted ({source}, model_id) USING (model_id)
        ON CONFLICT ({key}) DO UPDATE SET
            {", ".join(f"{name} = excluded.{name}" for name in _FIGURES)}
        WHERE excluded.total_benchmarks >= stats.total_benchmarks"""  # noqa: S608  (as above)


_ROLL_UP: Final = _roll_up("daily_model_stats", "model_id, stats_date", "id")
_ROLL_UP_OWN: Final = _roll_up("organization_daily_stats", "org_id, model_id, stats_date", "org_id")

# What a day is read with, and what its other figures are called in the table.
_READ: Final = ("stats_date", "model_id", "total_benchmarks")
COLUMNS: Final = {
    "avg_accuracy": "avg_accuracy",
    "avg_throughput": "avg_throughput",
    "p95_latency_ms": "p95_latency_ms",
    "updated_at": "updated_at",
    # As text: the driver's own way to read JSON is the slower one.
    "metrics": "aggregated_metrics::text",
}


class DailyStore:
    """Daily statistics of models."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # Whether the reading before met a marked day: the next one probably does, too.
        self._expect_stale = False

    async def roll_up(self) -> Turn:
        """Calculates up to 100 marked days of models anew.

        Several processes may do so at once. The marks go in the transaction that writes what they
        ask for. A lock for each model and day makes the second of two calculations of one day begin
        after the first was committed, so that the later figures, which know more, stay.
        """
        async with self._database.transaction() as connection:
            driver = await driver_connection(connection)
            marks = await driver.fetch(_CLAIM, _MARKS, _DAYS_A_TURN)
            if not marks:
                return Turn()
            wanted = sorted((mark["stats_date"], mark["model_id"]) for mark in marks)
            # One order everywhere, so that nobody waits in a circle.
            keys = [f"daily_model_stats {day} {model_id}" for day, model_id in wanted]
            await driver.execute(_LOCK, keys)
            versions = await _versions(driver.fetch, (model_id for _, model_id in wanted))
            owners = await _owners(driver.fetch, (model_id for _, model_id in wanted))
            for day, models in _by_day(wanted):
                ids = [uuid7() for _ in models]
                span = _span(day, models, versions)
                await driver.execute(_ROLL_UP, *span, None, ids, models)
                for owner, owned in owners.items():
                    own = [model for model in models if model in owned]
                    span, whose = _span(day, own, versions), [owner] * len(own)
                    await driver.execute(_ROLL_UP_OWN, *span, owner, whose, own)
        return Turn(len(wanted), marks[0]["more"])

    async def days(
        self,
        names: Sequence[str],
        model_ids: Sequence[UUID],
        start: date | None,
        end: date | None,
        after: tuple[date, UUID] | None,
        limit: int,
    ) -> list[Any]:
        """Up to `limit` days, the latest first, then by model, after the day and model named.

        Each a row of `stats_date`, `model_id`, `total_benchmarks` and the named ones of COLUMNS.
        All of them are as of one moment.
        """
        if not self._expect_stale:
            # Mostly no day is marked: then one statement says it all.
            arguments = Arguments()
            query = _page(names, model_ids, start, end, after, limit, arguments)
            rows = await self._database.fetch(query, *arguments.values)
            if not any(row["is_stale"] for row in rows):
                return rows
        self._expect_stale = False
        found: list[Any] = []
        async with self._database.snapshot() as snapshot:
            while len(found) < limit:
                size = limit - len(found)
                arguments = Arguments()
                query = _page(names, model_ids, start, end, after, size, arguments)
                rows = await snapshot.fetch(query, *arguments.values)
                self._expect_stale |= any(row["is_stale"] for row in rows)
                found += await _with_stale(snapshot, names, rows)
                if len(rows) < size:
                    break
                after = rows[-1]["stats_date"], rows[-1]["model_id"]
        return found

    async def page(
        self,
        model_ids: Sequence[UUID],
        start: date | None,
        end: date | None,
        after: tuple[date, UUID] | None,
        limit: int,
    ) -> list[DailyStats]:
        """As `days`, with everything that is known of them."""
        rows = await self.days(tuple(COLUMNS), model_ids, start, end, after, limit)
        return [_stats(row) for row in rows]


async def _with_stale(snapshot: Snapshot, names: Sequence[str], rows: Sequence[Any]) -> list[Any]:
    """The rows, the stale ones as the results are now."""
    stale = [(row["stats_date"], row["model_id"]) for row in rows if row["is_stale"]]
    if not stale:
        return list(rows)
    made: dict[tuple[date, UUID], Any] = {}
    versions = await _versions(snapshot.fetch, (model_id for _, model_id in stale))
    query = f"SELECT {_selected(names)} FROM ({_CALCULATION}) AS calculated"  # noqa: S608
    organization = tenancy.current().organization_id
    for day, models in _by_day(stale):
        for row in await snapshot.fetch(query, *_span(day, models, versions), organization):
            made[day, row["model_id"]] = row
    return [row for row in (_newer(row, made) for row in rows) if row is not None]


def _newer(row: Any, made: Mapping[tuple[date, UUID], Any]) -> Any:
    """What is known of a day: as it is now, or as it was while its results were there."""
    fresh = made.get((row["stats_date"], row["model_id"])) if row["is_stale"] else row
    count = row["total_benchmarks"]
    if fresh is not None and (count is None or fresh["total_benchmarks"] >= count):
        return fresh
    return None if count is None else row


def _selected(names: Sequence[str]) -> str:
    return ", ".join([*_READ, *(f"{COLUMNS[name]} AS {name}" for name in names)])


def _page(
    names: Sequence[str],
    model_ids: Sequence[UUID],
    start: date | None,
    end: date | None,
    after: tuple[date, UUID] | None,
    limit: int,
    arguments: Arguments,
) -> str:
    """What is rolled up, and the marked days with what was."""
    conditions = []
    if model_ids:
        conditions.append(f"model_id = {arguments.any_of(model_ids, 'uuid')}")
    if start is not None:
        conditions.append(f"stats_date >= {arguments.add(start)}")
    if end is not None:
        conditions.append(f"stats_date < {arguments.add(end)}")
    if after is not None:
        day, model = arguments.add(after[0]), arguments.add(after[1])
        conditions.append(f"stats_date <= {day} AND (stats_date < {day} OR model_id > {model})")
    unmarked = "(model_id, stats_date) NOT IN (SELECT model_id, stats_date FROM marked)"
    stats = _stats_of(tenancy.current().organization_id, conditions, arguments)
    return f"""
        WITH marked AS (
            SELECT DISTINCT model_id, stats_date FROM dirty_days {where(conditions)}
        )
        SELECT {_selected(names)}, false AS is_stale
        FROM {stats} AS stats {where([unmarked, *conditions])}
        UNION ALL
        SELECT {_selected(names)}, true
        FROM marked LEFT JOIN {stats} AS stats USING (model_id, stats_date)
        ORDER BY stats_date DESC, model_id LIMIT {arguments.add(limit)}"""  # noqa: S608  (as above)


def _stats_of(organization_id: UUID | None, conditions: Sequence[str], arguments: Arguments) -> str:
    """What is rolled up for an organization, None: of public results, as a FROM item."""
    if organization_id is None:
        return "daily_model_stats"
    own = f"org_id = {arguments.add(organization_id)}"
    columns = f"model_id, stats_date, {', '.join(_FIGURES)}"
    return f"""(
            SELECT {columns} FROM organization_daily_stats {where([own, *conditions])}
            UNION ALL
            SELECT {columns} FROM daily_model_stats {
        where(
            [
                f"(model_id, stats_date) NOT IN (SELECT model_id, stats_date "
                f"FROM organization_daily_stats WHERE {own})",
                *conditions,
            ]
        )
    }
        )"""  # noqa: S608  (as above)


def _by_day(wanted: Sequence[tuple[date, UUID]]) -> list[tuple[date, list[UUID]]]:
    """The models of each day; a calculation reads one day's results."""
    days = groupby(sorted(wanted), key=itemgetter(0))
    return [(day, [model_id for _, model_id in group]) for day, group in days]


async def _versions(fetch: Fetch, models: Iterable[UUID]) -> dict[UUID, list[UUID]]:
    """The versions of each model that were measured."""
    query = (
        "SELECT DISTINCT model_id, model_version_id FROM benchmark_configs "
        "WHERE model_id = ANY($1::uuid[])"
    )
    versions: dict[UUID, list[UUID]] = {}
    for model_id, version_id in await fetch(query, sorted(set(models))):
        versions.setdefault(model_id, []).append(version_id)
    return versions


async def _owners(fetch: Fetch, models: Iterable[UUID]) -> dict[UUID, set[UUID]]:
    """The organizations with configurations of their own, and the models of these."""
    query = (
        "SELECT DISTINCT org_id, model_id FROM benchmark_configs "
        "WHERE model_id = ANY($1::uuid[]) AND org_id IS NOT NULL"
    )
    owners: dict[UUID, set[UUID]] = {}
    for organization_id, model_id in await fetch(query, sorted(set(models))):
        owners.setdefault(organization_id, set()).add(model_id)
    return owners


def _span(
    day: date, models: Sequence[UUID], versions: Mapping[UUID, Sequence[UUID]]
) -> tuple[date, list[UUID], datetime, datetime]:
    """The first arguments of a calculation."""
    starts = datetime.combine(day, time(), UTC)
    wanted = [version for model in models for version in versions.get(model, ())]
    return day, wanted, starts, starts + timedelta(days=1)


def _stats(row: Mapping[str, Any]) -> DailyStats:
    known = orjson.loads(row["metrics"])
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
