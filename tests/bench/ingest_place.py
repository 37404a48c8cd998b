"""Where ingest is measured: a database, the services that write to it, and psql beside them."""

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from servemark.embedded import EmbeddedPostgres
from servemark.stack.servers import POSTGRES_SETTINGS
from services.ingest.copy_format import COPY_COLUMNS
from tests.rpc.ingest.serving import seed
from tests.support import servers
from tests.support.service_process import service_process
from tests.support.stack import free_block

_COLUMNS = ", ".join(COPY_COLUMNS)


@dataclass(frozen=True)
class Place:
    """A database with the running services."""

    server: EmbeddedPostgres
    folder: Path
    ingest: "subprocess.Popen[bytes]"
    target: str

    @property
    def dsn(self) -> str:
        """The database, as its owner."""
        return self.server.dsn()

    def stored(self) -> int:
        """Results in the table."""
        return int(servers.fetch_value(self.dsn, "SELECT count(*) FROM ingest.benchmark_results"))

    async def settle(self) -> None:
        """Returns once the roll-ups have caught up: they work hardest when a stream has ended."""
        marks = (
            "SELECT (SELECT count(*) FROM ingest.dirty_days)"
            " + (SELECT count(*) FROM ingest.dirty_configs)"
        )
        async with asyncio.timeout(120):
            while await asyncio.to_thread(servers.fetch_value, self.dsn, marks):
                await asyncio.sleep(0.1)

    def empty(self) -> None:
        """Takes every result away, and leaves nothing for a checkpoint to do."""
        servers.execute(self.dsn, "TRUNCATE ingest.benchmark_results", "CHECKPOINT")

    def copy_out(self, parts: int = 1) -> list[Path]:
        """The stored rows in so many files of one size, in COPY's binary format, in order of id."""
        rows = -(-self.stored() // parts)
        documents = [self.folder / f"rows{part}of{parts}.copy" for part in range(parts)]
        for part, document in enumerate(documents):
            span = f"ORDER BY id OFFSET {part * rows} LIMIT {rows}"
            query = f"(SELECT {_COLUMNS} FROM ingest.benchmark_results {span})"
            self._psql(f"\\copy {query} TO '{document}' (FORMAT binary)")
        return documents

    def copy_in(self, *documents: Path) -> float:
        """Seconds that psql takes to copy the files into the empty table, each at the same time."""
        self.empty()
        started = time.perf_counter()
        table = f"ingest.benchmark_results ({_COLUMNS})"
        commands = [f"\\copy {table} FROM '{document}' (FORMAT binary)" for document in documents]
        with ThreadPoolExecutor(len(commands)) as pool:
            list(pool.map(self._psql, commands))
        return time.perf_counter() - started

    def cpu_seconds(self) -> tuple[float, float]:
        """Processor time so far of the ingest service, and of PostgreSQL's connections to it."""
        service = psutil.Process(self.ingest.pid)
        return _cpu([service, *service.children(recursive=True)]), self._database_cpu()

    def _database_cpu(self) -> float:
        pid = self.server.pid
        if pid is None:
            raise RuntimeError("PostgreSQL does not run")
        postmaster = psutil.Process(pid)
        # Of those that ended, the postmaster knows the sum.
        ended = postmaster.cpu_times()
        running = _cpu(postmaster.children())
        return running + ended.children_user + ended.children_system

    def _psql(self, command: str) -> None:
        subprocess.run(
            [
                self.server.bin_dir / "psql",
                "--no-psqlrc",
                "--quiet",
                "--set=ON_ERROR_STOP=1",
                "-c",
                command,
                self.dsn,
            ],
            check=True,
        )


def _cpu(processes: list[psutil.Process]) -> float:
    total = 0.0
    for process in processes:
        try:
            spent = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += spent.user + spent.system
    return total


@asynccontextmanager
async def place(**settings: str) -> AsyncIterator[Place]:
    """A new database with fsync on, a catalog and an ingest service, until the end of the block."""
    with ExitStack() as stack:
        folder = stack.enter_context(servers.temporary_folder())
        postgres = EmbeddedPostgres(folder / "postgres", settings=POSTGRES_SETTINGS)
        server = stack.enter_context(postgres)
        await asyncio.to_thread(asyncio.run, seed(server.dsn()))
        base = free_block()
        environment = {"SERVEMARK_DATABASE_URL": server.dsn(), **settings}
        stack.enter_context(service_process("catalog", base, environment))
        ingest = stack.enter_context(service_process("ingest", base, environment))
        yield Place(server, folder, ingest, f"127.0.0.1:{base + 2}")
