"""Use cases: message, row and filters.

Characteristics and weights are stored in the JSON form of their messages, so that they gain fields
with the contract and stay readable in the database.
"""

import math
import re
from collections.abc import Collection
from datetime import date
from typing import Any

from google.protobuf.json_format import MessageToDict, ParseDict

from servemark.catalog.v1.use_case_pb2 import (
    ListUseCasesRequest,
    UseCase,
    UseCaseCharacteristics,
    UseCaseOrder,
)
from servemark.runtime.validation import Violations
from servemark.type.v1.metric_pb2 import Metric
from servemark.type.v1.range_pb2 import TokenRange
from services.catalog.convert.fields import history_to_proto, words_from_proto
from services.catalog.pipeline_tags import PIPELINE_TAGS
from services.catalog.records import UseCaseRow
from services.catalog.resource import Resource, Values
from services.catalog.store_collections import USE_CASES

MAX_SOURCE_LENGTH = 1024
_SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_MAX_TOKENS = 2**31 - 1


def use_case_from_proto(
    use_case: UseCase, fields: Collection[str], violations: Violations
) -> Values:
    """The columns of the named fields."""
    check = violations
    values: Values = {}
    if "category" in fields:
        values["category"] = check.text("category", use_case.category, max_len=64, lower=True)
    if "subcategory" in fields:
        values["subcategory"] = _slug_from_proto(check, "subcategory", use_case.subcategory)
    if "pipeline_tag" in fields:
        values["pipeline_tag"] = _pipeline_tag_from_proto(check, use_case.pipeline_tag)
    if "characteristics" in fields:
        _check_characteristics(check, use_case.characteristics)
        values["characteristics"] = _json(use_case.characteristics)
    if "default_weights" in fields:
        _check_weights(check, use_case)
        values["default_weights"] = [_json(weight) for weight in use_case.default_weights]
    return values


def use_case_to_proto(row: UseCaseRow) -> UseCase:
    """The message of a row."""
    use_case = UseCase(
        category=row.category, subcategory=row.subcategory, pipeline_tag=row.pipeline_tag
    )
    if row.characteristics:
        ParseDict(dict(row.characteristics), use_case.characteristics, ignore_unknown_fields=True)
    for weight in row.default_weights:
        ParseDict(dict(weight), use_case.default_weights.add(), ignore_unknown_fields=True)
    history_to_proto(row, use_case)
    return use_case


def use_case_filters_from_proto(request: ListUseCasesRequest, violations: Violations) -> Values:
    """The filters that are set."""
    filters: Values = {}
    for field in ("categories", "pipeline_tags"):
        if words := getattr(request, field):
            filters[field] = words_from_proto(violations, field, words, max_len=64, lower=True)
    return filters


def _json(message: Any) -> dict[str, Any]:
    return MessageToDict(message, preserving_proto_field_name=True)


def _slug_from_proto(violations: Violations, field: str, value: str) -> str:
    slug = violations.text(field, value, max_len=64, lower=True)
    if slug and not _SLUG.fullmatch(slug):
        violations.add(field, "must be words of a-z and 0-9 joined by dashes, such as chatbot")
    return slug


def _pipeline_tag_from_proto(violations: Violations, value: str) -> str:
    tag = violations.text("pipeline_tag", value, max_len=64, lower=True)
    if tag and tag not in PIPELINE_TAGS:
        violations.add("pipeline_tag", f"has no Hugging Face pipeline tag {tag!r}")
    return tag


def _check_characteristics(violations: Violations, given: UseCaseCharacteristics) -> None:
    at = "characteristics"
    for field in ("typical_input_tokens", "typical_output_tokens"):
        violations.number(f"{at}.{field}", getattr(given, field), low=0, high=_MAX_TOKENS)
    _check_range(violations, f"{at}.input_tokens", given.input_tokens)
    _check_range(violations, f"{at}.output_tokens", given.output_tokens)
    seen: set[int] = set()
    for index, limit in enumerate(given.default_limits):
        place = f"{at}.default_limits[{index}]"
        _check_metric(violations, f"{place}.metric", limit.metric, seen)
        if not (math.isfinite(limit.limit) and limit.limit > 0):
            violations.add(f"{place}.limit", f"is {limit.limit:g}; it must be above 0 and finite")
    for field in ("limits_source", "shape_source", "weights_source"):
        violations.text(
            f"{at}.{field}", getattr(given, field), max_len=MAX_SOURCE_LENGTH, required=False
        )
    if given.source_date and not _is_date(given.source_date):
        violations.add(f"{at}.source_date", "is not a date of the form YYYY-MM-DD")


def _check_range(violations: Violations, field: str, span: TokenRange) -> None:
    violations.number(f"{field}.min", span.min, low=0, high=_MAX_TOKENS)
    violations.number(f"{field}.max", span.max, low=0, high=_MAX_TOKENS)
    if 0 < span.max < span.min:
        violations.add(f"{field}.max", f"is below min ({span.min})")


def _check_weights(violations: Violations, use_case: UseCase) -> None:
    field = "default_weights"
    seen: set[int] = set()
    for index, weight in enumerate(use_case.default_weights):
        _check_metric(violations, f"{field}[{index}].metric", weight.metric, seen)
        if not (math.isfinite(weight.weight) and weight.weight >= 0):
            violations.add(
                f"{field}[{index}].weight", f"is {weight.weight:g}; it must be 0 or more, finite"
            )
    if not use_case.default_weights:
        violations.add(field, "is required")
    elif not any(weight.weight > 0 for weight in use_case.default_weights):
        violations.add(field, "needs at least one weight above 0")


def _check_metric(violations: Violations, field: str, metric: int, seen: set[int]) -> None:
    violations.enum(field, metric, Metric.values())
    if metric in seen:
        violations.add(field, "names a metric that is named before")
    seen.add(metric)


def _is_date(value: str) -> bool:
    try:
        return date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False


USE_CASE = Resource(
    field="use_case",
    collection=USE_CASES,
    mutable=("category", "subcategory", "pipeline_tag", "characteristics", "default_weights"),
    from_proto=use_case_from_proto,
    to_proto=use_case_to_proto,
    filters_from_proto=use_case_filters_from_proto,
    orders={
        UseCaseOrder.USE_CASE_ORDER_UNSPECIFIED: "name",
        UseCaseOrder.USE_CASE_ORDER_NAME: "name",
        UseCaseOrder.USE_CASE_ORDER_CREATE_TIME: "create_time",
    },
)
