"""Tells the caches what was committed: the relay calls it before it marks an event as published.

First the tags' tokens go from Redis, then the processes are told to forget what has the tags; a
reader that is told and asks Redis finds no reply from before. A repeat does no harm.
"""

from collections.abc import Callable, Iterable, Sequence

import structlog
from google.protobuf.message import DecodeError
from redis.asyncio import Redis

from servemark.cache.v1.cache_pb2 import CacheInvalidation
from servemark.events.v1.event_pb2 import Event
from servemark.runtime.cache.families import CHANNEL, version_key

log = structlog.get_logger()

TagsOf = Callable[[Event], Iterable[str]]


class Bumps:
    """Makes what has the tags of events out of date; `tags_of` says which those are."""

    def __init__(self, redis: Redis, tags_of: TagsOf) -> None:
        self._redis = redis
        self._tags_of = tags_of

    async def __call__(self, payloads: Sequence[bytes]) -> None:
        """Takes the events of a batch together. Raises RedisError or OSError."""
        tags: set[str] = set()
        for payload in payloads:
            try:
                tags.update(self._tags_of(Event.FromString(payload)))
            except DecodeError:
                log.warning("event cannot be read")
        if not tags:
            return
        async with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.unlink(*(version_key(tag) for tag in tags))
            pipeline.publish(CHANNEL, CacheInvalidation(tags=sorted(tags)).SerializeToString())
            await pipeline.execute()
