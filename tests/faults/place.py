"""A PostgreSQL of the test's own, with fsync, and an ingest service that can be killed."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from migrations.runner import migrate_async
from servemark.embedded import EmbeddedPostgres
from servemark.runtime.probe import is_serving
from tests.rpc.catalog.serving import serving as serving_catalog
from tests.support import servers
from tests.support.simulation.fleet import models
from tests.support.simulation.messages import create_catalog
from tests.support.stack import free_block

MODELS = 4


class IngestProcess:
    """The ingest service as a process that is started anew each time it was killed."""

    def __init__(self, dsn: str, port_base: int, catalog_port: int) -> None:
        environment = {
            "SERVEMARK_DATABASE_URL": dsn,
            "SERVEMARK_PORT_BASE": str(port_base),
            "SERVEMARK_METRICS_PORT": "0",
            "SERVEMARK_CATALOG_TARGET": f"127.0.0.1:{catalog_port}",
            # Errors are what happens here all the time.
            "SERVEMARK_LOG_LEVEL": "error",
        }
        self.target = f"127.0.0.1:{port_base + 2}"
        self._mother = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.mother"],
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._pid = 0

    def start(self) -> None:
        """Starts it; returns before it serves."""
        if self._mother.stdin is None or self._mother.stdout is None:
            raise AssertionError("the mother has no pipes")
        self._mother.stdin.write("\n")
        self._mother.stdin.flush()
        self._pid = int(self._mother.stdout.readline())

    def kill(self) -> None:
        """Kills it with SIGKILL; returns once its port is free again."""
        os.kill(self._pid, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while _exists(self._pid):
            if time.monotonic() > deadline:
                raise TimeoutError(f"process {self._pid} survived SIGKILL")
            time.sleep(0.001)

    def wait_serving(self) -> None:
        """Returns once it serves."""
        deadline = time.monotonic() + 30
        while not is_serving(self.target, timeout=0.25):
            if time.monotonic() > deadline:
                raise TimeoutError("the service did not start")
            time.sleep(0.05)

    def end(self) -> None:
        """Ends it and what starts it."""
        self._mother.communicate(timeout=20)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@dataclass(frozen=True)
class Place:
    """Where faults happen: the server, and the service that runs on it."""

    postgres: EmbeddedPostgres
    ingest: IngestProcess
    dsn: str


@asynccontextmanager
async def place() -> AsyncIterator[Place]:
    """A running service on a database with the simulated catalog, until the end of the block."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(servers.temporary_folder())
        postgres = stack.enter_context(EmbeddedPostgres(folder / "postgres"))
        dsn = postgres.dsn()
        await migrate_async(dsn, ["catalog", "ingest"])
        catalog = await stack.enter_async_context(serving_catalog(dsn))
        await create_catalog(catalog.stub, models(MODELS))
        ingest = IngestProcess(dsn, free_block(), catalog.app.server.port)
        stack.callback(ingest.end)
        await asyncio.to_thread(ingest.start)
        await asyncio.to_thread(ingest.wait_serving)
        yield Place(postgres, ingest, dsn)
