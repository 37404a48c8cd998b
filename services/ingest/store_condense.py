"""SQL that condenses configurations' runs, for readers and for the roll-up alike: one definition.

A configuration's runs are found through the requirement's index on model version, hardware and
framework: the three that the configuration implies, for each distinct group of them at once, and
then by configuration. An index on the configuration itself was the dearest of all to keep.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from services.ingest.metrics import SUMMARY_COLUMNS
from services.ingest.store_filter import Arguments, where
from services.ingest.store_pool import POOL_COLUMNS, newest, pooled, requests, total

# The statistics of a figure: the column of `config_summaries`, and what makes them of runs.
STATISTICS: Final = {
    "medians": "percentile_cont(0.5) WITHIN GROUP (ORDER BY {})",
    "means": "avg({})",
    "lowest": "min({})",
    "highest": "max({})",
    "counts": "count({})",
}


@dataclass(frozen=True, slots=True)
class Field:
    """Something that runs are condensed to: how it is kept in `config_summaries`, the term that
    makes it of `run`s, and the columns of runs that this names."""

    name: str
    kept: str
    made: str
    columns: tuple[str, ...]


def statistic(column: str, name: str) -> Field:
    """A statistic of a figure, called `<column>_<statistic>`."""
    place = SUMMARY_COLUMNS.index(column) + 1
    made = STATISTICS[name].format(f"run.{column}")
    return Field(f"{column}_{name}", f"{name}[{place}]", made, (column,))


def _of(name: str, column: str, makes: str) -> Field:
    return Field(name, name, makes.format(f"run.{column}"), (column,))


def _each(name: str, kind: str, terms: Iterable[str]) -> Field:
    """An array with an entry for each of SUMMARY_COLUMNS."""
    return Field(name, name, f"ARRAY[{', '.join(terms)}]::{kind}[]", POOL_COLUMNS)


RUN_COUNT: Final = _of("run_count", "config_id", "count({})")
OLDEST: Final = _of("oldest_benchmarked_at", "benchmarked_at", "min({})")
OTHER_FIELDS: Final = (
    _of("request_count", "request_count", total("sum({})")),
    _of("failed_request_count", "failed_request_count", total("sum({})")),
    _of("newest_benchmarked_at", "benchmarked_at", "max({})"),
    _of("tools", "tool", "array_agg(DISTINCT {})"),
)
_POOLED: Final = tuple(zip(*map(pooled, SUMMARY_COLUMNS), strict=True))
POOL_FIELDS: Final = (
    _each("pooled", "float8", _POOLED[0]),
    _each("pooled_counts", "bigint", _POOLED[1]),
    _each("pooled_runs", "bigint", _POOLED[2]),
    _each("request_counts", "bigint", map(requests, SUMMARY_COLUMNS)),
    _each("newest_at", "timestamptz", map(newest, SUMMARY_COLUMNS)),
)


def runs_of(configs: Iterable[str], columns: Iterable[str], runs: Iterable[str]) -> tuple[str, str]:
    """The WITH query and the FROM items of runs: `run` has the columns, `wanted` what made them.

    `configs` are conditions on `benchmark_configs`, `runs` those on `benchmark_results`. Each group
    of configurations is a scan of its own (OFFSET keeps the planner from making one join of it):
    the cost goes with the groups asked for, never with the table.
    """
    wanted = f"""
        wanted AS (
            SELECT id, model_id, model_version_id, hardware_config_id, framework_id
            FROM benchmark_configs {where(configs)}
        )"""  # noqa: S608  (names are ours, values are arguments)
    of_group = [
        f"result.{name} = config_group.{name}"
        for name in ("model_version_id", "hardware_config_id", "framework_id")
    ]
    source = f"""
        (
            SELECT DISTINCT model_version_id, hardware_config_id, framework_id FROM wanted
        ) AS config_group
        CROSS JOIN LATERAL (
            SELECT {", ".join(sorted({"config_id", *columns}))}
            FROM benchmark_results AS result {where([*of_group, *runs])}
            OFFSET 0
        ) AS run
        JOIN wanted ON wanted.id = run.config_id"""  # noqa: S608  (as above)
    return wanted, source


def condense(
    config_ids: Sequence[UUID], fields: Sequence[Field], runs: Sequence[str], arguments: Arguments
) -> str:
    """`config_id` and the fields of each configuration with runs that match, in order of id."""
    of_configs = [f"id = {arguments.any_of(config_ids, 'uuid')}"]
    columns = (column for field in fields for column in field.columns)
    wanted, source = runs_of(of_configs, columns, runs)
    made = "".join(f", {field.made} AS {field.name}" for field in fields)
    return f"""
        WITH {wanted}
        SELECT run.config_id{made} FROM {source}
        GROUP BY run.config_id ORDER BY run.config_id"""  # noqa: S608  (as above)
