"""Looks after what a service publishes, beside its relay: losses, old rows, long streams, lag."""

import asyncio
import time
from collections.abc import Mapping, Sequence

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from servemark.runtime.database import Database
from servemark.runtime.events.lag import lag_of, say_waiting
from servemark.runtime.events.marker import LossRepair
from servemark.runtime.events.metrics import RelayMetrics
from servemark.runtime.events.outbox import Outbox, Waiting
from servemark.runtime.events.trim import STREAM_BOUND, trim_stream

log = structlog.get_logger()

_LOOK_SECONDS = 1.0
_MEASURE_SECONDS = 5.0
_TRIM_SECONDS = 30.0
_PIECE = 5_000


class OutboxKeeper:
    """A loop over the chores of one schema's outbox and its `topics`. Several may run at once."""

    def __init__(
        self, database: Database, redis: Redis, topics: Sequence[str], metrics: RelayMetrics
    ) -> None:
        self._outbox = Outbox(database)
        self._redis = redis
        self._topics = topics
        self._metrics = metrics
        self._repair = LossRepair(self._outbox, redis, metrics)

    async def run(self) -> None:
        """Works until cancelled. A Redis or Postgres that is away is waited for, not fatal."""
        measured = trimmed = -_TRIM_SECONDS
        failed = False
        while True:
            now = time.monotonic()
            measures, trims = now - measured >= _MEASURE_SECONDS, now - trimmed >= _TRIM_SECONDS
            measured, trimmed = now if measures else measured, now if trims else trimmed
            try:
                # The outbox first: without Redis there still is one.
                waiting = await self.measure_outbox() if measures else None
                if trims:
                    await self.trim_outbox()
                await self.repair()
                if waiting is not None:
                    await self.measure_streams(waiting)
                if trims:
                    await self.trim_streams()
                failed = False
            except Exception as error:
                if not failed or not isinstance(error, (RedisError, OSError)):
                    log.warning("outbox keeper waits", error=type(error).__name__)
                failed = True
            await asyncio.sleep(_LOOK_SECONDS)

    async def repair(self) -> None:
        """Has all published again that Redis has lost."""
        for topic in self._topics:
            while await self._repair.check(topic):
                pass

    async def trim_outbox(self) -> None:
        """Deletes rows that are too old to be published again, a piece at a time."""
        while await self._outbox.trim(_PIECE) == _PIECE:
            pass

    async def trim_streams(self) -> None:
        """Takes entries away that every group is done with."""
        for topic in self._topics:
            await trim_stream(self._redis, topic)

    async def measure_outbox(self) -> Mapping[str, Waiting]:
        """Measures what waits to be published, by topic."""
        found = await self._outbox.waiting()
        waiting = {topic: found.get(topic, Waiting()) for topic in self._topics}
        for topic, one in waiting.items():
            self._metrics.waiting.labels(topic).set(one.count)
            self._metrics.oldest_seconds.labels(topic).set(one.oldest_seconds)
        return waiting

    async def measure_streams(self, waiting: Mapping[str, Waiting]) -> None:
        """Measures how long the streams are and how far their groups have come.

        Beside the stream it leaves what waits in the outbox, which other services cannot see.
        """
        for topic, one in waiting.items():
            await say_waiting(self._redis, topic, one)
            lag = await lag_of(self._redis, topic)
            self._metrics.stream_length.labels(topic).set(lag.stream_length)
            is_over = lag.stream_length > STREAM_BOUND
            self._metrics.stream_over_bound.labels(topic).set(is_over)
            if is_over:
                log.warning("a group does not follow", topic=topic, length=lag.stream_length)
            for group in lag.groups:
                self._metrics.undelivered.labels(topic, group.name).set(group.undelivered)
                self._metrics.pending.labels(topic, group.name).set(group.pending)
