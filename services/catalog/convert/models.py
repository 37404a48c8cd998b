"""Models: message, row and filters."""

from collections.abc import Collection

from servemark.catalog.v1.model_pb2 import ListModelsRequest, Model, ModelOrder
from servemark.runtime.validation import Violations
from services.catalog.convert.fields import (
    history_to_proto,
    json_from_proto,
    json_to_proto,
    words_from_proto,
)
from services.catalog.records import ModelRow
from services.catalog.resource import Resource, Values
from services.catalog.store_collections import MODELS

MAX_PARAMETERS = 10**14
MAX_TAGS = 32


def model_from_proto(model: Model, fields: Collection[str], violations: Violations) -> Values:
    """The columns of the named fields."""
    check = violations
    values: Values = {}
    if "name" in fields:
        values["name"] = check.text("name", model.name, max_len=256)
    if "architecture" in fields:
        values["architecture"] = check.text(
            "architecture", model.architecture, max_len=64, lower=True
        )
    if "parameters" in fields:
        check.number("parameters", model.parameters, low=1, high=MAX_PARAMETERS)
        values["parameters"] = model.parameters
    if "active_parameters" in fields:
        check.number("active_parameters", model.active_parameters, low=0, high=MAX_PARAMETERS)
        values["active_parameters"] = model.active_parameters
    if "base_model" in fields:
        values["base_model"] = check.text(
            "base_model", model.base_model, max_len=256, required=False
        )
    if "metadata" in fields:
        values["metadata"] = json_from_proto(check, "metadata", model.metadata)
    if "tags" in fields:
        values["tags"] = words_from_proto(
            check, "tags", model.tags, max_len=64, lower=True, most=MAX_TAGS
        )
    if "parameters" in fields and "active_parameters" in fields:
        _check_active(model.parameters, model.active_parameters, check)
    return values


def model_to_proto(row: ModelRow) -> Model:
    """The message of a row."""
    model = Model(
        name=row.name,
        architecture=row.architecture,
        parameters=row.parameters,
        active_parameters=row.active_parameters,
        base_model=row.base_model,
        tags=row.tags,
    )
    json_to_proto(row.metadata, model.metadata)
    history_to_proto(row, model)
    return model


def model_filters_from_proto(request: ListModelsRequest, violations: Violations) -> Values:
    """The filters that are set."""
    filters: Values = {}
    if request.tags:
        filters["tags"] = words_from_proto(violations, "tags", request.tags, max_len=64, lower=True)
    if request.architectures:
        filters["architectures"] = words_from_proto(
            violations, "architectures", request.architectures, max_len=64, lower=True
        )
    part = violations.text("name_contains", request.name_contains, max_len=256, required=False)
    if part:
        filters["name_contains"] = part
    return filters


def _check_active(parameters: int, active_parameters: int, violations: Violations) -> None:
    if 0 < parameters < active_parameters:
        violations.add("active_parameters", f"is more than parameters ({parameters})")


def _check_whole(row: ModelRow, violations: Violations) -> None:
    _check_active(row.parameters, row.active_parameters, violations)


MODEL = Resource(
    field="model",
    collection=MODELS,
    mutable=(
        "name",
        "architecture",
        "parameters",
        "active_parameters",
        "base_model",
        "metadata",
        "tags",
    ),
    from_proto=model_from_proto,
    to_proto=model_to_proto,
    filters_from_proto=model_filters_from_proto,
    check=_check_whole,
    orders={
        ModelOrder.MODEL_ORDER_UNSPECIFIED: "name",
        ModelOrder.MODEL_ORDER_NAME: "name",
        ModelOrder.MODEL_ORDER_PARAMETERS: "parameters",
        ModelOrder.MODEL_ORDER_CREATE_TIME: "create_time",
    },
)
