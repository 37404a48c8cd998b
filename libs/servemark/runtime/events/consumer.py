"""Reads a service's share of event streams and hands each event to its handler.

A handler must be harmless when repeated: events come at least once. An event is acknowledged only
after its handler returned; what a crashed process left pending is claimed after `CLAIM_IDLE_MS`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import structlog
from google.protobuf.message import DecodeError
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from servemark.events.v1.event_pb2 import Event
from servemark.runtime.events.relay import stream_of

log = structlog.get_logger()

CLAIM_IDLE_MS = 30_000
_BLOCK_MS = 1_000
_BATCH = 200

Handler = Callable[[Sequence[Event]], Awaitable[None]]


class EventConsumer:
    """A loop that reads `topics` as one member of the group named after the service."""

    def __init__(
        self, redis: Redis, group: str, member: str, topics: Sequence[str], handler: Handler
    ) -> None:
        self._redis = redis
        self._group = group
        self._member = member
        self._streams = [stream_of(topic) for topic in topics]
        self._handler = handler

    async def ensure_groups(self) -> None:
        """Makes the consumer groups that are missing, from the beginning of their streams."""
        for stream in self._streams:
            try:
                await self._redis.xgroup_create(stream, self._group, id="0", mkstream=True)
            except ResponseError as error:
                if "BUSYGROUP" not in str(error):
                    raise

    async def read_once(self) -> int:
        """Handles one batch of events, stuck ones of crashed members first; returns how many."""
        handled = 0
        for stream in self._streams:
            claimed = await self._redis.xautoclaim(
                stream, self._group, self._member, CLAIM_IDLE_MS, count=_BATCH
            )
            handled += await self._handle(stream, claimed[1])
        answer: Any = await self._redis.xreadgroup(
            self._group,
            self._member,
            dict.fromkeys(self._streams, ">"),
            count=_BATCH,
            block=_BLOCK_MS,
        )
        for stream, entries in _entries(answer):
            handled += await self._handle(stream, entries)
        return handled

    async def _handle(self, stream: Any, entries: Sequence[Any]) -> int:
        if not entries:
            return 0
        events = []
        for _, fields in entries:
            try:
                events.append(Event.FromString((fields or {}).get(b"event", b"")))
            except DecodeError:
                log.warning("event cannot be read", stream=str(stream))
        await self._handler(events)
        await self._redis.xack(stream, self._group, *[identifier for identifier, _ in entries])
        return len(entries)

    async def run(self) -> None:
        """Reads until cancelled. A Redis that is away or was flushed is waited for, not fatal."""
        failures = 0
        task = asyncio.current_task()
        # What reads may lose a cancellation that comes with an answer; the task still knows of it.
        while task is None or not task.cancelling():
            try:
                await self.ensure_groups()
                while task is None or not task.cancelling():
                    await self.read_once()
                    failures = 0
            except asyncio.CancelledError:
                raise
            except Exception as error:
                failures += 1
                # NOGROUP after a flush: the next turn makes the group again.
                if failures == 1 or not isinstance(error, (RedisError, OSError)):
                    log.warning("consumer waits", error=type(error).__name__, text=str(error)[:200])
                await asyncio.sleep(min(5.0, 0.1 * 2**failures))


def _entries(answer: Any) -> list[tuple[Any, Sequence[Any]]]:
    """The (stream, entries) pairs of an XREADGROUP answer in either protocol version."""
    if not answer:
        return []
    if isinstance(answer, dict):
        return [(stream, batches[0] if batches else []) for stream, batches in answer.items()]
    return [(stream, entries) for stream, entries in answer]
