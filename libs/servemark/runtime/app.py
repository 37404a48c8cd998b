"""What a service is once it is put together, and how its process runs and ends."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from servemark.runtime.ports import PortTakenError
from servemark.runtime.server import ServiceServer
from servemark.runtime.settings import ServiceName, ServiceSettings, load
from servemark.runtime.telemetry import configure_logging, keep_metrics_in_files
from servemark.runtime.tls import TlsFilesError
from servemark.runtime.workers import run_workers

S = TypeVar("S", bound=ServiceSettings)


@dataclass(frozen=True)
class App:
    """A service put together, not yet serving.

    Start `server`, run the `background` loops beside it, and `close` once it has stopped; `closing`
    gives back what the service holds, in order.
    """

    server: ServiceServer
    background: Sequence[Callable[[], Awaitable[None]]]
    closing: Sequence[Callable[[], Awaitable[object]]]

    async def close(self) -> None:
        """Gives back everything the service holds."""
        for give_back in self.closing:
            await give_back()


def run_service(
    service: ServiceName,
    settings_type: type[S],
    create: Callable[[S], Awaitable[App]],
    *,
    run: Callable[[Coroutine[Any, Any, None]], None] = asyncio.run,
) -> int:
    """Runs a service until SIGTERM or SIGINT: 0 stopped, 1 it could not start, 2 a wrong setting.

    `run` is what runs a coroutine in an event loop of its own.
    Where the settings ask for several workers, this process starts them and serves nothing itself.
    """
    settings = load(settings_type)
    configure_logging(settings.log_level, settings.log_format, service, settings.worker)
    if settings.worker is not None:
        keep_metrics_in_files(settings.worker)
        running: Coroutine[Any, Any, None] = _serve(create, settings)
    elif settings.workers_of(service) > 1:
        running = run_workers(service, settings)
    else:
        running = _serve(create, settings)
    try:
        run(running)
    except (PortTakenError, TlsFilesError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


async def _serve(create: Callable[[S], Awaitable[App]], settings: S) -> None:
    app = await create(settings)
    try:
        await app.server.run(*app.background)
    finally:
        await app.close()
