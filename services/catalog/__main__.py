"""`python -m services.catalog`: the catalog service, until SIGTERM."""

import asyncio

from servemark.runtime.settings import load
from servemark.runtime.telemetry import configure_logging
from services.catalog.app import CatalogSettings, create


async def main() -> None:
    """Runs the service. Settings come from the environment."""
    settings = load(CatalogSettings)
    configure_logging(settings.log_level, settings.log_format, "catalog")
    app = await create(settings)
    try:
        await app.server.run(*app.background)
    finally:
        await app.close()


if __name__ == "__main__":
    asyncio.run(main())
