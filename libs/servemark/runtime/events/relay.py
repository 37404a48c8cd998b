"""Carries committed events from the outbox to Redis Streams, at least once.

Rows are claimed with SKIP LOCKED and marked after XADD, never by an `id > last` cursor: ids commit
out of order. A crash between XADD and mark sends the event again; consumers dedupe by its id.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from servemark.runtime.database import Database
from servemark.runtime.events.keys import stream_of
from servemark.runtime.events.metrics import RelayMetrics
from servemark.runtime.events.outbox import Outbox

log = structlog.get_logger()

_BATCH = 500
_LONGEST_PAUSE_SECONDS = 2.0


class OutboxRelay:
    """A loop that publishes what is in one schema's outbox. Several may run at once.

    `bump` is called with the payloads of each batch before it is marked: once an event is marked,
    no cache holds what it says has changed.
    """

    def __init__(
        self,
        database: Database,
        redis: Redis,
        metrics: RelayMetrics,
        *,
        interval: float = 0.1,
        bump: Callable[[Sequence[bytes]], Awaitable[None]] | None = None,
    ) -> None:
        self._database = database
        self._outbox = Outbox(database)
        self._redis = redis
        self._metrics = metrics
        self._interval = interval
        self._bump = bump

    async def publish_once(self) -> int:
        """Publishes one batch of waiting events and returns their number."""
        async with self._database.transaction() as connection:
            rows = await self._outbox.claim(connection, _BATCH)
            if not rows:
                return 0
            async with self._redis.pipeline(transaction=False) as pipeline:
                for row in rows:
                    pipeline.xadd(stream_of(row.topic), {"event": row.payload})
                await pipeline.execute()
            if self._bump is not None:
                await self._bump([row.payload for row in rows])
            await self._outbox.mark(connection, [row.id for row in rows])
        self._metrics.published.inc(len(rows))
        return len(rows)

    async def run(self) -> None:
        """Publishes until cancelled. A Redis or Postgres that is away is waited for, not fatal."""
        failures = 0
        while True:
            try:
                published = await self.publish_once()
                failures = 0
            except Exception as error:
                published = 0
                failures = min(failures + 1, 10)
                if failures == 1 or not isinstance(error, (RedisError, OSError)):
                    log.warning("relay waits", error=type(error).__name__)
            if published < _BATCH:
                await asyncio.sleep(min(_LONGEST_PAUSE_SECONDS, self._interval * 2**failures))
