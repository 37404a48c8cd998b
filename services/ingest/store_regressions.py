"""SQL that reads the runs of many configurations on both sides of a moment, the latest of each."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from servemark.runtime.database import Database, Snapshot
from services.ingest.records import ConfigRuns, RegressionQuery, RunSelection
from services.ingest.rows import configs_by_id
from services.ingest.store_condense import runs_of
from services.ingest.store_filter import Arguments, config_conditions, where

MOST_NEW: Final = 50
"""New runs of a configuration that are compared."""

Runs = dict[UUID, list[Sequence[float | None]]]


class RegressionStore:
    """Reads runs to compare: only of configurations, and in streams, that the caller may see."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def unknown(self, query: RegressionQuery) -> set[UUID]:
        """The configurations and streams that the query names and that are not there."""
        configs = set(query.wanted.config_ids)
        streams = {*query.new.stream_ids, *query.history.stream_ids}
        if not configs and not streams:
            return set()
        rows = await self._database.fetch(
            "SELECT id FROM benchmark_configs WHERE id = ANY($1::uuid[])"
            " UNION ALL SELECT stream_id FROM streams WHERE stream_id = ANY($2::uuid[])",
            list(configs),
            list(streams),
        )
        return (configs | streams) - {row[0] for row in rows}

    async def page(
        self, query: RegressionQuery, after: UUID | None, limit: int
    ) -> tuple[list[ConfigRuns], UUID | None]:
        """The runs of the next `limit` configurations, in order of id, after the one named.

        Of them those with a run on either side, and the one that the next page comes after; None:
        there is none. All are as of one moment, in three statements however many there are.
        """
        async with self._database.snapshot() as snapshot:
            found = await _config_ids(snapshot, query, after, limit + 1)
            ids = found[:limit]
            new, first = await _new_runs(snapshot, query, ids)
            history = await _history(snapshot, query, ids, first)
            with_runs = [one for one in ids if one in new or one in history]
            configs = await configs_by_id(snapshot.fetch, with_runs)
        runs = [ConfigRuns(configs[one], history[one], new[one]) for one in with_runs]
        return runs, ids[-1] if len(found) > limit else None


async def _config_ids(
    snapshot: Snapshot, query: RegressionQuery, after: UUID | None, limit: int
) -> list[UUID]:
    arguments = Arguments()
    conditions = config_conditions(query.wanted, arguments)
    if query.new.stream_ids:
        conditions.append(
            "id IN (SELECT config_id FROM stream_configs JOIN streams USING (stream_id)"  # noqa: S608
            f" WHERE stream_id = {arguments.any_of(query.new.stream_ids, 'uuid')})"
        )
    if after is not None:
        conditions.append(f"id > {arguments.add(after)}")
    rows = await snapshot.fetch(
        f"SELECT id FROM benchmark_configs {where(conditions)} "  # noqa: S608  (values are arguments)
        f"ORDER BY id LIMIT {arguments.add(limit)}",
        *arguments.values,
    )
    return [row[0] for row in rows]


async def _new_runs(
    snapshot: Snapshot, query: RegressionQuery, ids: Sequence[UUID]
) -> tuple[Runs, dict[UUID, datetime]]:
    """The latest new runs of each configuration, and when the first of them ended."""
    arguments = Arguments()
    conditions = _selected(query.new, arguments)
    statement = _latest(query.columns, ids, {}, conditions, MOST_NEW, arguments)
    runs: Runs = defaultdict(list)
    first: dict[UUID, datetime] = {}
    for config_id, ended_at, *figures in await snapshot.fetch(statement, *arguments.values):
        runs[config_id].append(figures)
        first[config_id] = ended_at
    return runs, first


async def _history(
    snapshot: Snapshot,
    query: RegressionQuery,
    ids: Sequence[UUID],
    first: Mapping[UUID, datetime],
) -> Runs:
    """The latest earlier runs of each configuration."""
    arguments = Arguments()
    # No run is on both sides.
    is_new = " AND ".join(_selected(query.new, arguments))
    conditions = [*_selected(query.history, arguments), f"NOT ({is_new})"]
    before: Mapping[UUID, datetime] = {}
    if not query.history.stream_ids:
        if query.new.start_time is None:
            before = first
        else:
            conditions.append(f"result.benchmarked_at < {arguments.add(query.new.start_time)}")
    statement = _latest(query.columns, ids, before, conditions, query.most_history, arguments)
    runs: Runs = defaultdict(list)
    for config_id, _, *figures in await snapshot.fetch(statement, *arguments.values):
        runs[config_id].append(figures)
    return runs


def _selected(selection: RunSelection, arguments: Arguments) -> list[str]:
    conditions = []
    if selection.start_time is not None:
        conditions.append(f"result.benchmarked_at >= {arguments.add(selection.start_time)}")
    if selection.end_time is not None:
        conditions.append(f"result.benchmarked_at < {arguments.add(selection.end_time)}")
    if selection.stream_ids:
        conditions.append(f"result.stream_id = {arguments.any_of(selection.stream_ids, 'uuid')}")
    return conditions


def _latest(
    columns: Sequence[str],
    ids: Sequence[UUID],
    before: Mapping[UUID, datetime],
    conditions: Sequence[str],
    limit: int,
    arguments: Arguments,
) -> str:
    """Configuration, time and figures of the latest `limit` runs of each, the latest first.

    `before`: the moment that the runs of a configuration have to end before, where there is one.
    Configurations of one model version, hardware and framework share a scan: one for each of them
    would read the runs of all.
    """
    of_configs = [f"id = {arguments.any_of(ids, 'uuid')}"]
    wanted, source = runs_of(of_configs, {"id", "benchmarked_at", *columns}, conditions)
    if before:
        known = arguments.add(list(before), "uuid[]")
        moments = arguments.add(list(before.values()), "timestamptz[]")
        source = f"""{source}
            LEFT JOIN unnest({known}, {moments}) AS ends (config_id, before)
                ON ends.config_id = run.config_id
            WHERE run.benchmarked_at < coalesce(ends.before, 'infinity')"""
    figures = "".join(f", {name}" for name in columns)
    return f"""
        WITH {wanted}
        SELECT config_id, benchmarked_at{figures} FROM (
            SELECT run.*, row_number() OVER (
                PARTITION BY run.config_id ORDER BY run.benchmarked_at DESC, run.id DESC
            ) AS place
            FROM {source}
        ) AS numbered
        WHERE place <= {arguments.add(limit)}
        ORDER BY config_id, place"""  # noqa: S608  (names are ours, values are arguments)
