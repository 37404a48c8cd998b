"""Model use cases: message, row and filters."""

from collections.abc import Collection

from servemark.catalog.v1.model_use_case_pb2 import (
    ListModelUseCasesRequest,
    ModelUseCase,
    ModelUseCaseOrder,
)
from servemark.runtime.validation import Violations
from services.catalog.convert.fields import history_to_proto, json_from_proto, json_to_proto
from services.catalog.records import ModelUseCaseRow
from services.catalog.resource import Resource, Values
from services.catalog.store_collections import MODEL_USE_CASES

_MAX_PRIORITY = 2**31 - 1


def model_use_case_from_proto(
    entry: ModelUseCase, fields: Collection[str], violations: Violations
) -> Values:
    """The columns of the named fields."""
    check = violations
    values: Values = {}
    for reference in ("model_id", "use_case_id"):
        if reference in fields:
            values[reference] = check.uuid(reference, getattr(entry, reference))
    if "suitability_score" in fields:
        values["suitability_score"] = None
        if entry.HasField("suitability_score"):
            check.number("suitability_score", entry.suitability_score, low=0, high=1)
            values["suitability_score"] = entry.suitability_score
    if "recommended" in fields:
        values["recommended"] = entry.recommended
    if "priority" in fields:
        check.number("priority", entry.priority, low=0, high=_MAX_PRIORITY)
        values["priority"] = entry.priority
    if "performance_summary" in fields:
        values["performance_summary"] = json_from_proto(
            check, "performance_summary", entry.performance_summary
        )
    return values


def model_use_case_to_proto(row: ModelUseCaseRow) -> ModelUseCase:
    """The message of a row."""
    entry = ModelUseCase(
        model_id=str(row.model_id),
        use_case_id=str(row.use_case_id),
        suitability_score=row.suitability_score,
        recommended=row.recommended,
        priority=row.priority,
    )
    json_to_proto(row.performance_summary, entry.performance_summary)
    history_to_proto(row, entry)
    return entry


def model_use_case_filters_from_proto(
    request: ListModelUseCasesRequest, violations: Violations
) -> Values:
    """The filters that are set."""
    filters: Values = {}
    for field in ("model_ids", "use_case_ids"):
        if ids := getattr(request, field):
            filters[field] = violations.uuids(field, ids)
    if request.recommended:
        filters["recommended"] = True
    return filters


MODEL_USE_CASE = Resource(
    field="model_use_case",
    collection=MODEL_USE_CASES,
    at_creation=("model_id", "use_case_id"),
    mutable=("suitability_score", "recommended", "priority", "performance_summary"),
    from_proto=model_use_case_from_proto,
    to_proto=model_use_case_to_proto,
    filters_from_proto=model_use_case_filters_from_proto,
    orders={
        ModelUseCaseOrder.MODEL_USE_CASE_ORDER_UNSPECIFIED: "priority",
        ModelUseCaseOrder.MODEL_USE_CASE_ORDER_PRIORITY: "priority",
        ModelUseCaseOrder.MODEL_USE_CASE_ORDER_SUITABILITY: "suitability",
        ModelUseCaseOrder.MODEL_USE_CASE_ORDER_CREATE_TIME: "create_time",
    },
)
