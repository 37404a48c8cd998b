"""Notices that Redis has lost events, and has the outbox publish them again.

Beside each stream lies a marker: the run of the Redis server that it was set on, and while a repair
is under way the time before which everything is published again. Where it is gone (the server was
emptied, or a group of consumers starts from nothing) or names another run (the server was
restarted, or another took its place, and may have lost the end), a repair begins. Consumers know
the events that they have seen, so that too much is harmless.
"""

from datetime import datetime

import structlog
from redis.asyncio import Redis

from servemark.runtime.events.keys import marker_of
from servemark.runtime.events.metrics import RelayMetrics
from servemark.runtime.events.outbox import Outbox

log = structlog.get_logger()

_PIECE = 5_000
# Nothing is taken back of a marker that another relay, or another loss, has set meanwhile.
_SET_IF = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('SET', KEYS[1], ARGV[2]) end
"""


class LossRepair:
    """Keeps the markers of some topics, all of one outbox. Several may run at once."""

    def __init__(self, outbox: Outbox, redis: Redis, metrics: RelayMetrics) -> None:
        self._outbox = outbox
        self._redis = redis
        self._metrics = metrics

    async def check(self, topic: str) -> bool:
        """Does a piece of the repair that the topic's marker asks for; whether more is left.

        Raises RedisError, and what the database raises.
        """
        key = marker_of(topic)
        run = str((await self._redis.info("server"))["run_id"])
        found = await self._redis.get(key)
        marker = _words(found)
        if marker[:1] != [run]:
            before = await self._outbox.now()
            marker = [run, before.isoformat()]
            await self._redis.set(key, " ".join(marker))
            self._metrics.repairs.labels(topic).inc()
            log.info("events are published again", topic=topic, before=marker[1])
        if len(marker) == 1:
            return False
        if await self._outbox.unpublish(topic, datetime.fromisoformat(marker[1]), _PIECE):
            return True
        # redis-py calls what runs a script on the server "eval".
        await self._redis.eval(_SET_IF, 1, key, " ".join(marker), run)
        return False


def _words(marker: bytes | str | None) -> list[str]:
    return (marker.decode() if isinstance(marker, bytes) else marker or "").split()
