"""SQL that reads configurations with their runs condensed, exact while results keep arriving.

For all runs and for those of the last seven days, `config_summaries` has the answer, except for the
configurations that are marked, and those of whose runs the oldest have left the window since. These
are calculated while they are read, from the same snapshot of the database: so what a reader gets is
what the runs say, however far behind the roll-up is. Any other choice of runs is calculated.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Select, select, true
from sqlalchemy.ext.asyncio import AsyncConnection

from servemark.runtime.database import Database, driver_connection
from services.ingest.records import Config, ConfigSummary, MetricSummary, ResultFilter
from services.ingest.rows import CONFIG_COLUMNS, config_from_row
from services.ingest.store_condense import (
    OTHER_FIELDS,
    RUN_COUNT,
    STATISTICS,
    Field,
    condense,
    statistic,
)
from services.ingest.store_filter import (
    Arguments,
    among,
    config_conditions,
    config_conditions_text,
    run_conditions,
)
from services.ingest.tables import benchmark_configs, benchmark_results

_c = benchmark_configs.c

# The windows that are kept ready: days back, today included; 0: all runs.
ALL_RUNS: Final = 0
WINDOWS: Final = (ALL_RUNS, 7)

# No run ended before: an identifier's time is not negative.
_BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)
# Configurations looked at in one go where runs are read.
_CHUNK: Final = 200


def window_start(recent_days: int, today: date) -> datetime:
    """When the window of the last so many UTC days begins, today included; 0: all of time."""
    if recent_days == ALL_RUNS:
        return _BEGINNING
    return datetime.combine(today - timedelta(days=recent_days - 1), time(), UTC)


class SummaryStore:
    """Reads configurations with their runs condensed. `today` answers the current UTC day."""

    def __init__(self, database: Database, today: Callable[[], date]) -> None:
        self._database = database
        self._today = today

    async def figures(
        self,
        wanted: ResultFilter,
        recent_days: int,
        fields: Sequence[Field],
        after: UUID | None,
        limit: int,
    ) -> list[Any]:
        """Up to `limit` configurations with runs that match, in order of id, after the one named.

        Each a row that begins with the id and the fields, in their order. All of them are as of one
        moment.
        """
        async with self._database.snapshot() as connection:
            return await self._figures(connection, wanted, recent_days, fields, after, limit)

    async def summaries(
        self,
        wanted: ResultFilter,
        recent_days: int,
        columns: Sequence[str],
        after: UUID | None,
        limit: int,
    ) -> list[ConfigSummary]:
        """As `figures`: whole configurations with every statistic of the figures in `columns`."""
        statistics = [statistic(column, name) for column in columns for name in STATISTICS]
        fields = (RUN_COUNT, *OTHER_FIELDS, *statistics)
        async with self._database.snapshot() as connection:
            rows = await self._figures(connection, wanted, recent_days, fields, after, limit)
            ids = [row[0] for row in rows]
            query = select(_c.id.label("config_id"), *CONFIG_COLUMNS).where(among(_c.id, ids))
            configs = {
                row.config_id: config_from_row(row) for row in await connection.execute(query)
            }
        names = [field.name for field in fields]
        return [
            _summary(configs[row[0]], columns, dict(zip(names, row[1:], strict=False)))
            for row in rows
        ]

    async def _figures(
        self,
        connection: AsyncConnection,
        wanted: ResultFilter,
        recent_days: int,
        fields: Sequence[Field],
        after: UUID | None,
        limit: int,
    ) -> list[Any]:
        start = window_start(recent_days, self._today())
        conditions = run_conditions(wanted)
        is_kept = recent_days in WINDOWS and not conditions
        if recent_days:
            conditions.append(benchmark_results.c.benchmarked_at >= start)
        driver = await driver_connection(connection)
        found: list[Any] = []
        while len(found) < limit:
            missing = limit - len(found)
            if is_kept:
                size = missing
                query, arguments = _kept(wanted, recent_days, start, fields, after, size)
                rows = await driver.fetch(query, *arguments)
            else:
                size = max(missing, _CHUNK)
                rows = (await connection.execute(_configs(wanted, after, size))).all()
            found += await _with_stale(connection, rows, fields, conditions)
            if len(rows) < size:
                break
            after = rows[-1][0]
        return found[:limit]


async def _with_stale(
    connection: AsyncConnection,
    rows: Sequence[Any],
    fields: Sequence[Field],
    conditions: Sequence[ColumnElement[bool]],
) -> list[Any]:
    """The rows, those that are stale calculated anew; the ones that turn out empty are left out.

    A row begins with the configuration's id and ends with whether it is stale.
    """
    stale = [row[0] for row in rows if row[-1]]
    if not stale:
        return list(rows)
    query = condense(stale, fields, conditions)
    made = {row[0]: row for row in await connection.execute(query)}
    whole = (made.get(row[0]) if row[-1] else row for row in rows)
    return [row for row in whole if row is not None]


def _configs(wanted: ResultFilter, after: UUID | None, limit: int) -> Select[Any]:
    """Configurations of which nothing is kept ready: all are stale."""
    query = select(_c.id.label("config_id"), true().label("is_stale"))
    query = query.where(*config_conditions(wanted))
    if after is not None:
        query = query.where(_c.id > after)
    return query.order_by(_c.id).limit(limit)


def _kept(
    wanted: ResultFilter,
    recent_days: int,
    start: datetime,
    fields: Sequence[Field],
    after: UUID | None,
    limit: int,
) -> tuple[str, list[Any]]:
    """What is kept ready, and the configurations that are marked instead; with its arguments.

    As text, for the driver: thousands of rows go through here, and nothing else is done with them.
    """
    arguments = Arguments()
    moment = arguments.add(start)
    has_changed = f"(counted_from > {moment} OR coalesce(oldest_benchmarked_at < {moment}, false))"
    conditions = config_conditions_text(wanted, arguments)
    if after is not None:
        conditions.append(f"config_id > {arguments.add(after)}")
    narrowed = "".join(f" AND {condition}" for condition in conditions)
    figures = "".join(f", {field.kept}" for field in fields)
    query = f"""
        WITH marked AS (SELECT unnest(config_ids) AS config_id FROM dirty_configs)
        SELECT config_id{figures}, {has_changed} AS is_stale
        FROM config_summaries
        WHERE recent_days = {arguments.add(recent_days)} AND (run_count > 0 OR {has_changed})
            AND config_id NOT IN (SELECT config_id FROM marked){narrowed}
        UNION ALL
        SELECT config_id{", NULL" * len(fields)}, true
        FROM (SELECT id AS config_id, * FROM benchmark_configs) AS config
        WHERE config_id IN (SELECT config_id FROM marked){narrowed}
        ORDER BY config_id LIMIT {arguments.add(limit)}
    """  # noqa: S608  (names are ours, values are arguments)
    return query, arguments.values


def _summary(config: Config, columns: Sequence[str], figures: Mapping[str, Any]) -> ConfigSummary:
    return ConfigSummary(
        config=config,
        metrics=tuple(
            MetricSummary(column, *(figures[f"{column}_{name}"] for name in STATISTICS))
            for column in columns
            if figures[f"{column}_counts"]
        ),
        run_count=figures["run_count"],
        request_count=int(figures["request_count"]),
        failed_request_count=int(figures["failed_request_count"]),
        newest_benchmarked_at=figures["newest_benchmarked_at"],
        tools=tuple(sorted(figures["tools"])),
    )
