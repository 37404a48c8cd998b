"""An ingest service and the catalog it asks, in this process, on a database of their own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc

from migrations.runner import migrate_async
from servemark.catalog.v1.hardware_config_pb2 import CreateHardwareConfigRequest, HardwareConfig
from servemark.catalog.v1.inference_framework_pb2 import (
    CreateInferenceFrameworkRequest,
    InferenceFramework,
)
from servemark.catalog.v1.model_pb2 import CreateModelRequest, Model
from servemark.catalog.v1.model_version_pb2 import CreateModelVersionRequest, ModelVersion
from servemark.ingest.v1.ingest_service_pb2_grpc import IngestServiceStub
from servemark.ingest.v1.result_stream_pb2 import (
    AppendResultsRequest,
    BatchAck,
    ResultBatch,
    StreamHeader,
    StreamOpened,
    StreamResultsRequest,
    StreamResultsResponse,
)
from servemark.runtime.app import App
from servemark.runtime.ending import end_tasks
from services.ingest.app import create
from services.ingest.settings import IngestSettings
from tests.rpc.catalog.serving import serving as serving_catalog
from tests.rpc.ingest.builders import (
    FRAMEWORK,
    HARDWARE,
    MODEL,
    OTHER_HARDWARE,
    OTHER_MODEL,
)
from tests.support import servers


@dataclass(frozen=True)
class Served:
    """The service as a client sees it, and its database for looking behind it."""

    stub: Any
    catalog: Any
    app: App
    dsn: str
    catalog_port: int

    def value(self, query: str, *arguments: object) -> Any:
        """The first value a query finds, as a superuser."""
        return servers.fetch_value(self.dsn, query, *arguments)

    def stored(self) -> int:
        """Results in the table."""
        return int(self.value("SELECT count(*) FROM ingest.benchmark_results"))


async def seed(dsn: str) -> None:
    """Migrates the database and puts two models, two machines and a framework into the catalog."""
    await migrate_async(dsn, ["catalog", "ingest"])
    async with serving_catalog(dsn) as catalog:
        for name in (MODEL, OTHER_MODEL):
            model = Model(name=name, architecture="llama", parameters=8_000_000_000)
            created = (await catalog.stub.CreateModel(CreateModelRequest(model=model))).model
            version = ModelVersion(
                model_id=created.id,
                version="base",
                quantization="bf16",
                quantization_bits=16,
                format="safetensors",
            )
            await catalog.stub.CreateModelVersion(CreateModelVersionRequest(model_version=version))
        for name in (HARDWARE, OTHER_HARDWARE):
            provider, _, instance = name.partition("/")
            hardware = HardwareConfig(
                name=name,
                gpu_type="H100-80GB",
                gpu_count=8,
                vram_per_gpu_gb=80,
                cloud_provider=provider,
                instance_type=instance,
            )
            await catalog.stub.CreateHardwareConfig(
                CreateHardwareConfigRequest(hardware_config=hardware)
            )
        framework = InferenceFramework(name=FRAMEWORK, version="0.11.0")
        await catalog.stub.CreateInferenceFramework(
            CreateInferenceFrameworkRequest(inference_framework=framework)
        )


@asynccontextmanager
async def serving_ingest(
    dsn: str, catalog_port: int, redis_url: str | None = None, **settings: Any
) -> AsyncIterator[tuple[Any, App]]:
    """The service on a free port, with its background loops, until the end of the block."""
    values: dict[str, Any] = {
        "database_url": dsn,
        "redis_url": redis_url,
        "port_base": 0,
        "metrics_port": 0,
        "catalog_target": f"127.0.0.1:{catalog_port}",
        "roll_up_seconds": 0.05,
    }
    app = await create(IngestSettings(**(values | settings)))
    await app.server.start()
    background = [asyncio.ensure_future(work()) for work in app.background]
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{app.server.port}") as channel:
            yield IngestServiceStub(channel), app
    finally:
        await end_tasks(background)
        await app.server.stop(0)
        await app.close()


@asynccontextmanager
async def serving(dsn: str, redis_url: str | None = None, **settings: Any) -> AsyncIterator[Served]:
    """Both services until the end of the block."""
    async with AsyncExitStack() as stack:
        catalog = await stack.enter_async_context(serving_catalog(dsn))
        stub, app = await stack.enter_async_context(
            serving_ingest(dsn, catalog.app.server.port, redis_url, **settings)
        )
        yield Served(stub, catalog.stub, app, dsn, catalog.app.server.port)


class AppendCall:
    """One AppendResults call, message by message."""

    def __init__(self, stub: Any, **options: Any) -> None:
        self.call = stub.AppendResults(**options)

    async def open(self, message: StreamHeader) -> StreamOpened:
        """Sends the header; the answer to it."""
        await self.call.write(AppendResultsRequest(header=message))
        opened: StreamOpened = (await self.read()).opened
        return opened

    async def send(self, batch: ResultBatch) -> None:
        """Sends a batch, without waiting for its acknowledgement."""
        await self.call.write(AppendResultsRequest(batch=batch))

    async def append(self, batch: ResultBatch) -> BatchAck:
        """Sends a batch; its acknowledgement."""
        await self.send(batch)
        ack: BatchAck = (await self.read()).ack
        return ack

    async def read(self) -> Any:
        """The next answer. Raises AioRpcError where the call ended without one."""
        answer = await self.call.read()
        if answer is grpc.aio.EOF:
            raise await self.error()
        return answer

    async def error(self) -> grpc.aio.AioRpcError:
        """How the call failed."""
        return grpc.aio.AioRpcError(
            await self.call.code(),
            await self.call.initial_metadata(),
            await self.call.trailing_metadata(),
            await self.call.details(),
        )

    async def close(self) -> None:
        """Says that nothing more comes, and waits for the end of the call."""
        await self.call.done_writing()
        answer = await self.call.read()
        if answer is not grpc.aio.EOF:
            raise AssertionError(f"an answer to nothing: {answer}")
        if await self.call.code() != grpc.StatusCode.OK:
            raise await self.error()


async def append(
    stub: Any, message: StreamHeader, *batches: ResultBatch
) -> tuple[StreamOpened, list[BatchAck]]:
    """A whole AppendResults call: the answer to the header, and the acknowledgements."""
    call = AppendCall(stub)
    opened = await call.open(message)
    acks = [await call.append(batch) for batch in batches]
    await call.close()
    return opened, acks


async def stream(
    stub: Any, message: StreamHeader, *batches: ResultBatch, **options: Any
) -> StreamResultsResponse:
    """A whole StreamResults call: its summary."""
    requests = [
        StreamResultsRequest(header=message),
        *(StreamResultsRequest(batch=batch) for batch in batches),
    ]
    summary: StreamResultsResponse = await stub.StreamResults(iter(requests), **options)
    return summary
