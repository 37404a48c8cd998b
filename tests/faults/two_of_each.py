"""Two processes of each service that remembers something, with a Redis of their own."""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, cast

import grpc

from servemark.catalog.v1.catalog_service_pb2_grpc import CatalogServiceStub
from servemark.embedded import EmbeddedValkey
from servemark.gateway.v1.admin_service_pb2_grpc import AdminServiceStub
from servemark.ingest.v1.ingest_service_pb2_grpc import IngestServiceStub
from servemark.ranking.v1.ranking_service_pb2_grpc import RankingServiceStub
from servemark.runtime.settings import ServiceName
from tests.rpc.ranking.world import World
from tests.support import servers
from tests.support.service_process import service_process
from tests.support.stack import RunningStack, free_block, running_stack

_TWICE: tuple[ServiceName, ...] = ("catalog", "ranking", "gateway")


@dataclass(frozen=True)
class TwoOfEach:
    """The running stack, the block of ports of the second processes, and their Redis."""

    stack: RunningStack
    second: int
    valkey: EmbeddedValkey
    ids: dict[str, str]

    @asynccontextmanager
    async def callers(self) -> AsyncIterator["Callers"]:
        """Stubs of both processes of each service, the first process first."""
        first = self.stack.settings
        ports = {name: (first.port(name), self.second + first.port_offset(name)) for name in _TWICE}
        targets = {name: [f"127.0.0.1:{port}" for port in both] for name, both in ports.items()}
        named = [(name, target) for name, both in targets.items() for target in both]
        channels: dict[str, list[grpc.aio.Channel]] = {name: [] for name in _TWICE}
        for name, target in named:
            channels[name].append(grpc.aio.insecure_channel(target))
        ingest = grpc.aio.insecure_channel(first.target("ingest"))
        try:
            catalogs = [CatalogServiceStub(channel) for channel in channels["catalog"]]
            rankings = [RankingServiceStub(channel) for channel in channels["ranking"]]
            made = World(
                self.stack.environment["SERVEMARK_DATABASE_URL"],
                catalogs[0],
                IngestServiceStub(ingest),
                rankings[0],
                {},
                dict(self.ids),
            )
            yield Callers(
                made,
                catalogs,
                rankings,
                [AdminServiceStub(channel) for channel in channels["gateway"]],
                [CatalogServiceStub(channel) for channel in channels["gateway"]],
            )
        finally:
            for channel in (ingest, *(one for both in channels.values() for one in both)):
                await channel.close()


@dataclass(frozen=True)
class Callers:
    """Stubs, each list with one for either process; `behind` is the catalog through the gateways.

    What `world` does, it does with the first processes.
    """

    world: World
    catalogs: list[Any]
    rankings: list[Any]
    gateways: list[Any]
    behind: list[Any]


@contextmanager
def two_of_each(dsn: str) -> Iterator[TwoOfEach]:
    """The services on a migrated, empty database, with the small world's catalog, until the end.

    What the second gateway forwards goes to the second processes; there is one ingest.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(servers.temporary_folder())
        valkey = stack.enter_context(EmbeddedValkey(folder / "valkey"))
        quiet = {"SERVEMARK_LOG_LEVEL": "error"}
        first = stack.enter_context(running_stack(dsn, valkey.url(), **quiet))
        first.wait_serving()
        second = free_block()
        environment = {
            **first.environment,
            "SERVEMARK_PORT_BASE": str(second),
            "SERVEMARK_HTTP_PORT": "0",
            "SERVEMARK_INGEST_TARGET": first.settings.target("ingest"),
        }
        for name in _TWICE:
            stack.enter_context(service_process(name, second, environment))
        made = TwoOfEach(first, second, valkey, {})
        made.ids.update(cast(dict[str, str], servers.run_apart(_fill(made))))
        yield made


async def _fill(made: TwoOfEach) -> dict[str, str]:
    async with made.callers() as callers:
        await callers.world.fill_catalog()
        return callers.world.ids
