"""SQL that reads results and condenses them.

A result's id begins with its time, so the order of ids is the order of times: pages go by id alone,
backwards through the primary key of each day.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Double,
    FromClause,
    Text,
    Uuid,
    any_,
    bindparam,
    func,
    select,
)

from servemark.runtime.database import Database
from services.ingest.metrics import LARGER_IS_BETTER, SUMMARY_COLUMNS
from services.ingest.records import ConfigSummary, MetricSummary, Result, ResultFilter
from services.ingest.rows import CONFIG_COLUMNS, RESULT_COLUMNS, config_from_row, result_from_row
from services.ingest.tables import benchmark_configs, benchmark_results

_c = benchmark_configs.c
_r = benchmark_results.c

# Configurations looked at in one go while a page of summaries is filled.
_SUMMARY_CHUNK: Final = 200


class ResultStore:
    """Reads results."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, result_id: UUID, benchmarked_at: datetime) -> Result | None:
        """The result with this id, whose time is in the id; None if there is none."""
        query = (
            select(*RESULT_COLUMNS, *CONFIG_COLUMNS)
            .select_from(_results_with_configs())
            .where(_r.id == result_id, _r.benchmarked_at == benchmarked_at)
        )
        async with self._database.transaction() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else result_from_row(row)

    async def page(
        self, wanted: ResultFilter, after: tuple[UUID, datetime] | None, limit: int
    ) -> list[Result]:
        """Up to `limit` results, the latest first, that come after the one named by `after`."""
        conditions = [*_config_conditions(wanted), *_run_conditions(wanted)]
        if after is not None:
            last_id, last_time = after
            # The time says the same as the id, and lets whole days be passed over.
            conditions += [_r.id < last_id, _r.benchmarked_at <= last_time]
        query = (
            select(*RESULT_COLUMNS, *CONFIG_COLUMNS)
            .select_from(_results_with_configs())
            .where(*conditions)
            .order_by(_r.id.desc())
            .limit(limit)
        )
        async with self._database.transaction() as connection:
            return [result_from_row(row) for row in await connection.execute(query)]

    async def summaries(
        self, wanted: ResultFilter, after: UUID | None, limit: int
    ) -> list[ConfigSummary]:
        """Up to `limit` configurations with runs that match, by id, after the one named."""
        found: list[ConfigSummary] = []
        chunk = max(limit, _SUMMARY_CHUNK)
        async with self._database.transaction() as connection:
            while len(found) < limit:
                query = select(_c.id.label("config_id"), *CONFIG_COLUMNS).where(
                    *_config_conditions(wanted)
                )
                if after is not None:
                    query = query.where(_c.id > after)
                configs = {
                    row.config_id: config_from_row(row)
                    for row in await connection.execute(query.order_by(_c.id).limit(chunk))
                }
                if not configs:
                    break
                condensed = await connection.execute(_condense(wanted, list(configs)))
                found += [_summary(configs[row.config_id], row) for row in condensed]
                after = max(configs)
                if len(configs) < chunk:
                    break
        return found[:limit]


def _results_with_configs() -> FromClause:
    return benchmark_results.join(
        benchmark_configs, (_c.model_id == _r.model_id) & (_c.id == _r.config_id)
    )


def _among(column: Any, values: Sequence[Any], kind: Any) -> ColumnElement[bool]:
    return column == any_(bindparam(None, list(values), type_=ARRAY(kind)))  # type: ignore[no-any-return]


def _config_conditions(wanted: ResultFilter) -> list[ColumnElement[bool]]:
    """The conditions that a configuration alone decides."""
    lists: tuple[tuple[Any, Sequence[Any], Any], ...] = (
        (_c.model_id, wanted.model_ids, Uuid()),
        (_c.model_version_id, wanted.model_version_ids, Uuid()),
        (_c.hardware_config_id, wanted.hardware_config_ids, Uuid()),
        (_c.framework_id, wanted.framework_ids, Uuid()),
        (_c.id, wanted.config_ids, Uuid()),
        (_c.workload_type, wanted.workload_types, Text()),
        (_c.provenance, wanted.provenances, Text()),
    )
    return [_among(column, values, kind) for column, values, kind in lists if values]


def _run_conditions(wanted: ResultFilter) -> list[ColumnElement[bool]]:
    """The conditions on single runs. A run without a limited figure is left out."""
    conditions: list[ColumnElement[bool]] = []
    if wanted.start_time is not None:
        conditions.append(_r.benchmarked_at >= wanted.start_time)
    if wanted.end_time is not None:
        conditions.append(_r.benchmarked_at < wanted.end_time)
    for limit in wanted.limits:
        # Written into the statement: the partial index on latency serves only a known limit.
        value: ColumnElement[float] = bindparam(
            None, limit.limit, type_=Double(), literal_execute=True
        )
        column = _r[limit.column]
        conditions.append(column >= value if limit.column in LARGER_IS_BETTER else column <= value)
    return conditions


def _condense(wanted: ResultFilter, config_ids: list[UUID]) -> Any:
    figures = []
    for name in SUMMARY_COLUMNS:
        column = _r[name]
        figures += [
            func.percentile_cont(0.5).within_group(column).label(f"{name}_median"),
            func.min(column).label(f"{name}_lowest"),
            func.max(column).label(f"{name}_highest"),
            func.count(column).label(f"{name}_count"),
        ]
    return (
        select(
            _r.config_id,
            func.count().label("run_count"),
            func.coalesce(func.sum(_r.request_count), 0).label("request_count"),
            func.coalesce(func.sum(_r.failed_request_count), 0).label("failed_request_count"),
            func.max(_r.benchmarked_at).label("newest_benchmarked_at"),
            func.array_agg(_r.tool.distinct()).label("tools"),
            *figures,
        )
        .where(_among(_r.config_id, config_ids, Uuid()), *_run_conditions(wanted))
        .group_by(_r.config_id)
        .order_by(_r.config_id)
    )


def _summary(config: Any, row: Any) -> ConfigSummary:
    return ConfigSummary(
        config=config,
        metrics=tuple(
            MetricSummary(
                column=name,
                median=getattr(row, f"{name}_median"),
                lowest=getattr(row, f"{name}_lowest"),
                highest=getattr(row, f"{name}_highest"),
                run_count=getattr(row, f"{name}_count"),
            )
            for name in SUMMARY_COLUMNS
            if getattr(row, f"{name}_count")
        ),
        run_count=row.run_count,
        request_count=int(row.request_count),
        failed_request_count=int(row.failed_request_count),
        newest_benchmarked_at=row.newest_benchmarked_at,
        tools=tuple(sorted(row.tools)),
    )
