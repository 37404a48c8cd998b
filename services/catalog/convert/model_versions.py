"""Model versions: message, row and filters."""

from collections.abc import Collection
from urllib.parse import urlsplit

from servemark.catalog.v1.model_version_pb2 import (
    ListModelVersionsRequest,
    ModelVersion,
    ModelVersionOrder,
)
from servemark.runtime.validation import Violations
from services.catalog.convert.fields import (
    bounds_from_proto,
    history_to_proto,
    json_from_proto,
    json_to_proto,
    words_from_proto,
)
from services.catalog.records import ModelVersionRow
from services.catalog.resource import Resource, Values
from services.catalog.store_collections import MODEL_VERSIONS

URI_SCHEMES = ("s3", "gs", "hf", "https", "oci")
MAX_URI_LENGTH = 2048


def model_version_from_proto(
    version: ModelVersion, fields: Collection[str], violations: Violations
) -> Values:
    """The columns of the named fields."""
    check = violations
    values: Values = {}
    if "model_id" in fields:
        values["model_id"] = check.uuid("model_id", version.model_id)
    if "version" in fields:
        values["version"] = check.text("version", version.version, max_len=64)
    if "quantization" in fields:
        values["quantization"] = check.text(
            "quantization", version.quantization, max_len=32, lower=True
        )
    if "quantization_bits" in fields:
        check.number("quantization_bits", version.quantization_bits, low=1, high=64)
        values["quantization_bits"] = version.quantization_bits
    if "format" in fields:
        values["format"] = check.text("format", version.format, max_len=32, lower=True)
    if "artifact_uri" in fields:
        values["artifact_uri"] = _uri_from_proto(check, version.artifact_uri)
    if "model_config" in fields:
        values["model_config"] = json_from_proto(check, "model_config", version.model_config)
    return values


def model_version_to_proto(row: ModelVersionRow) -> ModelVersion:
    """The message of a row."""
    version = ModelVersion(
        model_id=str(row.model_id),
        model_name=row.model_name,
        version=row.version,
        quantization=row.quantization,
        quantization_bits=row.quantization_bits,
        format=row.format,
        artifact_uri=row.artifact_uri,
        vram_requirement_gb=row.vram_requirement_gb,
    )
    json_to_proto(row.model_config, version.model_config)
    history_to_proto(row, version)
    return version


def model_version_filters_from_proto(
    request: ListModelVersionsRequest, violations: Violations
) -> Values:
    """The filters that are set."""
    filters = bounds_from_proto(violations, request, "min_vram_gb", "max_vram_gb")
    if request.model_ids:
        filters["model_ids"] = violations.uuids("model_ids", request.model_ids)
    if request.quantizations:
        filters["quantizations"] = words_from_proto(
            violations, "quantizations", request.quantizations, max_len=32, lower=True
        )
    if request.formats:
        filters["formats"] = words_from_proto(
            violations, "formats", request.formats, max_len=32, lower=True
        )
    return filters


def _uri_from_proto(violations: Violations, value: str) -> str:
    field = "artifact_uri"
    uri = violations.text(field, value, max_len=MAX_URI_LENGTH, required=False)
    if not uri:
        return uri
    try:
        parts = urlsplit(uri)
    except ValueError:
        violations.add(field, "is not a URI")
        return uri
    if parts.scheme not in URI_SCHEMES:
        violations.add(field, f"must be a URI with one of the schemes {', '.join(URI_SCHEMES)}")
    elif not parts.netloc or any(character.isspace() for character in uri):
        violations.add(field, "is not a URI such as hf://organization/model")
    elif "@" in parts.netloc:
        violations.add(field, "has user info, which does not belong into a catalog")
    return uri


MODEL_VERSION = Resource(
    field="model_version",
    collection=MODEL_VERSIONS,
    at_creation=("model_id",),
    mutable=(
        "version",
        "quantization",
        "quantization_bits",
        "format",
        "artifact_uri",
        "model_config",
    ),
    from_proto=model_version_from_proto,
    to_proto=model_version_to_proto,
    filters_from_proto=model_version_filters_from_proto,
    orders={
        ModelVersionOrder.MODEL_VERSION_ORDER_UNSPECIFIED: "name",
        ModelVersionOrder.MODEL_VERSION_ORDER_NAME: "name",
        ModelVersionOrder.MODEL_VERSION_ORDER_VRAM: "vram",
        ModelVersionOrder.MODEL_VERSION_ORDER_CREATE_TIME: "create_time",
    },
)
