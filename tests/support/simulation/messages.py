"""Simulated results as messages, and the catalog and headers that they need."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import numpy as np

from servemark.catalog.v1 import hardware_config_pb2 as hardware_pb2
from servemark.catalog.v1 import inference_framework_pb2 as framework_pb2
from servemark.catalog.v1 import model_pb2, model_version_pb2
from servemark.ingest.v1.benchmark_result_pb2 import ResultMetrics, ResultRow
from servemark.ingest.v1.result_columns_pb2 import DoubleColumn, Int64Column, ResultColumns
from servemark.ingest.v1.result_stream_pb2 import ConfigSpec, StreamHeader
from servemark.type.v1.provenance_pb2 import Provenance
from tests.support.simulation.figures import FIGURES, Rows
from tests.support.simulation.fleet import (
    FRAMEWORKS,
    QUANTIZATIONS,
    Configuration,
    Model,
)

TOOL: Final = "servemark-simulator"
TOOL_VERSION: Final = "1"


def as_columns(rows: Rows) -> ResultColumns:
    """The rows as the columns of a batch."""
    columns = ResultColumns(
        ids=rows.ids.tobytes(),
        config_indexes=rows.config_indexes.tolist(),
        benchmark_times_us=(rows.times_ms * 1000).tolist(),
        request_counts=Int64Column(values=rows.request_counts.tolist()),
        failed_request_counts=Int64Column(values=rows.failed_counts.tolist()),
    )
    present = ~np.isnan(rows.figures)
    values = np.where(present, rows.figures, 0.0)
    bitmaps = np.packbits(present, axis=1, bitorder="little")
    for number, name in enumerate(FIGURES):
        column: DoubleColumn = getattr(columns.metrics, name)
        column.values.extend(values[number].tolist())
        if not present[number].all():
            column.presence = bitmaps[number].tobytes()
    return columns


def as_messages(rows: Rows) -> list[ResultRow]:
    """The rows one by one, saying the same as the columns."""
    messages = []
    for index, moment in enumerate(rows.times_ms.tolist()):
        figures = zip(FIGURES, rows.figures[:, index].tolist(), strict=True)
        message = ResultRow(
            id=str(UUID(bytes=rows.ids[index].tobytes())),
            config_index=int(rows.config_indexes[index]),
            metrics=ResultMetrics(**{name: value for name, value in figures if value == value}),
            request_count=int(rows.request_counts[index]),
            failed_request_count=int(rows.failed_counts[index]),
        )
        message.benchmark_time.FromMilliseconds(moment)
        messages.append(message)
    return messages


def header(model: Model, configurations: Sequence[Configuration], stream_id: str) -> StreamHeader:
    """The header of a stream of the model's results, which says that they are simulated."""
    return StreamHeader(
        stream_id=stream_id,
        tool=TOOL,
        tool_version=TOOL_VERSION,
        provenance=Provenance.PROVENANCE_SIMULATED,
        configs=[_spec(model, one) for one in configurations],
    )


def _spec(model: Model, one: Configuration) -> ConfigSpec:
    spec = ConfigSpec()
    spec.reference.model_version.model = model.name
    spec.reference.model_version.quantization = one.quantization
    spec.reference.hardware.name = one.hardware.name
    spec.reference.framework.name = one.framework.name
    spec.workload.workload_type = one.workload.name
    spec.workload.input_tokens = one.workload.input_tokens
    spec.workload.output_tokens = one.workload.output_tokens
    spec.workload.concurrency = one.concurrency
    spec.parallelism.tensor = one.hardware.gpu_count
    return spec


async def create_catalog(stub: Any, models: Sequence[Model]) -> None:
    """Creates the models with their versions, the machines and the frameworks they run on."""
    for hardware in {machine.name: machine for one in models for machine in one.hardware}.values():
        config = hardware_pb2.HardwareConfig(
            name=hardware.name,
            gpu_type=hardware.gpu_type,
            gpu_count=hardware.gpu_count,
            vram_per_gpu_gb=hardware.vram_gb,
            cloud_provider="simulated",
            instance_type=hardware.name.partition("/")[2],
        )
        await stub.CreateHardwareConfig(
            hardware_pb2.CreateHardwareConfigRequest(hardware_config=config)
        )
    for framework in FRAMEWORKS:
        entry = framework_pb2.InferenceFramework(name=framework.name, version=framework.version)
        await stub.CreateInferenceFramework(
            framework_pb2.CreateInferenceFrameworkRequest(inference_framework=entry)
        )
    await asyncio.gather(*(_create_model(stub, model) for model in models))


async def _create_model(stub: Any, model: Model) -> None:
    entry = model_pb2.Model(
        name=model.name, architecture="simulated", parameters=model.billions * 10**9
    )
    created = (await stub.CreateModel(model_pb2.CreateModelRequest(model=entry))).model
    for quantization, bits in QUANTIZATIONS.items():
        version = model_version_pb2.ModelVersion(
            model_id=created.id,
            version="base",
            quantization=quantization,
            quantization_bits=bits,
            format="safetensors",
        )
        await stub.CreateModelVersion(
            model_version_pb2.CreateModelVersionRequest(model_version=version)
        )
