"""A process that reads one thing many times at once, whenever it is told to.

`python -m tests.cache.reader DSN REDIS_URL` prints a line once it hears of what changes. For each
line on its standard input (how many readers, and when, in seconds since 1970) it prints how many
readers got which value from which level, as JSON. It ends with its input.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from typing import Final

import structlog
from prometheus_client import CollectorRegistry

from servemark.runtime.cache.backlog import outbox_backlog
from servemark.runtime.cache.cache import Cache
from servemark.runtime.cache.families import Family
from servemark.runtime.cache.metrics import CacheMetrics
from servemark.runtime.database import Database
from servemark.runtime.redis_connections import open_cache_redis

LIFETIME_SECONDS: Final = 1.0
_SLOW: Final = Family("slow", "slow:{}", LIFETIME_SECONDS)
# Postgres counts the readings; each takes long enough that all readers come meanwhile.
TABLE: Final = (
    "CREATE SEQUENCE catalog.readings",
    "GRANT ALL ON catalog.readings TO servemark_catalog",
)
_READ: Final = "SELECT nextval('readings')::text, pg_sleep(0.1)"


async def main(dsn: str, redis_url: str) -> None:
    """Reads until the input ends."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    database = Database(dsn, "catalog", pool_size=5)
    redis = open_cache_redis(redis_url)
    backlog = outbox_backlog(Database(dsn, "catalog", pool_size=1))
    cache = Cache(redis, backlog, CacheMetrics(CollectorRegistry()))
    listening = asyncio.create_task(cache.run())
    assert cache.watch is not None

    async def load() -> bytes:
        async with database.driver_transaction() as driver:
            return str(await driver.fetchval(_READ)).encode()

    async def read() -> str:
        reply = await cache.get(_SLOW, _SLOW.key("one"), load, tags=("slow",))
        return f"{reply.message.decode()} {reply.level}"

    while not cache.watch.is_close:
        await asyncio.sleep(0.01)
    print("ready", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        readers, at = line.split()
        await asyncio.sleep(float(at) - time.time())
        found = Counter(await asyncio.gather(*(read() for _ in range(int(readers)))))
        print(json.dumps(found), flush=True)
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    await cache.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
