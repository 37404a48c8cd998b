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

from servemark.runtime.database import Database, Snapshot
from services.ingest.metrics import SUMMARY_COLUMNS
from services.ingest.records import (
    Config,
    ConfigSummary,
    MetricSummary,
    PooledMetric,
    ResultFilter,
)
from services.ingest.rows import configs_by_id
from services.ingest.store_condense import (
    OTHER_FIELDS,
    POOL_FIELDS,
    RUN_COUNT,
    STATISTICS,
    Field,
    condense,
    statistic,
)
from services.ingest.store_filter import Arguments, config_conditions, run_conditions, where

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


def in_window(recent_days: int, today: date, arguments: Arguments) -> list[str]:
    """The conditions on the runs of a window."""
    if recent_days == ALL_RUNS:
        return []
    return [f"benchmarked_at >= {arguments.add(window_start(recent_days, today))}"]


class SummaryStore:
    """Reads configurations with their runs condensed. `today` answers the current UTC day."""

    def __init__(self, database: Database, today: Callable[[], date]) -> None:
        self._database = database
        self._today = today
        # Whether the reading before met something stale: the next one probably does, too.
        self._expect_stale = False

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
        if _is_kept(wanted, recent_days) and not self._expect_stale:
            # Mostly nothing is stale: then one statement says it all.
            arguments = Arguments()
            start = window_start(recent_days, self._today())
            query = _kept(wanted, recent_days, start, fields, after, limit, arguments)
            rows = await self._database.fetch(query, *arguments.values)
            if not any(row[-1] for row in rows):
                return rows
        async with self._database.snapshot() as snapshot:
            return await self._figures(snapshot, wanted, recent_days, fields, after, limit)

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
        fields = (RUN_COUNT, *OTHER_FIELDS, *POOL_FIELDS, *statistics)
        rows = await self.figures(wanted, recent_days, fields, after, limit)
        # What a configuration is never changes, so it may be read later.
        configs = await configs_by_id(self._database.fetch, [row[0] for row in rows])
        return [_summary(configs[row[0]], columns, row) for row in rows]

    async def _figures(
        self,
        snapshot: Snapshot,
        wanted: ResultFilter,
        recent_days: int,
        fields: Sequence[Field],
        after: UUID | None,
        limit: int,
    ) -> list[Any]:
        today = self._today()
        is_kept = _is_kept(wanted, recent_days)
        self._expect_stale = False
        found: list[Any] = []
        while len(found) < limit:
            missing = limit - len(found)
            arguments = Arguments()
            if is_kept:
                size = missing
                start = window_start(recent_days, today)
                query = _kept(wanted, recent_days, start, fields, after, size, arguments)
            else:
                size = max(missing, _CHUNK)
                query = _configs(wanted, after, size, arguments)
            rows = await snapshot.fetch(query, *arguments.values)
            stale = [row[0] for row in rows if row[-1]]
            if stale:
                self._expect_stale = is_kept
                arguments = Arguments()
                runs = run_conditions(wanted, arguments) + in_window(recent_days, today, arguments)
                query = condense(stale, fields, runs, arguments)
                made = {row[0]: row for row in await snapshot.fetch(query, *arguments.values)}
                # What turns out to have no runs is left out.
                whole = (made.get(row[0]) if row[-1] else row for row in rows)
                found += [row for row in whole if row is not None]
            else:
                found += rows
            if len(rows) < size:
                break
            after = rows[-1][0]
        return found[:limit]


def _is_kept(wanted: ResultFilter, recent_days: int) -> bool:
    """Whether the runs wanted are those of a window that is kept ready."""
    return recent_days in WINDOWS and not run_conditions(wanted, Arguments())


def _configs(wanted: ResultFilter, after: UUID | None, limit: int, arguments: Arguments) -> str:
    """Configurations of which nothing is kept ready: all are stale."""
    conditions = config_conditions(wanted, arguments)
    if after is not None:
        conditions.append(f"id > {arguments.add(after)}")
    return (
        f"SELECT id, true FROM benchmark_configs {where(conditions)} "  # noqa: S608
        f"ORDER BY id LIMIT {arguments.add(limit)}"
    )


def _kept(
    wanted: ResultFilter,
    recent_days: int,
    start: datetime,
    fields: Sequence[Field],
    after: UUID | None,
    limit: int,
    arguments: Arguments,
) -> str:
    """What is kept ready, and the configurations that are marked instead.

    A row begins with the configuration's id and ends with whether it is stale.
    """
    moment = arguments.add(start)
    has_changed = (
        f"(counted_from > {moment} OR coalesce(oldest_benchmarked_at < {moment}, false)"
        " OR pooled_at IS DISTINCT FROM updated_at)"
    )
    conditions = config_conditions(wanted, arguments, "config_id")
    if after is not None:
        conditions.append(f"config_id > {arguments.add(after)}")
    narrowed = "".join(f" AND {condition}" for condition in conditions)
    figures = "".join(f", {field.kept} AS {field.name}" for field in fields)
    return f"""
        WITH marked AS (SELECT unnest(config_ids) AS config_id FROM dirty_configs)
        SELECT config_id{figures}, {has_changed} AS is_stale
        FROM config_summaries
        WHERE recent_days = {arguments.add(recent_days)} AND (run_count > 0 OR {has_changed})
            AND config_id NOT IN (SELECT config_id FROM marked){narrowed}
        UNION ALL
        SELECT config_id{", NULL" * len(fields)}, true
        FROM (SELECT id AS config_id, * FROM benchmark_configs) AS config
        WHERE config_id IN (SELECT config_id FROM marked){narrowed}
        ORDER BY config_id LIMIT {arguments.add(limit)}"""  # noqa: S608  (values are arguments)


def _summary(config: Config, columns: Sequence[str], row: Mapping[str, Any]) -> ConfigSummary:
    places = [(column, SUMMARY_COLUMNS.index(column)) for column in columns]
    return ConfigSummary(
        config=config,
        metrics=tuple(
            MetricSummary(
                column=column,
                median=row[f"{column}_medians"],
                mean=row[f"{column}_means"],
                lowest=row[f"{column}_lowest"],
                highest=row[f"{column}_highest"],
                run_count=row[f"{column}_counts"],
                request_count=row["request_counts"][place],
                newest_benchmarked_at=row["newest_at"][place],
            )
            for column, place in places
            if row[f"{column}_counts"]
        ),
        pooled=tuple(
            PooledMetric(
                column, row["pooled"][place], row["pooled_counts"][place], row["pooled_runs"][place]
            )
            for column, place in places
            if row["pooled"][place] is not None
        ),
        run_count=row["run_count"],
        request_count=row["request_count"],
        failed_request_count=row["failed_request_count"],
        newest_benchmarked_at=row["newest_benchmarked_at"],
        tools=tuple(sorted(row["tools"])),
    )
