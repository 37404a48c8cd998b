"""Where each kind of resource lives and how it is found: all that differs between the six."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, FromClause, Table, func, literal

from services.catalog import records, tables
from services.catalog.store_paging import (
    Order,
    SortKey,
    bigint_value,
    id_key,
    integer_value,
    text_key,
    time_key,
)

R = TypeVar("R", bound=records.ResourceRow)

Filter = Callable[[Any], ColumnElement[bool]]

_INFINITY = float("inf")
_MAX_INT4 = 2**31 - 1


@dataclass(frozen=True)
class Parent:
    """A resource that others refer to by `column`: it must be there, and active, at creation."""

    column: str
    table: Table
    noun: str


@dataclass(frozen=True)
class Dependents:
    """Rows of `table` that the database changes along with `columns` of the row they refer to."""

    columns: tuple[str, ...]
    table: Table
    reference: str


@dataclass(frozen=True)
class Collection(Generic[R]):
    """One kind of resource, for the store.

    `natural_key` are the columns that make it unique, letter case ignored. `filters` and `orders`
    are the names a list may use; a filter gets the value asked for.
    """

    noun: str
    table: Table
    record: type[R]
    natural_key: tuple[str, ...]
    orders: Mapping[str, Order]
    filters: Mapping[str, Filter] = field(default_factory=dict)
    parents: tuple[Parent, ...] = ()
    dependents: Dependents | None = None
    joined: FromClause | None = None
    joined_columns: tuple[ColumnElement[Any], ...] = ()

    @property
    def source(self) -> FromClause:
        """What to select from."""
        return self.table if self.joined is None else self.joined

    @property
    def columns(self) -> tuple[ColumnElement[Any], ...]:
        """What to select: the fields of `record`."""
        return (*self.table.c, *self.joined_columns)


def _by(*keys: SortKey, table: Table) -> Order:
    return Order((*keys, id_key(table.c.id)))


def _any_of(column: ColumnElement[Any]) -> Filter:
    return lambda values: column.in_(values)


def _any_case_of(column: ColumnElement[Any]) -> Filter:
    return lambda values: func.lower(column).in_([func.lower(literal(value)) for value in values])


def _at_least(column: ColumnElement[Any]) -> Filter:
    return lambda value: column >= value


def _at_most(column: ColumnElement[Any]) -> Filter:
    # A NULL column is not at most anything: rows without a value are left out.
    return lambda value: column <= value


_m = tables.models.c
MODELS = Collection(
    noun="model",
    table=tables.models,
    record=records.ModelRow,
    natural_key=("name",),
    filters={
        "tags": _m.tags.contains,
        "architectures": _any_of(_m.architecture),
        "name_contains": lambda part: func.strpos(func.lower(_m.name), func.lower(part)) > 0,
    },
    orders={
        "name": _by(text_key(func.lower(_m.name)), table=tables.models),
        "parameters": _by(SortKey(_m.parameters, bigint_value), table=tables.models),
        "create_time": _by(time_key(_m.created_at), table=tables.models),
    },
    dependents=Dependents(("name", "parameters"), tables.model_versions, "model_id"),
)
_MODEL = Parent("model_id", tables.models, "model")

_v = tables.model_versions.c
MODEL_VERSIONS = Collection(
    noun="model version",
    table=tables.model_versions,
    record=records.ModelVersionRow,
    natural_key=("model_id", "version", "quantization", "format"),
    parents=(_MODEL,),
    joined=tables.model_versions.join(tables.models),
    joined_columns=(_m.name.label("model_name"),),
    filters={
        "model_ids": _any_of(_v.model_id),
        "quantizations": _any_of(_v.quantization),
        "formats": _any_of(_v.format),
        "min_vram_gb": _at_least(_v.vram_requirement_gb),
        "max_vram_gb": _at_most(_v.vram_requirement_gb),
    },
    orders={
        "name": _by(
            text_key(func.lower(_m.name)),
            text_key(_v.version),
            text_key(_v.quantization),
            text_key(_v.format),
            table=tables.model_versions,
        ),
        "vram": _by(SortKey(_v.vram_requirement_gb, float), table=tables.model_versions),
        "create_time": _by(time_key(_v.created_at), table=tables.model_versions),
    },
)

_h = tables.hardware_configs.c
HARDWARE_CONFIGS = Collection(
    noun="hardware configuration",
    table=tables.hardware_configs,
    record=records.HardwareConfigRow,
    natural_key=("name",),
    filters={
        "gpu_types": _any_case_of(_h.gpu_type),
        "cloud_providers": _any_of(_h.cloud_provider),
        "min_total_vram_gb": _at_least(_h.total_vram_gb),
        "max_total_vram_gb": _at_most(_h.total_vram_gb),
        "max_cost_per_hour_usd": _at_most(_h.cost_per_hour_usd),
        "spot_available": lambda _: _h.spot_available,
    },
    orders={
        "name": _by(text_key(func.lower(_h.name)), table=tables.hardware_configs),
        "total_vram": _by(SortKey(_h.total_vram_gb, integer_value), table=tables.hardware_configs),
        "cost": _by(
            SortKey(_h.cost_per_hour_usd, float, (_INFINITY, -_INFINITY)),
            table=tables.hardware_configs,
        ),
        "create_time": _by(time_key(_h.created_at), table=tables.hardware_configs),
    },
)

_f = tables.inference_frameworks.c
INFERENCE_FRAMEWORKS = Collection(
    noun="inference framework",
    table=tables.inference_frameworks,
    record=records.InferenceFrameworkRow,
    natural_key=("name", "version"),
    filters={"names": _any_of(_f.name)},
    orders={
        "name": _by(text_key(_f.name), text_key(_f.version), table=tables.inference_frameworks),
        "create_time": _by(time_key(_f.created_at), table=tables.inference_frameworks),
    },
)

_u = tables.use_case_taxonomy.c
USE_CASES = Collection(
    noun="use case",
    table=tables.use_case_taxonomy,
    record=records.UseCaseRow,
    natural_key=("subcategory",),
    filters={"categories": _any_of(_u.category), "pipeline_tags": _any_of(_u.pipeline_tag)},
    orders={
        "name": _by(
            text_key(_u.category), text_key(_u.subcategory), table=tables.use_case_taxonomy
        ),
        "create_time": _by(time_key(_u.created_at), table=tables.use_case_taxonomy),
    },
)

_s = tables.model_use_cases.c
MODEL_USE_CASES = Collection(
    noun="model use case",
    table=tables.model_use_cases,
    record=records.ModelUseCaseRow,
    natural_key=("model_id", "use_case_id"),
    parents=(_MODEL, Parent("use_case_id", tables.use_case_taxonomy, "use case")),
    filters={
        "model_ids": _any_of(_s.model_id),
        "use_case_ids": _any_of(_s.use_case_id),
        "recommended": lambda _: _s.recommended,
    },
    orders={
        # 0 is "no order", so it is treated as missing.
        "priority": _by(
            SortKey(func.nullif(_s.priority, 0), integer_value, (_MAX_INT4, 0)),
            table=tables.model_use_cases,
        ),
        "suitability": _by(
            SortKey(_s.suitability_score, float, (_INFINITY, -_INFINITY)),
            table=tables.model_use_cases,
        ),
        "create_time": _by(time_key(_s.created_at), table=tables.model_use_cases),
    },
)
