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

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Select,
    Uuid,
    bindparam,
    func,
    select,
    true,
    tuple_,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from servemark.runtime.database import Database
from services.ingest.records import Result, ResultFilter
from services.ingest.rows import CONFIG_COLUMNS, RESULT_COLUMNS, config_from_row, result_from_row
from services.ingest.store_filter import among, config_conditions, result_conditions
from services.ingest.tables import (
    benchmark_configs,
    benchmark_results,
    daily_model_stats,
    dirty_days,
)

_c = benchmark_configs.c
_r = benchmark_results.c

# Days in the first window, and how much longer each next one is.
_FIRST_DAYS: Final = 1
_GROWTH: Final = 4
# Results are refused that are more than a day ahead; two days more for clocks that disagree.
_DAYS_AHEAD: Final = 3
# Versions or groups of configurations that are read one by one; of more, all results are.
_MANY: Final = 100

_GROUP: Final = ("model_version_id", "hardware_config_id", "framework_id")


class ResultStore:
    """Reads results. `today` answers the current UTC day."""

    def __init__(self, database: Database, today: Callable[[], date]) -> None:
        self._database = database
        self._today = today

    async def get(self, result_id: UUID, benchmarked_at: datetime) -> Result | None:
        """The result with this id, whose time is in the id; None if there is none."""
        query = _results().where(_r.id == result_id, _r.benchmarked_at == benchmarked_at)
        async with self._database.snapshot() as connection:
            rows = (await connection.execute(query)).all()
            found = await _with_configs(connection, rows)
        return found[0] if found else None

    async def page(
        self, wanted: ResultFilter, after: tuple[UUID, datetime] | None, limit: int
    ) -> list[Result]:
        """Up to `limit` results, the latest first, that come after the one named by `after`."""
        conditions: list[ColumnElement[bool]] = []
        if after is not None:
            last_id, last_time = after
            # The first of them lets whole days be passed over.
            conditions += [
                _r.benchmarked_at <= last_time,
                tuple_(_r.benchmarked_at, _r.id) < tuple_(last_time, last_id),
            ]
        rows: list[Any] = []
        async with self._database.snapshot() as connection:
            groups, left = await _groups(connection, wanted)
            if groups is not None and not groups:
                return []
            conditions += result_conditions(left)
            windows = _Windows(self._newest_day(wanted, after))
            oldest: date | None = None
            while len(rows) < limit:
                window = windows.next(oldest)
                if window is None:
                    break
                query = _latest([*conditions, *window], groups, limit - len(rows))
                rows += await connection.execute(query)
                if oldest is None and len(rows) < limit:
                    oldest = await _oldest_day(connection)
            return await _with_configs(connection, rows)

    def _newest_day(self, wanted: ResultFilter, after: tuple[UUID, datetime] | None) -> date:
        ends = [moment for moment in (after and after[1], wanted.end_time) if moment]
        return min([self._today(), *(moment.astimezone(UTC).date() for moment in ends)])


class _Windows:
    """Spans of time, each before and longer than the one before, down to the oldest result."""

    def __init__(self, newest: date) -> None:
        self._days = _FIRST_DAYS
        self._newest = newest
        self._end = _start_of(newest + timedelta(days=_DAYS_AHEAD))
        self._is_over = False

    def next(self, oldest: date | None) -> list[ColumnElement[bool]] | None:
        """The next window's conditions; None after the last.

        The last window is open, so that no result is missed whatever is known of the oldest.
        """
        if self._is_over:
            return None
        conditions: list[ColumnElement[bool]] = [_r.benchmarked_at < self._end]
        first = self._newest - timedelta(days=min(self._days, self._newest.toordinal() - 1))
        if oldest is not None and first <= oldest:
            self._is_over = True
            return conditions
        self._end = _start_of(first)
        self._days *= _GROWTH
        return [*conditions, _r.benchmarked_at >= self._end]


