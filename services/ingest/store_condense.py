"""SQL that condenses configurations' runs, for readers and for the roll-up alike: one definition.

A configuration's runs are found through the requirement's index on model version, hardware and
framework: the three that the configuration implies, for each distinct group of them at once, and
then by configuration. An index on the configuration itself was the dearest of all to keep.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, FromClause, Select, func, select, true

from services.ingest.metrics import SUMMARY_COLUMNS
from services.ingest.store_filter import among
from services.ingest.tables import benchmark_configs, benchmark_results

_c = benchmark_configs.c
_r = benchmark_results.c

# The statistics of a figure: column of `config_summaries`, and how runs make it.
STATISTICS: Final[dict[str, Callable[[Any], ColumnElement[Any]]]] = {
    "medians": lambda figure: func.percentile_cont(0.5).within_group(figure),
    "means": func.avg,
    "lowest": func.min,
    "highest": func.max,
    "counts": func.count,
}


@dataclass(frozen=True)
class Field:
    """Something that runs are condensed to: how it is kept in `config_summaries` (an SQL term), and
    how it is made from the runs' `column`."""

    name: str
    kept: str
    column: str
    made: Callable[[Any], ColumnElement[Any]]


def statistic(column: str, statistic: str) -> Field:
    """A statistic of a figure, named `<column>_<statistic>`."""
    place = SUMMARY_COLUMNS.index(column) + 1
    return Field(f"{column}_{statistic}", f"{statistic}[{place}]", column, STATISTICS[statistic])


def _sum(column: Any) -> ColumnElement[Any]:
    return func.coalesce(func.sum(column), 0)


RUN_COUNT: Final = Field("run_count", "run_count", "id", lambda _: func.count())
OLDEST: Final = Field("oldest_benchmarked_at", "oldest_benchmarked_at", "benchmarked_at", func.min)
OTHER_FIELDS: Final = (
    Field("request_count", "request_count", "request_count", _sum),
    Field("failed_request_count", "failed_request_count", "failed_request_count", _sum),
    Field("newest_benchmarked_at", "newest_benchmarked_at", "benchmarked_at", func.max),
    Field("tools", "tools", "tool", lambda tool: func.array_agg(tool.distinct())),
)


def runs_of(
    configs: Sequence[ColumnElement[bool]],
    columns: Iterable[str],
    runs: Sequence[ColumnElement[bool]],
) -> tuple[FromClause, Any, Any]:
    """Where to select from, and in it the columns of matching runs and of their configurations.

    `configs` are conditions on `benchmark_configs`, `runs` those on `benchmark_results`. Each group
    of configurations is a scan of its own (OFFSET keeps the planner from making one join of it):
    the cost goes with the groups asked for, never with the table.
    """
    wanted = (
        select(_c.id, _c.model_id, _c.model_version_id, _c.hardware_config_id, _c.framework_id)
        .where(*configs)
        .cte("wanted")
    )
    shared = (wanted.c.model_version_id, wanted.c.hardware_config_id, wanted.c.framework_id)
    group = select(*shared).distinct().subquery("config_group")
    run = (
        select(*(_r[name] for name in sorted({"config_id", *columns})))
        .where(
            _r.model_version_id == group.c.model_version_id,
            _r.hardware_config_id == group.c.hardware_config_id,
            _r.framework_id == group.c.framework_id,
            *runs,
        )
        .offset(0)
        .lateral("run")
    )
    source = group.join(run, true()).join(wanted, wanted.c.id == run.c.config_id)
    return source, run.c, wanted.c


def condense(
    config_ids: Sequence[UUID], fields: Sequence[Field], runs: Sequence[ColumnElement[bool]]
) -> Select[Any]:
    """`config_id` and the fields of each configuration with runs that match, in order of id."""
    of_configs = [among(_c.id, config_ids)]
    source, run, _ = runs_of(of_configs, (field.column for field in fields), runs)
    return (
        select(
            run.config_id, *(field.made(run[field.column]).label(field.name) for field in fields)
        )
        .select_from(source)
        .group_by(run.config_id)
        .order_by(run.config_id)
    )
