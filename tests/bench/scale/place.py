"""A fresh PostgreSQL with fsync, and the services that take results in, for one run."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

import psutil

from migrations.runner import migrate_async
from servemark.embedded import EmbeddedPostgres
from tests.rpc.catalog.serving import serving as serving_catalog
from tests.support import servers
from tests.support.service_process import service_process
from tests.support.simulation.fleet import Model
from tests.support.simulation.messages import create_catalog
from tests.support.stack import free_block


@dataclass(frozen=True)
class Place:
    """The database and the running service. `processes` are its main processes by title."""

    dsn: str
    target: str
    processes: Mapping[str, psutil.Process]

    def cpu_seconds(self) -> dict[str, float]:
        """Seconds of processor that the client (this process) and each service have used so far."""
        own = psutil.Process().cpu_times()
        services = {title: _cpu_seconds(process) for title, process in self.processes.items()}
        return {"client": own.user + own.system, **services}


def _cpu_seconds(process: psutil.Process) -> float:
    """Of children that have ended, their parent keeps the account."""
    used = sum(process.cpu_times()[:4])
    for child in process.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            used += sum(child.cpu_times()[:4])
    return used


@asynccontextmanager
async def place(fleet: Sequence[Model], settings: Mapping[str, str]) -> AsyncIterator[Place]:
    """The place with the fleet's catalog in it, removed with all its data at the end.

    `settings` are those of PostgreSQL.
    """
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(servers.temporary_folder())
        server = stack.enter_context(EmbeddedPostgres(folder / "postgres", settings=settings))
        dsn = server.dsn()
        await migrate_async(dsn, ["catalog", "ingest"])
        async with serving_catalog(dsn) as catalog:
            await create_catalog(catalog.stub, fleet)
        base = free_block()
        environment = {"SERVEMARK_DATABASE_URL": dsn}
        stack.enter_context(service_process("catalog", base, environment))
        ingest = stack.enter_context(service_process("ingest", base, environment))
        processes = {
            "service": psutil.Process(ingest.pid),
            "postgres": psutil.Process(server.pid),
        }
        yield Place(dsn, f"127.0.0.1:{base + 2}", processes)
