"""A filter as conditions in SQL: what a configuration alone decides, and what a single run does."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import ARRAY, ColumnElement, Double, Text, Uuid, any_, bindparam, select

from services.ingest.metrics import LARGER_IS_BETTER
from services.ingest.records import ResultFilter
from services.ingest.tables import benchmark_configs, benchmark_results

_c = benchmark_configs.c
_r = benchmark_results.c


def among(column: Any, values: Sequence[Any], kind: Any = None) -> ColumnElement[bool]:
    """Whether the column's value is one of `values`, which are sent as one array."""
    array = bindparam(None, list(values), type_=ARRAY(kind or Uuid()))
    return column == any_(array)  # type: ignore[no-any-return]


_TYPES: Final = {"uuid": Uuid(), "text": Text()}
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
    """The arguments of a statement that goes straight to the driver."""

    def __init__(self) -> None:
        self.values: list[Any] = []

    def add(self, value: Any) -> str:
        """The placeholder of one more argument."""
        self.values.append(value)
        return f"${len(self.values)}"


def config_conditions(wanted: ResultFilter) -> list[ColumnElement[bool]]:
    """The conditions on `benchmark_configs`."""
    return [
        among(_c["id" if column == "config_id" else column], getattr(wanted, field), _TYPES[kind])
        for column, field, kind in _CONFIG_FILTERS
        if getattr(wanted, field)
    ]


def config_conditions_text(wanted: ResultFilter, arguments: Arguments) -> list[str]:
    """The same as text, with a configuration's id called `config_id`."""
    return [
        f"{column} = ANY({arguments.add(list(getattr(wanted, field)))}::{kind}[])"
        for column, field, kind in _CONFIG_FILTERS
        if getattr(wanted, field)
    ]


def result_conditions(wanted: ResultFilter) -> list[ColumnElement[bool]]:
    """All conditions, on `benchmark_results` alone."""
    conditions = [
        among(_r[column], getattr(wanted, field), _TYPES[kind])
        for column, field, kind in _CONFIG_FILTERS
        if column in _r and getattr(wanted, field)
    ]
    if wanted.provenances:
        of_kind = select(_c.id).where(among(_c.provenance, wanted.provenances, Text()))
        conditions.append(_r.config_id.in_(of_kind))
    return [*conditions, *run_conditions(wanted)]


def run_conditions(wanted: ResultFilter) -> list[ColumnElement[bool]]:
    """The conditions on `benchmark_results`. A run without a limited figure is left out."""
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
