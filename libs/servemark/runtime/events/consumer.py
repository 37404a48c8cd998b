"""Reads a service's share of event streams and has each event take effect once.

Events come at least once and in no promised order. One is acknowledged after it took effect or was
put away as a dead letter, so that what a crashed process left pending comes again. An event that
comes again is handled by itself: one that cannot take effect holds up no other.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from servemark.events.v1.event_pb2 import Event
from servemark.runtime.database import translate_database_error
from servemark.runtime.ending import is_ending
from servemark.runtime.errors import ServemarkError
from servemark.runtime.events.inbox import (
    DeadLetter,
    Effect,
    Inbox,
    UnusableEventError,
    id_of,
    read_event,
)
from servemark.runtime.events.keys import marker_of, order_of, stream_of
from servemark.runtime.events.metrics import ConsumerMetrics
from servemark.type.v1.error_reason_pb2 import ErrorReason

log = structlog.get_logger()

BLOCK_SECONDS = 1.0
"""How long a read waits for events; the client that is given has to allow for it."""
CLAIM_SECONDS = 30.0
"""Whoever has not acknowledged an event for so long is taken for dead."""
RETRY_SECONDS = 1.0
"""How long an event that failed waits for its next turn."""
MOST_DELIVERIES = 5
"""An event that fails so often is put away."""
# One that was handed out so often and never came to an end takes its process down with it.
_MOST_CRASHES = 2 * MOST_DELIVERIES
_BATCH = 500
_LONGEST_PAUSE_SECONDS = 2.0


class EventConsumer:
    """A loop that reads `topics` as one member of the group named after the service.

    `committed` is called after new events took effect, when what they did can be seen.
    """

    def __init__(
        self,
        redis: Redis,
        group: str,
        member: str,
        topics: Sequence[str],
        inbox: Inbox,
        effect: Effect,
        metrics: ConsumerMetrics,
        *,
        committed: Callable[[], None] | None = None,
        claim_seconds: float = CLAIM_SECONDS,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self._redis = redis
        self._group = group
        self._member = member
        self._topics = {stream_of(topic).encode(): topic for topic in topics}
        self._inbox = inbox
        self._effect = effect
        self._metrics = metrics
        self._committed = committed
        self._claim_ms = int(claim_seconds * 1000)
        self._retry_ms = int(retry_seconds * 1000)
        self._looked = 0.0

    async def ensure_groups(self) -> None:
        """Makes the groups that are missing, from the beginning of their streams.

        A new group knows only what is still in the stream, so all is asked for that outboxes have.
        """
        for stream, topic in self._topics.items():
            try:
                await self._redis.xgroup_create(stream, self._group, id="0", mkstream=True)
            except ResponseError as error:
                if "BUSYGROUP" not in str(error):
                    raise
            else:
                await self._redis.delete(marker_of(topic))

    async def read_once(self, block_seconds: float = BLOCK_SECONDS) -> int:
        """Handles what failed or got stuck, if it is time to, and one batch of new events.

        Returns how many events were finished: took effect, had done so before, or were put away.
        """
        finished = 0
        if time.monotonic() - self._looked >= self._retry_ms / 1000:
            for stream in self._topics:
                finished += await self._again(stream)
            self._looked = time.monotonic()
        answer: Any = await self._redis.xreadgroup(
            self._group,
            self._member,
            dict.fromkeys(self._topics, ">"),
            count=_BATCH,
            block=int(block_seconds * 1000),
        )
        for stream, entries in _entries(answer):
            finished += await self._new(stream, entries)
        return finished

    async def _new(self, stream: bytes, entries: Sequence[Any]) -> int:
        """Handles entries that come for the first time, together where that goes well."""
        readable, others = _readable(entries)
        if readable:
            try:
                await self._take(stream, dict(readable.values()))
            except Exception as error:
                if is_outage(error):
                    raise
                others = entries
            else:
                await self._acknowledge(stream, list(readable))
        finished = [
            await self._alone(stream, identifier, fields, 1) for identifier, fields in others
        ]
        return len(entries) - len(others) + sum(finished)

    async def _again(self, stream: bytes) -> int:
        """Handles each entry by itself that failed here, or that a dead member has left."""
        left: Any = await self._redis.xautoclaim(
            stream, self._group, self._member, self._claim_ms, count=_BATCH
        )
        entries = {identifier: fields for identifier, fields in left[1] if fields}
        failed = await self._redis.xpending_range(
            stream, self._group, "-", "+", _BATCH, self._member, idle=self._retry_ms
        )
        # To claim what was claimed just now would count it twice.
        ids: list[Any] = [one["message_id"] for one in failed if one["message_id"] not in entries]
        if ids:
            claimed: Any = await self._redis.xclaim(
                stream, self._group, self._member, self._retry_ms, ids
            )
            entries |= {identifier: fields for identifier, fields in claimed if fields}
        if not entries:
            return 0
        pending = await self._redis.xpending_range(
            stream,
            self._group,
            min(entries, key=order_of),
            max(entries, key=order_of),
            2 * _BATCH,
            self._member,
        )
        deliveries: dict[Any, Any] = {one["message_id"]: one["times_delivered"] for one in pending}
        return sum(
            [
                await self._alone(stream, identifier, fields, deliveries.get(identifier, 1))
                for identifier, fields in entries.items()
            ]
        )

    async def _alone(self, stream: bytes, identifier: bytes, fields: Any, deliveries: int) -> bool:
        """Handles one entry; whether it is finished, and not to come again."""
        payload: bytes | None = fields.get(b"event")
        # Of a later kind than this code knows: it is for others.
        if payload is not None and not await self._settle(stream, payload, deliveries):
            return False
        await self._acknowledge(stream, [identifier])
        return True

    async def _settle(self, stream: bytes, payload: bytes, deliveries: int) -> bool:
        """Whether the event took effect, now or before, or was put away."""
        try:
            id_, event = read_event(payload)
        except UnusableEventError as error:
            await self._bury(stream, id_of(payload), payload, str(error), deliveries)
            return True
        if deliveries > _MOST_CRASHES:
            reason = "It never came to an end: each time its process ended before."
            await self._bury(stream, id_, payload, reason, deliveries)
            return True
        try:
            await self._take(stream, {id_: event})
        except Exception as error:
            if is_outage(error):
                raise
            if deliveries < MOST_DELIVERIES:
                return False
            reason = f"{type(error).__name__}: {error}"[:1000]
            await self._bury(stream, id_, payload, reason, deliveries)
        return True

    async def _take(self, stream: bytes, events: dict[UUID, Event]) -> None:
        new = await self._inbox.take(events, self._effect)
        if new and self._committed is not None:
            self._committed()
        topic = self._topics[stream]
        self._metrics.taken.labels(topic).inc(new)
        self._metrics.repeated.labels(topic).inc(len(events) - new)

    async def _bury(
        self, stream: bytes, id_: UUID, payload: bytes, reason: str, deliveries: int
    ) -> None:
        topic = self._topics[stream]
        # Postgres keeps no NUL in a text, and an error's words may hold anything.
        letter = DeadLetter(id_, topic, payload, reason.replace("\0", "?"), deliveries)
        if await self._inbox.bury(letter):
            self._metrics.dead.labels(topic).inc()
            log.warning("event put away", topic=topic, id=str(id_), reason=reason[:200])

    async def _acknowledge(self, stream: bytes, identifiers: Sequence[bytes]) -> None:
        await self._redis.xack(stream, self._group, *identifiers)

    async def run(self) -> None:
        """Reads until cancelled. A Redis or Postgres that is away is waited for, not fatal."""
        failures = 0
        while not is_ending():
            try:
                # What is read while Postgres is away counts as delivered, and would soon be dead.
                await self._inbox.ready()
                await self.ensure_groups()
                while not is_ending():
                    await self.read_once()
                    failures = 0
            except Exception as error:
                failures = min(failures + 1, 10)
                # NOGROUP after a flush: the next turn makes the group again.
                if failures == 1 or not is_outage(error):
                    log.warning("consumer waits", error=type(error).__name__, text=str(error)[:200])
                await asyncio.sleep(min(_LONGEST_PAUSE_SECONDS, 0.05 * 2**failures))


def is_outage(error: Exception) -> bool:
    """Whether something is away that an effect needs: that is no fault of the event."""
    meaning = error if isinstance(error, ServemarkError) else translate_database_error(error)
    if meaning is not None:
        return meaning.reason == ErrorReason.ERROR_REASON_DEPENDENCY_UNAVAILABLE
    return isinstance(error, (RedisError, OSError))


def _readable(
    entries: Sequence[Any],
) -> tuple[dict[bytes, tuple[UUID, Event]], Sequence[Any]]:
    """The entries that hold an event, each with the event's id, and the other ones."""
    readable, others = {}, []
    for identifier, fields in entries:
        try:
            readable[identifier] = read_event(fields[b"event"])
        except (KeyError, UnusableEventError):
            others.append((identifier, fields))
    return readable, others


def _entries(answer: Any) -> list[tuple[bytes, Sequence[Any]]]:
    """The (stream, entries) pairs of an XREADGROUP answer in either protocol version."""
    if not answer:
        return []
    if isinstance(answer, dict):
        return [(stream, batches[0] if batches else []) for stream, batches in answer.items()]
    return [(stream, entries) for stream, entries in answer]
