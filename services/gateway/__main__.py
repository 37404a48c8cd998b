"""`python -m services.gateway`: the one port the outside calls."""

import asyncio
import sys

from servemark.runtime.server import PortTakenError
from servemark.runtime.settings import load
from servemark.runtime.telemetry import configure_logging
from services.gateway.app import create
from services.gateway.settings import GatewaySettings


async def main(settings: GatewaySettings) -> int:
    """Serves until SIGTERM or SIGINT; 0 stopped, 1 the port is taken."""
    app = await create(settings)
    try:
        await app.server.run(*app.background)
    except PortTakenError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        await app.close()
    return 0


if __name__ == "__main__":
    chosen = load(GatewaySettings)
    configure_logging(chosen.log_level, chosen.log_format, "gateway")
    sys.exit(asyncio.run(main(chosen)))