def _start_of(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


async def _oldest_day(connection: AsyncConnection) -> date:
    """The oldest day that results are known of; the last of all days where there are none."""
    days = (
        select(func.min(column)).scalar_subquery()
        for column in (daily_model_stats.c.stats_date, dirty_days.c.stats_date)
    )
    oldest: date | None = (await connection.execute(select(func.least(*days)))).scalar_one()
    return oldest or date.max


async def _groups(
    connection: AsyncConnection, wanted: ResultFilter
) -> tuple[Sequence[tuple[UUID, ...]] | None, ResultFilter]:
    """The model versions, or the groups of configurations, that all results wanted belong to.

    With them what they leave of the filter: asked twice for the same, the planner would think that
    next to nothing is left, and not of reading in order. None: there are many, or none was named.
    """
    groups: Sequence[tuple[UUID, ...]]
    if wanted.config_ids:
        groups = await _known(connection, wanted, _GROUP)
        left = replace(wanted, model_version_ids=(), hardware_config_ids=(), framework_ids=())
    elif wanted.model_version_ids:
        groups = [(version,) for version in sorted(set(wanted.model_version_ids))]
        left = replace(wanted, model_version_ids=())
    elif wanted.model_ids:
        groups = await _known(connection, wanted, _GROUP[:1])
        left = replace(wanted, model_ids=())
    else:
        return None, wanted
    return (groups, left) if len(groups) <= _MANY else (None, wanted)


async def _known(
    connection: AsyncConnection, wanted: ResultFilter, names: Sequence[str]
) -> list[tuple[UUID, ...]]:
    """What the wanted configurations have in the named columns: all, or one more than are many."""
    query = select(*(_c[name] for name in names)).where(*config_conditions(wanted))
    found = await connection.execute(query.distinct().limit(_MANY + 1))
    return [tuple(row) for row in found]


def _results() -> Select[Any]:
    return select(*RESULT_COLUMNS, _r.model_id)


def _latest(
    conditions: Sequence[ColumnElement[bool]],
    groups: Sequence[tuple[UUID, ...]] | None,
    limit: int,
) -> Select[Any]:
    """The latest results that match, up to `limit`."""
    latest = _results().where(*conditions).limit(limit)
    return latest.order_by(_r.id.desc()) if groups is None else _of_groups(latest, groups, limit)


def _of_groups(latest: Select[Any], groups: Sequence[tuple[UUID, ...]], limit: int) -> Select[Any]:
    """The latest results of all the groups: each is read in order, and no further than needed."""
    names = _GROUP[: len(groups[0])]
    latest = latest.order_by(_r.benchmarked_at.desc(), _r.id.desc())
    if len(groups) == 1:
        return latest.where(
            *(_r[name] == value for name, value in zip(names, groups[0], strict=True))
        )
    columns = (
        bindparam(None, [group[place] for group in groups], type_=ARRAY(Uuid()))
        for place in range(len(names))
    )
    group = func.unnest(*columns).table_valued(*names).render_derived("wanted_group")
    of_group = latest.where(*(_r[name] == group.c[name] for name in names)).lateral("latest")
    return (
        select(*of_group.c)
        .select_from(group.join(of_group, true()))
        .order_by(of_group.c.benchmarked_at.desc(), of_group.c.id.desc())
        .limit(limit)
    )


async def _with_configs(connection: AsyncConnection, rows: Sequence[Any]) -> list[Result]:
    """The results in the rows.

    Their configurations are looked up once they are known: joined to the results, they would keep
    the planner from reading those in order, because it takes model and configuration of a result
    for independent and so expects to find next to nothing.
    """
    if not rows:
        return []
    query = select(_c.id.label("config_id"), *CONFIG_COLUMNS).where(
        among(_c.model_id, sorted({row.model_id for row in rows})),
        among(_c.id, sorted({row.config_id for row in rows})),
    )
    configs = {row.config_id: config_from_row(row) for row in await connection.execute(query)}
    return [result_from_row(row, configs[row.config_id]) for row in rows]
