"""Small catalogs and results for tests, made through the RPCs that users call."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from servemark.catalog.v1 import (
    hardware_config_pb2,
    hardware_price_pb2,
    inference_framework_pb2,
    model_pb2,
    model_version_pb2,
    use_case_pb2,
)
from servemark.client.channel import Client
from servemark.client.records import ResultRecord
from servemark.type.v1.metric_pb2 import Metric, MetricLimit, MetricWeight
from servemark.type.v1.provenance_pb2 import PurchaseOption

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Gpu:
    """Hardware of the small catalog: its name, type, count, and price of the whole instance."""

    name: str
    gpu_type: str
    gpu_count: int
    usd_per_hour: float


GPUS = (
    Gpu("test/h100-1", "H100-80GB", 1, 4.0),
    Gpu("test/h200-1", "H200-141GB", 1, 6.0),
    Gpu("test/l4-1", "L4-24GB", 1, 0.8),
)


def make_catalog(client: Client) -> None:
    """One model in two quantizations, three priced GPUs, one framework and one use case."""
    model = client.catalog.CreateModel(
        model_pb2.CreateModelRequest(
            model=model_pb2.Model(name="test/llama-8b", architecture="llama", parameters=8 * 10**9)
        )
    ).model
    for quantization, bits in (("bf16", 16), ("fp8", 8)):
        client.catalog.CreateModelVersion(
            model_version_pb2.CreateModelVersionRequest(
                model_version=model_version_pb2.ModelVersion(
                    model_id=model.id,
                    version="base",
                    quantization=quantization,
                    quantization_bits=bits,
                    format="safetensors",
                )
            )
        )
    for gpu in GPUS:
        hardware = client.catalog.CreateHardwareConfig(
            hardware_config_pb2.CreateHardwareConfigRequest(
                hardware_config=hardware_config_pb2.HardwareConfig(
                    name=gpu.name,
                    gpu_type=gpu.gpu_type,
                    gpu_count=gpu.gpu_count,
                    vram_per_gpu_gb=80,
                    cloud_provider="test",
                    instance_type=gpu.name.rpartition("/")[2],
                )
            )
        ).hardware_config
        price = hardware_price_pb2.HardwarePrice(
            hardware_config_id=hardware.id,
            purchase_option=PurchaseOption.PURCHASE_OPTION_ON_DEMAND,
            usd_per_hour=gpu.usd_per_hour,
            source="test",
        )
        price.valid_from_time.FromDatetime(START - timedelta(days=365))
        client.catalog.SetHardwarePrice(
            hardware_price_pb2.SetHardwarePriceRequest(hardware_price=price)
        )
    client.catalog.CreateInferenceFramework(
        inference_framework_pb2.CreateInferenceFrameworkRequest(
            inference_framework=inference_framework_pb2.InferenceFramework(
                name="vllm", version="0.11.0", supports_streaming=True
            )
        )
    )
    case = use_case_pb2.UseCase(
        category="text-generation",
        subcategory="chatbot",
        pipeline_tag="text-generation",
        default_weights=[
            MetricWeight(metric=Metric.METRIC_TTFT_P50_MS, weight=0.4),
            MetricWeight(metric=Metric.METRIC_TPOT_P50_MS, weight=0.3),
            MetricWeight(metric=Metric.METRIC_USD_PER_MILLION_TOKENS, weight=0.3),
        ],
    )
    case.characteristics.default_limits.append(
        MetricLimit(metric=Metric.METRIC_TTFT_P99_MS, limit=500)
    )
    client.catalog.CreateUseCase(use_case_pb2.CreateUseCaseRequest(use_case=case))


def record(number: int = 0, **values: Any) -> ResultRecord:
    """One result of the small catalog, `number` seconds after START, with `values` changed."""
    document: dict[str, Any] = {
        "model": "test/llama-8b",
        "model_version": "base",
        "quantization": "fp8",
        "hardware": "test/h100-1",
        "gpu_count": 1,
        "framework": "vllm",
        "framework_version": "0.11.0",
        "workload_type": "random",
        "input_tokens": 512,
        "output_tokens": 256,
        "concurrency": 8,
        "benchmarked_at": (START + timedelta(seconds=number)).isoformat(),
        "ttft_p50_ms": 80.0,
        "ttft_p99_ms": 200.0,
        "tpot_p50_ms": 9.0,
        "throughput_tokens_sec": 900.0,
        "provenance": "measured",
        "tool": "vllm",
    }
    return ResultRecord.from_json({**document, **values})


def records(count: int) -> Iterator[ResultRecord]:
    """`count` different results of one configuration."""
    return (record(number, ttft_p50_ms=50.0 + number % 100) for number in range(count))
