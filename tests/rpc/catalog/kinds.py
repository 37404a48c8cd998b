"""The six kinds of resources, told alike, so that one test states a promise for all of them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf.struct_pb2 import Struct

from servemark.catalog.v1 import (
    hardware_config_pb2,
    inference_framework_pb2,
    model_pb2,
    model_use_case_pb2,
    model_version_pb2,
    use_case_pb2,
)
from servemark.type.v1.metric_pb2 import Metric, MetricWeight


@dataclass(frozen=True)
class Kind:
    """How to speak about one kind of resource.

    `example(stub, n)` is a valid message, different for each n, whose parents it creates. `change`
    is a field of it and another valid value. `key` names fields that make it unique.
    """

    name: str
    plural: str
    field: str
    plural_field: str
    module: Any
    example: Callable[[Any, int], Awaitable[Any]]
    change: tuple[str, Any]
    key: tuple[str, ...]
    table: str

    def request(self, method: str, **fields: Any) -> Any:
        """The request message of `method`: Create, Get, BatchGet, List, Update or Archive."""
        return getattr(self.module, f"{self._method(method)}Request")(**fields)

    def call(self, stub: Any, method: str, **fields: Any) -> Any:
        """The running call of `method` with a request of these fields."""
        return getattr(stub, self._method(method))(self.request(method, **fields), timeout=10)

    async def create(self, stub: Any, n: int = 1) -> Any:
        """The nth example, created."""
        message = await self.example(stub, n)
        answer = await self.call(stub, "Create", **{self.field: message})
        return getattr(answer, self.field)

    async def get(self, stub: Any, identifier: str) -> Any:
        """The resource with this id."""
        return getattr(await self.call(stub, "Get", id=identifier), self.field)

    async def update(self, stub: Any, message: Any, *paths: str) -> Any:
        """The resource after an update of the named fields."""
        answer = await self.call(
            stub, "Update", **{self.field: message, "update_mask": {"paths": paths}}
        )
        return getattr(answer, self.field)

    async def archive(self, stub: Any, identifier: str, etag: str = "") -> Any:
        """The archived resource."""
        answer = await self.call(stub, "Archive", id=identifier, etag=etag)
        return getattr(answer, self.field)

    async def ids(self, stub: Any, **fields: Any) -> list[str]:
        """The ids of one page."""
        answer = await self.call(stub, "List", **fields)
        return [entry.id for entry in getattr(answer, self.plural_field)]

    def _method(self, method: str) -> str:
        return f"{method}{self.plural if method in ('BatchGet', 'List') else self.name}"


def struct(values: dict[str, Any]) -> Struct:
    """The free JSON object of these values."""
    built = Struct()
    built.update(values)
    return built


def model(n: int = 1, **fields: Any) -> model_pb2.Model:
    """A valid model."""
    values: dict[str, Any] = {
        "name": f"org/Model-{n:03}",
        "architecture": "llama",
        "parameters": 7_000_000_000,
        "tags": ["chat"],
    }
    return model_pb2.Model(**(values | fields))


def model_version(model_id: str, n: int = 1, **fields: Any) -> model_version_pb2.ModelVersion:
    """A valid version of a model."""
    values: dict[str, Any] = {
        "model_id": model_id,
        "version": f"v{n:03}",
        "quantization": "bf16",
        "quantization_bits": 16,
        "format": "safetensors",
    }
    return model_version_pb2.ModelVersion(**(values | fields))


def hardware(n: int = 1, **fields: Any) -> hardware_config_pb2.HardwareConfig:
    """A valid hardware configuration."""
    values: dict[str, Any] = {
        "name": f"aws/p5.{n:03}",
        "gpu_type": "H100-80GB",
        "gpu_count": 8,
        "vram_per_gpu_gb": 80,
        "cloud_provider": "aws",
        "instance_type": f"p5.{n:03}",
    }
    return hardware_config_pb2.HardwareConfig(**(values | fields))


def framework(n: int = 1, **fields: Any) -> inference_framework_pb2.InferenceFramework:
    """A valid inference framework."""
    values: dict[str, Any] = {"name": "vllm", "version": f"0.{n}.0", "supports_streaming": True}
    return inference_framework_pb2.InferenceFramework(**(values | fields))


def use_case(n: int = 1, **fields: Any) -> use_case_pb2.UseCase:
    """A valid use case."""
    values: dict[str, Any] = {
        "category": "text-generation",
        "subcategory": f"chatbot-{n}",
        "pipeline_tag": "text-generation",
        "default_weights": [MetricWeight(metric=Metric.METRIC_TTFT_P90_MS, weight=1)],
    }
    return use_case_pb2.UseCase(**(values | fields))


async def _model(_: Any, n: int) -> Any:
    return model(n)


async def _version(stub: Any, n: int) -> Any:
    return model_version((await MODEL.create(stub, 900 + n)).id, n)


async def _hardware(_: Any, n: int) -> Any:
    return hardware(n)


async def _framework(_: Any, n: int) -> Any:
    return framework(n)


async def _use_case(_: Any, n: int) -> Any:
    return use_case(n)


async def _model_use_case(stub: Any, n: int) -> Any:
    parent, fit = await MODEL.create(stub, 800 + n), await USE_CASE.create(stub, 800 + n)
    return model_use_case_pb2.ModelUseCase(
        model_id=parent.id, use_case_id=fit.id, suitability_score=0.5, priority=n
    )


MODEL = Kind(
    "Model",
    "Models",
    "model",
    "models",
    model_pb2,
    _model,
    ("base_model", "org/other"),
    ("name",),
    "models",
)
MODEL_VERSION = Kind(
    "ModelVersion",
    "ModelVersions",
    "model_version",
    "model_versions",
    model_version_pb2,
    _version,
    ("quantization", "fp8"),
    ("model_id", "version", "quantization", "format"),
    "model_versions",
)
HARDWARE = Kind(
    "HardwareConfig",
    "HardwareConfigs",
    "hardware_config",
    "hardware_configs",
    hardware_config_pb2,
    _hardware,
    ("gpu_count", 4),
    ("name",),
    "hardware_configs",
)
FRAMEWORK = Kind(
    "InferenceFramework",
    "InferenceFrameworks",
    "inference_framework",
    "inference_frameworks",
    inference_framework_pb2,
    _framework,
    ("supports_quantization", True),
    ("name", "version"),
    "inference_frameworks",
)
USE_CASE = Kind(
    "UseCase",
    "UseCases",
    "use_case",
    "use_cases",
    use_case_pb2,
    _use_case,
    ("category", "summarization"),
    ("subcategory",),
    "use_case_taxonomy",
)
MODEL_USE_CASE = Kind(
    "ModelUseCase",
    "ModelUseCases",
    "model_use_case",
    "model_use_cases",
    model_use_case_pb2,
    _model_use_case,
    ("recommended", True),
    ("model_id", "use_case_id"),
    "model_use_cases",
)
KINDS = (MODEL, MODEL_VERSION, HARDWARE, FRAMEWORK, USE_CASE, MODEL_USE_CASE)
