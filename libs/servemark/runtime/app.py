"""What a service is once it is put together, and how its process runs and ends."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from servemark.runtime.server import PortTakenError, ServiceServer
from servemark.runtime.settings import ServiceName, ServiceSettings, load
from servemark.runtime.telemetry import configure_logging

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
    service: ServiceName, settings_type: type[S], create: Callable[[S], Awaitable[App]]
) -> int:
    """Runs a service until SIGTERM or SIGINT; 0 stopped, 1 a port is taken, 2 a wrong setting."""
    settings = load(settings_type)
    configure_logging(settings.log_level, settings.log_format, service)
    return asyncio.run(_serve(create, settings))


async def _serve(create: Callable[[S], Awaitable[App]], settings: S) -> int:
    app = await create(settings)
    try:
        await app.server.run(*app.background)
    except PortTakenError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        await app.close()
    return 0
