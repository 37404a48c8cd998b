"""How far the events of a topic have come, as far as Redis tells."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from servemark.runtime.events.keys import outbox_of, stream_of
from servemark.runtime.events.outbox import Waiting

# What was said of an outbox is believed for so long.
_SAID_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Group:
    """A group of a stream: how many events it was not given yet, and has not acknowledged."""

    name: str
    undelivered: int
    pending: int
    last_delivered: str


@dataclass(frozen=True, slots=True)
class Lag:
    """What waits in a topic. `outbox` is None where its owner was silent for a minute."""

    topic: str
    outbox: Waiting | None
    stream_length: int
    groups: Sequence[Group]


async def groups_of(redis: Redis, topic: str) -> list[Group]:
    """The topic's groups; none where there is no stream."""
    try:
        found: list[dict[str, Any]] = await redis.xinfo_groups(stream_of(topic))
    except ResponseError:
        return []
    return [
        Group(
            name=group["name"].decode(),
            # Redis does not know it after some trims; then it is not more than the length.
            undelivered=int(group["lag"] or 0),
            pending=int(group["pending"]),
            last_delivered=group["last-delivered-id"].decode(),
        )
        for group in found
    ]


async def lag_of(redis: Redis, topic: str) -> Lag:
    """What waits in the topic. Raises RedisError."""
    said: dict[Any, Any] = await redis.hgetall(outbox_of(topic))
    outbox = Waiting(int(said[b"count"]), float(said[b"oldest_seconds"])) if said else None
    length = await redis.xlen(stream_of(topic))
    return Lag(topic, outbox, length, await groups_of(redis, topic))


async def say_waiting(redis: Redis, topic: str, waiting: Waiting) -> None:
    """Leaves word of the topic's outbox, which only its owner can see, for a minute."""
    said: dict[Any, Any] = {"count": waiting.count, "oldest_seconds": waiting.oldest_seconds}
    async with redis.pipeline() as pipeline:
        pipeline.hset(outbox_of(topic), mapping=said)
        pipeline.expire(outbox_of(topic), _SAID_SECONDS)
        await pipeline.execute()
