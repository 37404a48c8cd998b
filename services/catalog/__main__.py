"""`python -m services.catalog`: the catalog service, until SIGTERM."""

import asyncio
import sys

from servemark.runtime.server import PortTakenError
from servemark.runtime.settings import load
from servemark.runtime.telemetry import configure_logging
from services.catalog.app import CatalogSettings, create


async def main(settings: CatalogSettings) -> int:
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
    chosen = load(CatalogSettings)
    configure_logging(chosen.log_level, chosen.log_format, "catalog")
    sys.exit(asyncio.run(main(chosen)))
