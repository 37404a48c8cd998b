"""Carries committed events from the outbox to Redis Streams, at least once.

Rows are claimed with SKIP LOCKED and marked after XADD, never by an `id > last` cursor: ids commit
out of order. A crash between XADD and mark sends the event again; consumers dedupe by its id.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy import text

from servemark.runtime.database import Database

log = structlog.get_logger()

STREAM_PREFIX = "servemark:events:"
_BATCH = 500

_CLAIM = text(
    "SELECT id, topic, payload FROM outbox WHERE published_at IS NULL "
    "ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED"
)
_MARK = text("UPDATE outbox SET published_at = clock_timestamp() WHERE id = ANY(:ids)")
_TRIM = text("DELETE FROM outbox WHERE published_at < now() - interval '48 hours'")


def stream_of(topic: str) -> str:
    """The Redis key of a topic's stream."""
    return f"{STREAM_PREFIX}{topic}"


class OutboxRelay:
    """A loop that publishes what is in one schema's outbox. Several may run at once.

    `bump` is called with the payloads of each batch before it is marked: once an event is marked,
    no cache holds what it says has changed.
    """

    def __init__(
        self,
        database: Database,
        redis: Redis,
        *,
        interval: float = 0.1,
        bump: Callable[[Sequence[bytes]], Awaitable[None]] | None = None,
    ) -> None:
        self._database = database
        self._redis = redis
        self._interval = interval
        self._bump = bump

    async def publish_once(self) -> int:
        """Publishes one batch of waiting events and returns their number."""
        async with self._database.transaction() as connection:
            rows = (await connection.execute(_CLAIM, {"limit": _BATCH})).all()
            if not rows:
                return 0
            async with self._redis.pipeline(transaction=False) as pipeline:
                for row in rows:
                    pipeline.xadd(stream_of(row.topic), {"event": row.payload})
                await pipeline.execute()
            if self._bump is not None:
                await self._bump([row.payload for row in rows])
            await connection.execute(_MARK, {"ids": [row.id for row in rows]})
        return len(rows)

    async def run(self) -> None:
        """Publishes until cancelled. A Redis or Postgres that is away is waited for, not fatal."""
        failures = 0
        turns = 0
        while True:
            try:
                published = await self.publish_once()
                failures = 0
                turns += 1
                if turns % 6000 == 1:
                    async with self._database.transaction() as connection:
                        await connection.execute(_TRIM)
            except asyncio.CancelledError:
                raise
            except Exception as error:
                published = 0
                failures += 1
                if failures == 1 or not isinstance(error, (RedisError, OSError)):
                    log.warning("relay waits", error=type(error).__name__)
            if published < _BATCH:
                await asyncio.sleep(min(5.0, self._interval * 2**failures))
