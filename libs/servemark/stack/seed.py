"""Loads the shipped catalog by RPC. Repeating it changes nothing: what exists is left as it is."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from google.protobuf.timestamp_pb2 import Timestamp

from servemark.catalog.v1 import (
    hardware_config_pb2,
    hardware_price_pb2,
    inference_framework_pb2,
    model_pb2,
    model_version_pb2,
    use_case_pb2,
)
from servemark.client.errors import ServemarkCallError
from servemark.type.v1.metric_pb2 import Metric, MetricLimit, MetricWeight
from servemark.type.v1.provenance_pb2 import PurchaseOption

Progress = Callable[[str], None]


def _read(folder: Path, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((folder / f"{name}.json").read_text())
    return rows


def _metric(name: str) -> "Metric.ValueType":
    return Metric.Value(f"METRIC_{name.upper()}")


def _create(call: Callable[[Any], Any], request: Any) -> str:
    """Id of the created resource, or of the one that has its name already."""
    try:
        answer = call(request)
    except ServemarkCallError as error:
        if error.reason != "RESOURCE_EXISTS":
            raise
        return error.metadata["existing_id"]
    (_, resource) = answer.ListFields()[0]
    identifier: str = resource.id
    return identifier


def _model(row: Mapping[str, Any]) -> model_pb2.Model:
    return json_format.ParseDict(
        {**row, "active_parameters": row["active_parameters"] or 0}, model_pb2.Model()
    )


def _version(row: Mapping[str, Any], model_id: str) -> model_version_pb2.ModelVersion:
    fields = {key: value for key, value in row.items() if key != "model"}
    return json_format.ParseDict({**fields, "model_id": model_id}, model_version_pb2.ModelVersion())


def _hardware(row: Mapping[str, Any]) -> hardware_config_pb2.HardwareConfig:
    fields = {key: value for key, value in row.items() if key != "prices"}
    return json_format.ParseDict(fields, hardware_config_pb2.HardwareConfig())


def _price(row: Mapping[str, Any], hardware_id: str) -> hardware_price_pb2.HardwarePrice:
    start = Timestamp()
    start.FromDatetime(datetime.fromisoformat(row["valid_from"]).replace(tzinfo=UTC))
    return hardware_price_pb2.HardwarePrice(
        hardware_config_id=hardware_id,
        region=row["region"] or "",
        purchase_option=PurchaseOption.Value(f"PURCHASE_OPTION_{row['purchase_option'].upper()}"),
        usd_per_hour=row["usd_per_hour"],
        valid_from_time=start,
        source=row["source"],
    )


def _use_case(row: Mapping[str, Any]) -> use_case_pb2.UseCase:
    typical = row["characteristics"]
    case = use_case_pb2.UseCase(
        category=row["category"],
        subcategory=row["subcategory"],
        pipeline_tag=row["pipeline_tag"],
        default_weights=[
            MetricWeight(metric=_metric(name), weight=weight)
            for name, weight in row["default_weights"].items()
        ],
    )
    shape = case.characteristics
    shape.typical_input_tokens = typical["input_tokens"]["typical"]
    shape.input_tokens.min = typical["input_tokens"]["min"]
    shape.input_tokens.max = typical["input_tokens"]["max"]
    shape.typical_output_tokens = typical["output_tokens"]["typical"]
    shape.output_tokens.min = typical["output_tokens"]["min"]
    shape.output_tokens.max = typical["output_tokens"]["max"]
    shape.default_limits.extend(
        MetricLimit(metric=_metric(limit["metric"]), limit=limit["limit"])
        for limit in typical["sla"]
    )
    shape.limits_source = typical["sla_source"]
    shape.shape_source = typical["shape_source"]
    shape.weights_source = typical["weights_source"]
    shape.source_date = typical["source_date"]
    return case


def load_catalog(catalog: Any, folder: Path, progress: Progress) -> int:
    """Creates every shipped catalog entry through the stub `catalog`; returns how many there are.

    Raises ServemarkCallError where the service refuses one for another reason than that it exists.
    """
    count = 0
    progress("models")
    model_ids: dict[str, str] = {}
    for row in _read(folder, "models"):
        request = model_pb2.CreateModelRequest(model=_model(row))
        model_ids[row["name"]] = _create(catalog.CreateModel, request)
        count += 1
    for row in _read(folder, "model_versions"):
        version = _version(row, model_ids[row["model"]])
        _create(
            catalog.CreateModelVersion,
            model_version_pb2.CreateModelVersionRequest(model_version=version),
        )
        count += 1
    progress("hardware and prices")
    for row in _read(folder, "hardware"):
        hardware_id = _create(
            catalog.CreateHardwareConfig,
            hardware_config_pb2.CreateHardwareConfigRequest(hardware_config=_hardware(row)),
        )
        count += 1
        for price in sorted(row["prices"], key=lambda price: str(price["valid_from"])):
            catalog.SetHardwarePrice(
                hardware_price_pb2.SetHardwarePriceRequest(
                    hardware_price=_price(price, hardware_id)
                )
            )
    progress("frameworks and use cases")
    for row in _read(folder, "frameworks"):
        framework = json_format.ParseDict(row, inference_framework_pb2.InferenceFramework())
        _create(
            catalog.CreateInferenceFramework,
            inference_framework_pb2.CreateInferenceFrameworkRequest(inference_framework=framework),
        )
        count += 1
    for row in _read(folder, "use_cases"):
        request_case = use_case_pb2.CreateUseCaseRequest(use_case=_use_case(row))
        _create(catalog.CreateUseCase, request_case)
        count += 1
    return count
