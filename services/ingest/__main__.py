"""`python -m services.ingest`: the ingest service, until SIGTERM."""

import asyncio

from servemark.runtime.settings import load
from servemark.runtime.telemetry import configure_logging
from services.ingest.app import IngestSettings, create


async def main() -> None:
    """Runs the service. Settings come from the environment."""
    settings = load(IngestSettings)
    configure_logging(settings.log_level, settings.log_format, "ingest")
    app = await create(settings)
    try:
        await app.server.run(*app.background)
    finally:
        await app.close()


if __name__ == "__main__":
    asyncio.run(main())
