"""A small world: catalog, ingest and ranking in this process, two models, three machines, prices.

`acme/h100x1` costs $4 an hour on demand and $1.50 on the spot market, `acme/h100x8` $30,
`edge/l4x1` $0.80 reserved; `home/l4x1` has no price.
"""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from servemark.catalog.v1 import (
    hardware_config_pb2,
    hardware_price_pb2,
    inference_framework_pb2,
    model_pb2,
    model_version_pb2,
    use_case_pb2,
)
from servemark.catalog.v1.catalog_service_pb2_grpc import CatalogServiceStub
from servemark.catalog.v1.config_reference_pb2 import (
    ConfigReference,
    FrameworkReference,
    HardwareReference,
    ModelVersionReference,
)
from servemark.client.sketch import sketch_of
from servemark.ingest.v1.benchmark_config_pb2 import Workload
from servemark.ingest.v1.benchmark_result_pb2 import ResultMetrics, ResultRow
from servemark.ingest.v1.ingest_service_pb2_grpc import IngestServiceStub
from servemark.ingest.v1.result_stream_pb2 import (
    ConfigSpec,
    ResultBatch,
    StreamHeader,
    StreamResultsRequest,
)
from servemark.runtime.ids import uuid7
from servemark.runtime.tenancy import PLATFORM, Tenant
from servemark.type.v1.metric_pb2 import Metric, MetricLimit, MetricWeight
from servemark.type.v1.provenance_pb2 import Provenance, PurchaseOption
from servemark.type.v1.range_pb2 import TokenRange
from services.catalog import app as catalog_app
from services.catalog.settings import CatalogSettings
from services.ingest import app as ingest_app
from services.ingest.settings import IngestSettings
from tests.rpc.ranking.serving import ranking, running
from tests.support.tenants import said

SMALL, LARGE = "acme/Small-8B", "acme/Large-70B"
H100, H100X8, L4, UNPRICED = "acme/h100x1", "acme/h100x8", "edge/l4x1", "home/l4x1"

ON_DEMAND = PurchaseOption.PURCHASE_OPTION_ON_DEMAND
SPOT = PurchaseOption.PURCHASE_OPTION_SPOT
RESERVED = PurchaseOption.PURCHASE_OPTION_RESERVED

_HARDWARE = (
    (H100, "H100-80GB", 1, 80),
    (H100X8, "H100-80GB", 8, 80),
    (L4, "L4-24GB", 1, 24),
    (UNPRICED, "L4-24GB", 1, 24),
)
_PRICES = (
    (H100, 4.0, ON_DEMAND),
    (H100, 1.5, SPOT),
    (H100X8, 30.0, ON_DEMAND),
    (L4, 0.8, RESERVED),
)


@dataclass(frozen=True)
class Run:
    """One result: figures by their names, on a configuration of which most is filled in."""

    figures: dict[str, float]
    model: str = SMALL
    hardware: str = H100
    concurrency: int = 8
    input_tokens: int | None = 512
    output_tokens: int | None = 256
    provenance: int = Provenance.PROVENANCE_MEASURED
    tool: str = "vllm"
    workload_type: str = "random"
    requests: int | None = None
    ttft_samples: Sequence[float] = ()
    """The latencies that a sketch is sent of; none: no sketch is sent."""


def run(model: str = SMALL, hardware: str = H100, **given: Any) -> Run:
    """A run; what is not a field of Run is a figure."""
    names = {name for name in Run.__dataclass_fields__ if name != "figures"}
    fields = {name: given.pop(name) for name in list(given) if name in names}
    return Run(figures=given, model=model, hardware=hardware, **fields)


