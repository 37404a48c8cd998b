"""Where recommendations are measured: a million simulated results behind the real services.

Results come in through the ingest RPC, the ranking makes its matrix of them, and is started anew,
so that it answers from what it found in Postgres. It reads nothing by itself afterwards.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
import numpy as np
import psutil
from google.protobuf.timestamp_pb2 import Timestamp

from migrations.runner import migrate_async
from servemark.catalog.v1.hardware_config_pb2 import ListHardwareConfigsRequest
from servemark.catalog.v1.hardware_price_pb2 import HardwarePrice, SetHardwarePriceRequest
from servemark.embedded import EmbeddedPostgres
from servemark.ranking.v1.ranking_pb2 import RefreshRankingsRequest
from servemark.ranking.v1.ranking_service_pb2_grpc import RankingServiceStub
from servemark.stack.servers import POSTGRES_SETTINGS
from servemark.type.v1.provenance_pb2 import PurchaseOption
from tests.bench.scale.load import Plan, loading
from tests.rpc.catalog.serving import serving as serving_catalog
from tests.support import servers
from tests.support.service_process import service_process
from tests.support.simulation.fleet import configurations, models
from tests.support.simulation.messages import create_catalog
from tests.support.stack import free_block

FLEET: Final = models(11)
MACHINES: Final = sorted({machine.name for model in FLEET for machine in model.hardware})
_BATCH_ROWS: Final = 10_000
_ROWS_A_DAY: Final = 270_000
_STREAMS: Final = 2
_NEVER: Final = "3600"
_IDLE_SECONDS: Final = 0.15
"""Of processor time in a second, by all of them: what they look after anyway."""


@dataclass(frozen=True)
class Memory:
    """What the ranking process has in memory, in MiB."""

    empty: float
    """Serving, with a matrix of nothing."""
    made: float
    """With the matrix of all results, made by this process."""
    most: float
    """The most there ever was while it was made."""
    loaded: float
    """In a new process, with the matrix as it was stored."""


@dataclass(frozen=True)
class Place:
    """The database and the started ranking, with results of so many `alternatives`."""

    dsn: str
    ranking: Any
    alternatives: int
    memory: Memory

    async def refresh(self) -> None:
        """Has the ranking read everything anew."""
        await self.ranking.RefreshRankings(RefreshRankingsRequest(), timeout=300)


@asynccontextmanager
async def place(rows: int) -> AsyncIterator[Place]:
    """The place with so many results of 10,560 configurations, removed at the end."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(servers.temporary_folder())
        server = stack.enter_context(
            EmbeddedPostgres(folder / "postgres", settings=POSTGRES_SETTINGS)
        )
        dsn = server.dsn()
        await migrate_async(dsn)
        async with serving_catalog(dsn) as catalog:
            await create_catalog(catalog.stub, FLEET)
            await _set_prices(catalog.stub)
        base = free_block()
        environment = {
            "SERVEMARK_DATABASE_URL": dsn,
            "SERVEMARK_RANKING_RECONCILE_SECONDS": _NEVER,
            "SERVEMARK_RANKING_RECONCILE_WITHOUT_EVENTS_SECONDS": _NEVER,
        }
        neighbours = [
            stack.enter_context(service_process(service, base, environment))
            for service in ("catalog", "ingest")
        ]
        with service_process("ranking", base, environment) as maker:
            await _refresh(base)
            empty = _resident(maker.pid)
            await _fill(dsn, f"127.0.0.1:{base + 2}", Plan(FLEET, rows, _BATCH_ROWS, _ROWS_A_DAY))
            found = await _refresh(base)
            made, most = _resident(maker.pid), _most_resident(maker.pid)
        process = stack.enter_context(service_process("ranking", base, environment))
        # What happened while it was down is not known, so it reads everything once.
        again = await _refresh(base)
        if again.matrix_version != found.matrix_version:
            raise AssertionError("the started process made another matrix of the same results")
        if found.alternative_count != sum(len(configurations(model)) for model in FLEET):
            raise AssertionError(f"{found.alternative_count} alternatives")
        # That it reads once more by itself shows at those whom it asks, too.
        await _settle([process.pid, *(each.pid for each in neighbours)])
        channel = await stack.enter_async_context(_channel(base))
        yield Place(
            dsn,
            RankingServiceStub(channel),
            found.alternative_count,
            Memory(empty, made, most, _resident(process.pid)),
        )


async def _set_prices(catalog: Any) -> None:
    """A price on demand for every machine, from a year ago on."""
    since = Timestamp()
    since.FromSeconds(int(time.time()) - 365 * 86_400)
    listed = await catalog.ListHardwareConfigs(ListHardwareConfigsRequest(page_size=1000))
    usd = np.random.default_rng(1).uniform(0.7, 4.5, len(listed.hardware_configs))
    for hardware, each in zip(listed.hardware_configs, usd.tolist(), strict=True):
        price = HardwarePrice(
            hardware_config_id=hardware.id,
            purchase_option=PurchaseOption.PURCHASE_OPTION_ON_DEMAND,
            usd_per_hour=each * hardware.gpu_count,
            valid_from_time=since,
            source="simulated",
        )
        await catalog.SetHardwarePrice(SetHardwarePriceRequest(hardware_price=price))


async def _fill(dsn: str, target: str, plan: Plan) -> None:
    """Sends the results, and returns once every configuration has been condensed."""
    async with loading(target, plan, _STREAMS) as load:
        await load.send(plan.rows)
    waiting = (
        "SELECT (SELECT count(*) FROM ingest.dirty_days)"
        " + (SELECT count(*) FROM ingest.dirty_configs)"
    )
    async with asyncio.timeout(300):
        while await asyncio.to_thread(servers.fetch_value, dsn, waiting):
            await asyncio.sleep(0.2)
    await asyncio.to_thread(
        servers.execute, dsn, "VACUUM ANALYZE ingest.benchmark_results", "CHECKPOINT"
    )


async def _settle(pids: list[int]) -> None:
    """Returns once these processes have done next to nothing for a second."""

    def worked() -> float:
        times = [psutil.Process(pid).cpu_times() for pid in pids]
        return sum(each.user + each.system for each in times)

    async with asyncio.timeout(120):
        before = worked()
        while True:
            await asyncio.sleep(1)
            now = worked()
            if now - before < _IDLE_SECONDS:
                return
            before = now


async def _refresh(base: int) -> Any:
    """What the ranking says after it has read everything."""
    async with _channel(base) as channel:
        return await RankingServiceStub(channel).RefreshRankings(
            RefreshRankingsRequest(), timeout=300
        )


def _channel(base: int) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(f"127.0.0.1:{base + 3}")


def _resident(pid: int) -> float:
    return float(psutil.Process(pid).memory_info().rss) / 2**20


def _most_resident(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    [line] = [line for line in status if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024
