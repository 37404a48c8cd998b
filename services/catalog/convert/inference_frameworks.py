"""Inference frameworks: message, row and filters."""

from collections.abc import Collection

from servemark.catalog.v1.inference_framework_pb2 import (
    InferenceFramework,
    InferenceFrameworkOrder,
    ListInferenceFrameworksRequest,
)
from servemark.runtime.validation import Violations
from services.catalog.convert.fields import (
    history_to_proto,
    json_from_proto,
    json_to_proto,
    version_from_proto,
    words_from_proto,
)
from services.catalog.records import InferenceFrameworkRow
from services.catalog.resource import Resource, Values
from services.catalog.store_collections import INFERENCE_FRAMEWORKS


def inference_framework_from_proto(
    framework: InferenceFramework, fields: Collection[str], violations: Violations
) -> Values:
    """The columns of the named fields."""
    check = violations
    values: Values = {}
    if "name" in fields:
        values["name"] = check.text("name", framework.name, max_len=64, lower=True)
    if "version" in fields:
        values["version"] = version_from_proto(check, "version", framework.version)
    if "capabilities" in fields:
        values["capabilities"] = json_from_proto(check, "capabilities", framework.capabilities)
    if "supports_quantization" in fields:
        values["supports_quantization"] = framework.supports_quantization
    if "supports_streaming" in fields:
        values["supports_streaming"] = framework.supports_streaming
    if "config_template" in fields:
        values["config_template"] = json_from_proto(
            check, "config_template", framework.config_template
        )
    return values


def inference_framework_to_proto(row: InferenceFrameworkRow) -> InferenceFramework:
    """The message of a row."""
    framework = InferenceFramework(
        name=row.name,
        version=row.version,
        supports_quantization=row.supports_quantization,
        supports_streaming=row.supports_streaming,
    )
    json_to_proto(row.capabilities, framework.capabilities)
    json_to_proto(row.config_template, framework.config_template)
    history_to_proto(row, framework)
    return framework


def inference_framework_filters_from_proto(
    request: ListInferenceFrameworksRequest, violations: Violations
) -> Values:
    """The filters that are set."""
    if not request.names:
        return {}
    return {"names": words_from_proto(violations, "names", request.names, max_len=64, lower=True)}


INFERENCE_FRAMEWORK = Resource(
    field="inference_framework",
    collection=INFERENCE_FRAMEWORKS,
    mutable=(
        "name",
        "version",
        "capabilities",
        "supports_quantization",
        "supports_streaming",
        "config_template",
    ),
    from_proto=inference_framework_from_proto,
    to_proto=inference_framework_to_proto,
    filters_from_proto=inference_framework_filters_from_proto,
    orders={
        InferenceFrameworkOrder.INFERENCE_FRAMEWORK_ORDER_UNSPECIFIED: "name",
        InferenceFrameworkOrder.INFERENCE_FRAMEWORK_ORDER_NAME: "name",
        InferenceFrameworkOrder.INFERENCE_FRAMEWORK_ORDER_CREATE_TIME: "create_time",
    },
)
