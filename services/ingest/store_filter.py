"""A filter as conditions in SQL: what a configuration alone decides, and what a single run does.

Statements that read go straight to the driver, as text: thousands of rows come back, and nothing
else is done with them. Names in the text are ours; every value is an argument.
"""

from collections.abc import Iterable
from typing import Any, Final

from servemark.runtime import tenancy
from services.ingest.metrics import LARGER_IS_BETTER
from services.ingest.records import ResultFilter

# Column of a configuration, field of ResultFilter, type.
_CONFIG_FILTERS: Final = (
    ("model_id", "model_ids", "uuid"),
    ("model_version_id", "model_version_ids", "uuid"),
    ("hardware_config_id", "hardware_config_ids", "uuid"),
    ("framework_id", "framework_ids", "uuid"),
    ("config_id", "config_ids", "uuid"),
    ("workload_type", "workload_types", "text"),
    ("provenance", "provenances", "text"),
)


class Arguments:
    """The arguments of a statement."""

    def __init__(self) -> None:
        self.values: list[Any] = []

    def add(self, value: Any, kind: str = "") -> str:
        """The placeholder of one more argument, cast to the type if one is named."""
        self.values.append(value)
        return f"${len(self.values)}::{kind}" if kind else f"${len(self.values)}"

    def any_of(self, values: Iterable[Any], kind: str) -> str:
        """`ANY(…)` of the values, for a column of that type."""
        return f"ANY({self.add(list(values), f'{kind}[]')})"


def config_conditions(
    wanted: ResultFilter, arguments: Arguments, id_column: str = "id"
) -> list[str]:
    """The conditions on a configuration, whose own id is called `id_column`."""
    return [
        f"{id_column if column == 'config_id' else column} = "
        + arguments.any_of(getattr(wanted, field), kind)
        for column, field, kind in _CONFIG_FILTERS
        if getattr(wanted, field)
    ]


def run_conditions(wanted: ResultFilter, arguments: Arguments) -> list[str]:
    """The conditions on a run alone. A run without a limited figure is left out."""
    conditions = []
    if wanted.start_time is not None:
        conditions.append(f"benchmarked_at >= {arguments.add(wanted.start_time)}")
    if wanted.end_time is not None:
        conditions.append(f"benchmarked_at < {arguments.add(wanted.end_time)}")
    for limit in wanted.limits:
        sign = ">=" if limit.column in LARGER_IS_BETTER else "<="
        # Written into the statement: the partial index on latency serves only a known limit.
        conditions.append(f"{limit.column} {sign} {limit.limit!r}::float8")
    return conditions


def result_conditions(wanted: ResultFilter, arguments: Arguments) -> list[str]:
    """All conditions, on `benchmark_results` alone."""
    conditions = [
        f"{column} = {arguments.any_of(getattr(wanted, field), kind)}"
        for column, field, kind in _CONFIG_FILTERS
        if column != "provenance" and getattr(wanted, field)
    ]
    if wanted.provenances:
        kinds = arguments.any_of(wanted.provenances, "text")
        of_kind = f"SELECT id FROM benchmark_configs WHERE provenance = {kinds}"  # noqa: S608
        conditions.append(f"config_id IN ({of_kind})")
    return [*conditions, *run_conditions(wanted, arguments)]


def seen() -> list[str]:
    """The condition that the `result` belongs to a configuration that the caller may see.

    Which those are is up to the policy of `benchmark_configs`. One look-up for each result that is
    read: as a join it would keep the planner from reading results in order.
    """
    if tenancy.current().sees_all:
        return []
    return [
        "(SELECT true FROM benchmark_configs AS config"
        " WHERE config.model_id = result.model_id AND config.id = result.config_id)"
    ]


def where(conditions: Iterable[str]) -> str:
    """The WHERE clause of the conditions; none for none."""
    text = " AND ".join(conditions)
    return f"WHERE {text}" if text else ""
