"""What the gateway costs: the same calls through it and past it, taking turns.

The client, the gateway, the service behind and PostgreSQL are processes that share the machine, so
where its processors are busy, what the gateway takes is missing elsewhere.
"""

import asyncio
import gc
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

import grpc
import psutil

from migrations.runner import migrate_async
from servemark.catalog.v1.catalog_service_pb2_grpc import CatalogServiceStub
from servemark.catalog.v1.model_pb2 import GetModelRequest, ListModelsRequest
from servemark.embedded import EmbeddedPostgres, EmbeddedValkey
from servemark.ingest.v1.ingest_service_pb2_grpc import IngestServiceStub
from servemark.ingest.v1.result_stream_pb2 import AppendResultsRequest, ResultBatch, StreamHeader
from servemark.stack.servers import POSTGRES_SETTINGS
from services.gateway.bootstrap import create_key
from services.gateway.settings import GatewaySettings
from tests.bench.harness import Bench, Figure, measure
from tests.bench.made_rows import MadeRows
from tests.rpc.gateway.stand import PEPPER, Pairs, auth
from tests.rpc.ingest.serving import AppendCall, seed
from tests.support import servers
from tests.support.service_process import service_process
from tests.support.stack import free_block

IN_FLIGHT: Final = 32
CALLS: Final = 3_000
"""In each turn."""
COLUMN_ROWS: Final = 10_000


@dataclass(frozen=True)
class Way:
    """A way to the services: past the gateway, or through it."""

    catalog: Any
    ingest: Any
    key: Pairs


@dataclass(frozen=True)
class Place:
    """All services as processes, and the two ways to them."""

    postgres: EmbeddedPostgres
    gateway: "subprocess.Popen[bytes]"
    through: Way
    past: Way

    def gateway_cpu(self) -> float:
        """Processor time of the gateway so far, in seconds."""
        spent = psutil.Process(self.gateway.pid).cpu_times()
        return spent.user + spent.system


@asynccontextmanager
async def _place() -> AsyncIterator[Place]:
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(servers.temporary_folder())
        postgres = EmbeddedPostgres(folder / "postgres", settings=POSTGRES_SETTINGS)
        dsn = stack.enter_context(postgres).dsn()
        valkey = stack.enter_context(EmbeddedValkey(folder / "valkey"))
        await asyncio.to_thread(asyncio.run, seed(dsn))
        await migrate_async(dsn)
        settings = GatewaySettings(database_url=dsn, key_pepper=PEPPER)  # type: ignore[arg-type]
        key = auth(await create_key(settings, "bench", ["ADMIN"], None))
        base = free_block()
        environment = {
            "SERVEMARK_DATABASE_URL": dsn,
            "SERVEMARK_REDIS_URL": valkey.url(),
            "SERVEMARK_KEY_PEPPER": PEPPER,
            # Limits are kept here, and not met.
            "SERVEMARK_KEY_CALLS_PER_SECOND": "1e9",
            "SERVEMARK_KEY_ROWS_PER_SECOND": "1e9",
        }
        for service in ("catalog", "ingest", "ranking"):
            stack.enter_context(service_process(service, base, environment))
        gateway = stack.enter_context(service_process("gateway", base, environment))
        channels = [
            await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{base + offset}"))
            for offset in range(3)
        ]
        through, catalog, ingest = channels
        yield Place(
            postgres,
            gateway,
            Way(CatalogServiceStub(through), IngestServiceStub(through), key),
            Way(CatalogServiceStub(catalog), IngestServiceStub(ingest), key),
        )


@measure("gateway.unary_ratio", unit="calls/s")
async def unary(bench: Bench) -> Figure:
    """GetModel of one model through the gateway, 32 calls in flight; baseline: past it."""
    rates: dict[Way, list[float]] = {}
    async with _place() as place:
        listed = await place.past.catalog.ListModels(ListModelsRequest())
        request = GetModelRequest(id=listed.models[0].id)
        calls = CALLS // 3 if bench.quick else CALLS
        spent = 0.0
        for _ in range(bench.rounds + 1):
            for way in (place.through, place.past):
                before = place.gateway_cpu()
                rates.setdefault(way, []).append(calls / await _rush(way, request, calls))
                spent += place.gateway_cpu() - before
        alone = [await _rush(way, request, 200, in_flight=1) / 200 for way in rates]
    value, baseline = (median(taken[1:]) for taken in rates.values())
    microseconds = 1e6 * spent / (calls * (bench.rounds + 1))
    note = (
        f"the gateway's CPU {microseconds:.0f} us a call; one call at a time "
        f"{alone[0] * 1e3:.2f} ms, past it {alone[1] * 1e3:.2f} ms"
    )
    return Figure(value, baseline, larger_is_better=True, note=note)


async def _rush(way: Way, request: Any, count: int, *, in_flight: int = IN_FLIGHT) -> float:
    """Seconds that so many calls take."""
    left = iter(range(count))

    async def caller() -> None:
        for _ in left:
            await way.catalog.GetModel(request, metadata=way.key)

    gc.collect()
    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(in_flight)))
    return time.perf_counter() - began


@measure("gateway.stream_ratio", unit="rows/s")
async def stream(bench: Bench) -> Figure:
    """Rows a second of AppendResults in columns through the gateway; baseline: past it."""
    count = 100_000 if bench.quick else 300_000
    rates: dict[Way, list[float]] = {}
    async with _place() as place:
        spent = 0.0
        for _ in range(bench.rounds + 1):
            for way in (place.through, place.past):
                rows = MadeRows(count)
                batches = rows.as_columns(COLUMN_ROWS)
                servers.execute(
                    place.postgres.dsn(), "TRUNCATE ingest.benchmark_results", "CHECKPOINT"
                )
                before = place.gateway_cpu()
                seconds = await _append(way, rows.header(), batches)
                rates.setdefault(way, []).append(count / seconds)
                spent += place.gateway_cpu() - before
                stored = servers.fetch_value(
                    place.postgres.dsn(), "SELECT count(*) FROM ingest.benchmark_results"
                )
                if stored != count:
                    raise AssertionError(f"{stored} of {count} rows were stored")
                await _settle(place.postgres.dsn())
    value, baseline = (median(taken[1:]) for taken in rates.values())
    seconds = 1e6 * spent / (count * (bench.rounds + 1))
    note = f"{count:,} rows; the gateway's CPU s a million rows {seconds:.2f}"
    return Figure(value, baseline, larger_is_better=True, note=note)


async def _append(way: Way, header: StreamHeader, batches: list[ResultBatch]) -> float:
    """Seconds until all is acknowledged."""
    gc.collect()
    began = time.perf_counter()
    call = AppendCall(way.ingest, metadata=way.key)
    await call.open(header)

    async def write() -> None:
        for batch in batches:
            await call.call.write(AppendResultsRequest(batch=batch))
        await call.call.done_writing()

    writing = asyncio.create_task(write())
    for _ in batches:
        await call.read()
    await writing
    return time.perf_counter() - began


async def _settle(dsn: str) -> None:
    """Returns once the roll-ups have caught up."""
    marks = (
        "SELECT (SELECT count(*) FROM ingest.dirty_days)"
        " + (SELECT count(*) FROM ingest.dirty_configs)"
    )
    async with asyncio.timeout(120):
        while await asyncio.to_thread(servers.fetch_value, dsn, marks):
            await asyncio.sleep(0.1)