@dataclass
class World:
    """The services' stubs, and what tests do with them."""

    dsn: str
    catalog: Any
    ingest: Any
    ranking: Any
    addresses: dict[str, Any]
    ids: dict[str, str] = field(default_factory=dict)

    async def store(self, *runs: Run, tenant: Tenant = PLATFORM) -> list[str]:
        """Streams the runs, one stream for each tool and provenance; their configurations' ids."""
        found: dict[int, str] = {}
        groups: dict[tuple[str, int], list[int]] = {}
        for index, one in enumerate(runs):
            groups.setdefault((one.tool, one.provenance), []).append(index)
        for (tool, provenance), indexes in groups.items():
            header = StreamHeader(
                stream_id=str(uuid4()),
                tool=tool,
                provenance=provenance,  # type: ignore[arg-type]
                configs=[_spec(runs[index]) for index in indexes],
            )
            rows = [_row(place, runs[index]) for place, index in enumerate(indexes)]
            summary = await self.ingest.StreamResults(
                iter(
                    [
                        StreamResultsRequest(header=header),
                        StreamResultsRequest(batch=ResultBatch(sequence=0, rows=rows)),
                    ]
                ),
                timeout=20,
                metadata=said(tenant),
            )
            if summary.stored_count != len(rows):
                raise AssertionError(f"not stored: {summary}")
            for index, outcome in zip(indexes, summary.configs, strict=True):
                found[index] = outcome.config_id
        return [found[index] for index in range(len(runs))]

    async def add_use_case(
        self,
        name: str = "chatbot",
        weights: dict[int, float] | None = None,
        limits: dict[int, float] | None = None,
        input_tokens: tuple[int, int] | None = None,
    ) -> str:
        """A use case; by default TTFT and throughput weigh alike. Its id."""
        weighed = weights or {
            Metric.METRIC_TTFT_P50_MS: 1.0,
            Metric.METRIC_THROUGHPUT_TOKENS_SEC: 1.0,
        }
        characteristics = use_case_pb2.UseCaseCharacteristics(
            default_limits=limits_of(limits or {}), limits_source="here", weights_source="here"
        )
        if input_tokens is not None:
            characteristics.input_tokens.CopyFrom(
                TokenRange(min=input_tokens[0], max=input_tokens[1])
            )
        answer = await self.catalog.CreateUseCase(
            use_case_pb2.CreateUseCaseRequest(
                use_case=use_case_pb2.UseCase(
                    category="text-generation",
                    subcategory=name,
                    pipeline_tag="text-generation",
                    characteristics=characteristics,
                    default_weights=weights_of(weighed),
                )
            )
        )
        self.ids[name] = answer.use_case.id
        return str(answer.use_case.id)

    async def set_price(
        self, hardware: str, usd: float, option: int = ON_DEMAND, *, at: float | None = None
    ) -> None:
        """Sets a price from `at` on (seconds since 1970; a year ago if None)."""
        valid_from = Timestamp()
        valid_from.FromSeconds(int(time.time() - 365 * 86_400 if at is None else at))
        await self.catalog.SetHardwarePrice(
            hardware_price_pb2.SetHardwarePriceRequest(
                hardware_price=hardware_price_pb2.HardwarePrice(
                    hardware_config_id=self.ids[hardware],
                    purchase_option=option,  # type: ignore[arg-type]
                    usd_per_hour=usd,
                    valid_from_time=valid_from,
                    source="the test",
                )
            )
        )

    async def fill_catalog(self) -> None:
        """Two models with one version each, four machines, three of them priced, one framework."""
        for name, parameters in ((SMALL, 8_000_000_000), (LARGE, 70_000_000_000)):
            model = model_pb2.Model(name=name, architecture="llama", parameters=parameters)
            answer = await self.catalog.CreateModel(model_pb2.CreateModelRequest(model=model))
            self.ids[name] = answer.model.id
            version = model_version_pb2.ModelVersion(
                model_id=answer.model.id,
                version="base",
                quantization="fp8",
                quantization_bits=8,
                format="safetensors",
            )
            await self.catalog.CreateModelVersion(
                model_version_pb2.CreateModelVersionRequest(model_version=version)
            )
        for name, gpu_type, count, vram in _HARDWARE:
            provider, _, instance = name.partition("/")
            hardware = hardware_config_pb2.HardwareConfig(
                name=name,
                gpu_type=gpu_type,
                gpu_count=count,
                vram_per_gpu_gb=vram,
                cloud_provider=provider,
                instance_type=instance,
            )
            created = await self.catalog.CreateHardwareConfig(
                hardware_config_pb2.CreateHardwareConfigRequest(hardware_config=hardware)
            )
            self.ids[name] = created.hardware_config.id
        for name, usd, option in _PRICES:
            await self.set_price(name, usd, option)
        framework = inference_framework_pb2.InferenceFramework(name="vllm", version="0.11.0")
        await self.catalog.CreateInferenceFramework(
            inference_framework_pb2.CreateInferenceFrameworkRequest(inference_framework=framework)
        )


@asynccontextmanager
async def world(
    dsn: str, redis_url: str | None = None, *, follow: bool = False, **settings: Any
) -> AsyncIterator[World]:
    """A world on a migrated, empty database. The ranking follows by itself only if `follow`."""
    async with AsyncExitStack() as stack:
        common = {"database_url": dsn, "redis_url": redis_url, "port_base": 0, "metrics_port": 0}
        catalog = await stack.enter_async_context(
            running(await catalog_app.create(CatalogSettings(**common)))  # type: ignore[arg-type]
        )
        ingest = await stack.enter_async_context(
            running(
                await ingest_app.create(
                    IngestSettings(**common, catalog_target=catalog)  # type: ignore[arg-type]
                )
            )
        )
        stub = await stack.enter_async_context(
            ranking(
                dsn,
                catalog=catalog,
                ingest=ingest,
                background=follow,
                redis_url=redis_url,
                **settings,
            )
        )
        channels = [
            await stack.enter_async_context(grpc.aio.insecure_channel(address))
            for address in (catalog, ingest)
        ]
        made = World(
            dsn,
            CatalogServiceStub(channels[0]),
            IngestServiceStub(channels[1]),
            stub,
            {"catalog": catalog, "ingest": ingest},
        )
        await made.fill_catalog()
        yield made


def weights_of(weights: dict[int, float]) -> list[MetricWeight]:
    """Weights as messages."""
    return [MetricWeight(metric=m, weight=w) for m, w in weights.items()]  # type: ignore[arg-type]


def limits_of(limits: dict[int, float]) -> list[MetricLimit]:
    """Limits as messages."""
    return [MetricLimit(metric=m, limit=v) for m, v in limits.items()]  # type: ignore[arg-type]


def _spec(one: Run) -> ConfigSpec:
    return ConfigSpec(
        reference=ConfigReference(
            model_version=ModelVersionReference(model=one.model),
            hardware=HardwareReference(name=one.hardware),
            framework=FrameworkReference(name="vllm"),
        ),
        workload=Workload(
            workload_type=one.workload_type,
            input_tokens=one.input_tokens,
            output_tokens=one.output_tokens,
            concurrency=one.concurrency,
        ),
    )


def _row(place: int, one: Run) -> ResultRow:
    milliseconds = time.time_ns() // 1_000_000 - 60_000
    ended = Timestamp()
    ended.FromMilliseconds(milliseconds)
    return ResultRow(
        id=str(uuid7(milliseconds)),
        config_index=place,
        benchmark_time=ended,
        metrics=ResultMetrics(**one.figures),
        request_count=one.requests,
        ttft_sketch=sketch_of(one.ttft_samples) if one.ttft_samples else None,
    )
