"""Shortens streams by what every group has done with, and by nothing else.

A stream trimmed by length would lose what a slow group has not read, and silently what is pending.
A stream that grows because a group does not follow shows in its length (`STREAM_BOUND`).
"""

from typing import Any

from redis.asyncio import Redis

from servemark.runtime.events.keys import order_of, stream_of
from servemark.runtime.events.lag import Group, groups_of

STREAM_BOUND = 1_000_000
"""A stream longer than this has a group that does not follow: somebody has to look."""
_PIECE = 10_000


async def trim_stream(redis: Redis, topic: str) -> int:
    """Takes entries away that every group has acknowledged; how many. Keeps a hundred or so more.

    What nobody has read because there is no group yet stays. A group that is made meanwhile misses
    what was taken away, and asks for it by the marker.
    """
    firsts = [await _first_needed(redis, topic, group) for group in await groups_of(redis, topic)]
    if not firsts:
        return 0
    minimum = min(firsts, key=order_of)
    trimmed = 0
    while True:
        # Whole nodes of the stream at a time: cheap, however many there are.
        taken = await redis.xtrim(stream_of(topic), minid=minimum, approximate=True, limit=_PIECE)
        trimmed += int(taken)
        if not taken:
            return trimmed


async def _first_needed(redis: Redis, topic: str, group: Group) -> str:
    """The id of the group's oldest entry that is pending, or else of the last it was given.

    What it is given from here on comes after that one.
    """
    if group.pending:
        summary: dict[str, Any] = await redis.xpending(stream_of(topic), group.name)
        if summary["pending"]:
            return bytes(summary["min"]).decode()
    return group.last_delivered
