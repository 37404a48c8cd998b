"""SQL that reads results, one by its id or the latest of those that match.

A result's id begins with its time, so the order of ids is the order of times. The latest are sought
backwards in time, in windows that grow: years of days are never opened for a page that the last
days can fill. Within a window the results of a few model versions come through the index of each
version's times, others through the primary keys of the days, unless an index on what is asked for
finds fewer.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final
from uuid import UUID

from servemark.runtime.database import Database, Snapshot
from services.ingest.records import Result, ResultFilter
from services.ingest.rows import RESULT_COLUMNS, configs_by_id, result_from_row
from services.ingest.store_filter import (
    Arguments,
    config_conditions,
    result_conditions,
    seen,
    where,
)

# Days in the first window, and how much longer each next one is.
_FIRST_DAYS: Final = 1
_GROWTH: Final = 4
# Results are refused that are more than a day ahead; two days more for clocks that disagree.
_DAYS_AHEAD: Final = 3
# Versions or groups of configurations that are read one by one; of more, all results are.
_MANY: Final = 100

_GROUP: Final = ("model_version_id", "hardware_config_id", "framework_id")
# The configuration's model leads to its partition.
_COLUMNS: Final = f"{RESULT_COLUMNS}, model_id"
# The oldest day that results are known of; none where there are none.
_OLDEST_DAY: Final = """
    SELECT least(
        (SELECT min(stats_date) FROM daily_model_stats), (SELECT min(stats_date) FROM dirty_days)
    )
