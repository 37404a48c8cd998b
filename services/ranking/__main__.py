"""`python -m services.ranking`: answers what to choose."""

import asyncio
import sys

from servemark.runtime.server import PortTakenError
from servemark.runtime.settings import load
from servemark.runtime.telemetry import configure_logging
from services.ranking.app import create
from services.ranking.settings import RankingSettings


async def main(settings: RankingSettings) -> int:
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
    chosen = load(RankingSettings)
    configure_logging(chosen.log_level, chosen.log_format, "ranking")
    sys.exit(asyncio.run(main(chosen)))
