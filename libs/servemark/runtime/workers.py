"""Several processes of one service on one port, and the small process that keeps them running.

The kernel gives each new connection to one of them (SO_REUSEPORT). A worker is the same command as
this process, told by SERVEMARK_WORKER which one it is; it answers for its own health.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from tempfile import TemporaryDirectory

import structlog

from servemark.runtime.lifetime import Restarts, tied
from servemark.runtime.ports import held_port
from servemark.runtime.settings import ServiceName, ServiceSettings
from servemark.runtime.telemetry import WorkerMetrics, metrics_page

log = structlog.get_logger()

# What a worker needs to end beyond the time its calls get.
_END_SECONDS = 3.0


async def run_workers(service: ServiceName, settings: ServiceSettings) -> None:
    """Keeps a service's workers running until SIGTERM or SIGINT, then lets their calls end.

    Raises PortTakenError. If this process is killed, the workers are killed with it.
    """
    stopping = asyncio.Event()
    for stop in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(stop, stopping.set)
    host = settings.bind_host
    with ExitStack() as held:
        port = held.enter_context(held_port(host, settings.port(service)))
        folder = held.enter_context(TemporaryDirectory(prefix="servemark-metrics-"))
        metrics = WorkerMetrics(folder)
        page = metrics_page(host, settings.metrics_port_of(service), metrics.registry)
        held.enter_context(page)
        environment = {
            **os.environ,
            "SERVEMARK_PORT_BASE": str(port - settings.port_offset(service)),
            # One page for all of them, served here.
            "SERVEMARK_METRICS_PORT": "0",
            "PROMETHEUS_MULTIPROC_DIR": folder,
        }
        patience = settings.shutdown_grace_seconds + _END_SECONDS
        async with asyncio.TaskGroup() as group:
            for number in range(1, settings.workers_of(service) + 1):
                worker = _Worker(number, environment, metrics, patience)
                group.create_task(worker.keep_running(stopping))
            log.info("workers started", workers=settings.workers_of(service), port=port)


class _Worker:
    """One place among the workers, taken by one process after another.

    At a stop the process is killed if it has not ended after `patience` seconds.
    """

    def __init__(
        self, number: int, environment: Mapping[str, str], metrics: WorkerMetrics, patience: float
    ) -> None:
        self._number = number
        self._environment = {**environment, "SERVEMARK_WORKER": str(number)}
        self._metrics = metrics
        self._patience = patience
        self._restarts = Restarts()

    async def keep_running(self, stopping: asyncio.Event) -> None:
        """Starts the process, and again whenever it ends, until `stopping` is set."""
        while not stopping.is_set():
            started = time.monotonic()
            status = await self._run_once(stopping)
            self._metrics.forget_running(self._number)
            if stopping.is_set():
                return
            self._metrics.ended.inc()
            pause = self._restarts.pause_after(time.monotonic() - started)
            log.warning("worker ended", worker=self._number, status=status, again_in=pause)
            await _set_within(stopping, pause)

    async def _run_once(self, stopping: asyncio.Event) -> int | None:
        """The status that one process ended with; None where it could not be started."""
        # SIGKILL: there is nobody left to wait for calls to end, and a client sends again what was
        # not acknowledged.
        command = tied([sys.executable, *sys.orig_argv[1:]], signal.SIGKILL)
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                env=self._environment,
                # A Ctrl-C at the terminal is for this process, which stops them in order.
                start_new_session=True,
            )
        except OSError as error:
            log.error("a worker could not be started", worker=self._number, error=str(error))
            return None
        ended = asyncio.create_task(process.wait())
        asked = asyncio.create_task(stopping.wait())
        await asyncio.wait((ended, asked), return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        for end in (process.terminate, process.kill):
            if not ended.done():
                end()
                await asyncio.wait((ended,), timeout=self._patience)
        return await ended


async def _set_within(event: asyncio.Event, seconds: float) -> None:
    """Returns once the event is set, or after so many seconds."""
    waiting = asyncio.create_task(event.wait())
    await asyncio.wait((waiting,), timeout=seconds)
    waiting.cancel()