"""


class ResultStore:
    """Reads results. `today` answers the current UTC day."""

    def __init__(self, database: Database, today: Callable[[], date]) -> None:
        self._database = database
        self._today = today

    async def get(self, result_id: UUID, benchmarked_at: datetime) -> Result | None:
        """The result with this id, whose time is in the id; None if the caller sees none."""
        query = f"SELECT {_COLUMNS} FROM benchmark_results WHERE id = $1 AND benchmarked_at = $2"  # noqa: S608
        async with self._database.snapshot() as snapshot:
            rows = await snapshot.fetch(query, result_id, benchmarked_at)
            found = await _with_configs(snapshot, rows)
        return found[0] if found else None

    async def page(
        self, wanted: ResultFilter, after: tuple[UUID, datetime] | None, limit: int
    ) -> list[Result]:
        """Up to `limit` results, the latest first, that come after the one named by `after`."""
        async with self._database.snapshot() as snapshot:
            return await self._page(snapshot, wanted, after, limit)

    async def _page(
        self,
        snapshot: Snapshot,
        wanted: ResultFilter,
        after: tuple[UUID, datetime] | None,
        limit: int,
    ) -> list[Result]:
        groups, left = await _groups(snapshot, wanted)
        if groups is not None and not groups:
            return []
        windows = _Windows(self._newest_day(wanted, after))
        oldest: date | None = None
        rows: list[Any] = []
        while len(rows) < limit and not windows.is_over:
            arguments = Arguments()
            conditions = [
                *result_conditions(left, arguments),
                *windows.next(oldest, arguments),
                *seen(),
            ]
            if after is not None:
                last_id, last_time = arguments.add(after[0]), arguments.add(after[1])
                # The first of them lets whole days be passed over.
                conditions.append(f"benchmarked_at <= {last_time}")
                conditions.append(f"(benchmarked_at, id) < ({last_time}, {last_id})")
            query = _latest(conditions, groups, limit - len(rows), arguments)
            rows += await snapshot.fetch(query, *arguments.values)
            if oldest is None and len(rows) < limit:
                oldest = (await snapshot.fetch(_OLDEST_DAY))[0][0] or date.max
        return await _with_configs(snapshot, rows)

    def _newest_day(self, wanted: ResultFilter, after: tuple[UUID, datetime] | None) -> date:
        ends = [moment for moment in (after and after[1], wanted.end_time) if moment]
        return min([self._today(), *(moment.astimezone(UTC).date() for moment in ends)])


async def _groups(
    snapshot: Snapshot, wanted: ResultFilter
) -> tuple[Sequence[tuple[UUID, ...]] | None, ResultFilter]:
    """The versions, or the groups of configurations, that all results wanted belong to.

    With them what they leave of the filter: asked twice for the same, the planner would think
    that next to nothing is left, and not of reading in order. None: there are many, or none was
    named.
    """
    groups: Sequence[tuple[UUID, ...]]
    if wanted.config_ids:
        groups = await _known(snapshot, wanted, _GROUP)
        left = replace(wanted, model_version_ids=(), hardware_config_ids=(), framework_ids=())
    elif wanted.model_version_ids:
        groups = [(version,) for version in sorted(set(wanted.model_version_ids))]
        left = replace(wanted, model_version_ids=())
    elif wanted.model_ids:
        groups = await _known(snapshot, wanted, _GROUP[:1])
        left = replace(wanted, model_ids=())
    else:
        return None, wanted
    return (groups, left) if len(groups) <= _MANY else (None, wanted)


async def _known(
    snapshot: Snapshot, wanted: ResultFilter, names: Sequence[str]
) -> list[tuple[UUID, ...]]:
    """What the wanted configurations have in the columns: all, or one more than are many."""
    arguments = Arguments()
    conditions = where(config_conditions(wanted, arguments))
    rows = await snapshot.fetch(
        f"SELECT DISTINCT {', '.join(names)} FROM benchmark_configs {conditions} "  # noqa: S608
        f"LIMIT {_MANY + 1}",
        *arguments.values,
    )
    return [tuple(row) for row in rows]


async def _with_configs(snapshot: Snapshot, rows: Sequence[Any]) -> list[Result]:
    """The results in the rows.

    Their configurations are looked up once they are known: joined to the results, they would
    keep the planner from reading those in order, because it takes model and configuration of a
    result for independent and so expects to find next to nothing.
    """
    if not rows:
        return []
    ids = (row["config_id"] for row in rows)
    models = (row["model_id"] for row in rows)
    configs = await configs_by_id(snapshot.fetch, ids, models)
    return [
        result_from_row(row, configs[row["config_id"]])
        for row in rows
        # Nobody is shown a result without its configuration, whatever was asked for.
        if row["config_id"] in configs
    ]


class _Windows:
    """Spans of time, each before and longer than the one before, down to the oldest result."""

    def __init__(self, newest: date) -> None:
        self._days = _FIRST_DAYS
        self._newest = newest
        self._end = _start_of(newest + timedelta(days=_DAYS_AHEAD))
        self.is_over = False

    def next(self, oldest: date | None, arguments: Arguments) -> list[str]:
        """The next window's conditions.

        The last window is open, so that no result is missed whatever is known of the oldest.
        """
        conditions = [f"benchmarked_at < {arguments.add(self._end)}"]
        first = self._newest - timedelta(days=min(self._days, self._newest.toordinal() - 1))
        if oldest is not None and first <= oldest:
            self.is_over = True
            return conditions
        self._end = _start_of(first)
        self._days *= _GROWTH
        return [*conditions, f"benchmarked_at >= {arguments.add(self._end)}"]


def _start_of(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _latest(
    conditions: Sequence[str],
    groups: Sequence[tuple[UUID, ...]] | None,
    limit: int,
    arguments: Arguments,
) -> str:
    """The latest results that match, up to `limit`: of all, or of the groups.

    Each group is read in order, and no further than needed.
    """
    count = arguments.add(limit)
    select = f"SELECT {_COLUMNS} FROM benchmark_results AS result"  # noqa: S608
    if groups is None:
        return f"{select} {where(conditions)} ORDER BY id DESC LIMIT {count}"
    names = _GROUP[: len(groups[0])]
    order = f"ORDER BY benchmarked_at DESC, id DESC LIMIT {count}"
    if len(groups) == 1:
        same = [
            f"{name} = {arguments.add(value)}" for name, value in zip(names, groups[0], strict=True)
        ]
        return f"{select} {where([*same, *conditions])} {order}"
    columns = ", ".join(
        arguments.add([group[place] for group in groups], "uuid[]") for place in range(len(names))
    )
    wanted = ", ".join(f"of_{name}" for name in names)
    same = [f"{name} = of_{name}" for name in names]
    return f"""
        SELECT latest.* FROM unnest({columns}) AS wanted ({wanted})
        CROSS JOIN LATERAL ({select} {where([*same, *conditions])} {order}) AS latest
        {order}"""  # noqa: S608  (names are ours, values are arguments)
