"""Where events are followed from an outbox to their effects: two schemas, a Valkey, no service.

Events come from the outbox of `ingest`. Their effect is a row in a table beside the inbox of
`ranking`, which nothing keeps from being there twice.
"""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from prometheus_client import CollectorRegistry
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from servemark.events.v1.event_pb2 import Event, ResultsStored
from servemark.runtime.database import Database
from servemark.runtime.events.consumer import EventConsumer
from servemark.runtime.events.inbox import Inbox
from servemark.runtime.events.keeper import OutboxKeeper
from servemark.runtime.events.keys import stream_of
from servemark.runtime.events.metrics import ConsumerMetrics, RelayMetrics
from servemark.runtime.events.outbox import Outbox, write_event
from servemark.runtime.events.relay import OutboxRelay
from servemark.runtime.redis_connections import open_event_redis
from tests.support import servers

TOPIC = "results"
GROUP = "ranking"
POISON = -1
"""The sequence of events whose effect fails."""

_EFFECTS = (
    "CREATE TABLE ranking.effects (event_id uuid NOT NULL)",
    "GRANT ALL ON ranking.effects TO servemark_ranking",
)


@dataclass
class Place:
    """The two sides, and what tests do with them."""

    dsn: str
    url: str
    owner: Database
    user: Database
    # Its types know answers that are not asked for here.
    redis: Any
    failures: list[Exception] = field(default_factory=list)
    """What the next effects fail with, after they have written."""
    relay_registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        self.metrics = RelayMetrics(self.relay_registry)
        self.outbox = Outbox(self.owner)
        self.inbox = Inbox(self.user)
        self.relay = OutboxRelay(self.owner, self.redis, self.metrics)
        self.keeper = OutboxKeeper(self.owner, self.redis, [TOPIC], self.metrics)
        self.consumer = self.member("one")

    def member(self, name: str, group: str = GROUP, **seconds: float) -> EventConsumer:
        """A member of a group. It takes at once what failed, or what another one has left."""
        waits: dict[str, Any] = {"claim_seconds": 0.0, "retry_seconds": 0.0, **seconds}
        metrics = ConsumerMetrics(CollectorRegistry())
        return EventConsumer(
            self.redis, group, name, [TOPIC], self.inbox, self.effect, metrics, **waits
        )

    async def effect(self, connection: AsyncConnection, events: Sequence[Event]) -> None:
        """Writes a row for each event. Raises ValueError where one is poison, and `failures`."""
        rows = [{"id": UUID(event.id)} for event in events]
        await connection.execute(text("INSERT INTO effects VALUES (:id)"), rows)
        if any(event.results_stored.sequence == POISON for event in events):
            raise ValueError("poison\0")
        if self.failures:
            raise self.failures.pop()

    async def write(self, count: int = 1, sequence: int = 0) -> list[UUID]:
        """Commits so many events; their ids."""
        events = [Event(results_stored=ResultsStored(sequence=sequence)) for _ in range(count)]
        async with self.owner.transaction() as connection:
            for event in events:
                await write_event(connection, TOPIC, event)
        return [UUID(event.id) for event in events]

    async def send(self, payload: bytes) -> None:
        """Puts bytes into the outbox, as no code here does."""
        insert = "INSERT INTO outbox VALUES (gen_random_uuid(), :topic, :payload, now())"
        async with self.owner.transaction() as connection:
            await connection.execute(text(insert), {"topic": TOPIC, "payload": payload})

    async def publish(self) -> int:
        """Publishes all that waits; how many events."""
        published = 0
        while more := await self.relay.publish_once():
            published += more
        return published

    async def consume(self, member: EventConsumer | None = None) -> int:
        """Reads until nothing comes any more; how many events were finished."""
        reader, finished = member or self.consumer, 0
        await reader.ensure_groups()
        while more := await reader.read_once(block_seconds=0.001):
            finished += more
        return finished

    async def effects(self) -> Counter[UUID]:
        """How often each event took effect."""
        rows = await self.user.fetch("SELECT event_id FROM effects")
        return Counter(row["event_id"] for row in rows)

    async def settle(self) -> None:
        """Repairs, publishes and consumes until nothing is left to do."""
        while True:
            await self.consumer.ensure_groups()
            await self.keeper.repair()
            done = await self.publish() + await self.consume()
            if not done and not await self.pending():
                return

    async def pending(self) -> int:
        """Events that the group was given and that are not acknowledged."""
        return int((await self.redis.xpending(stream_of(TOPIC), GROUP))["pending"])

    def metric(self, name: str, **labels: str) -> Any:
        """What a metric of the relay's side says; None where it says nothing."""
        return self.relay_registry.get_sample_value(name, labels)


@asynccontextmanager
async def place(dsn: str, url: str) -> AsyncIterator[Place]:
    """A place on a migrated database and an empty Valkey, until the end of the block."""
    servers.execute(dsn, *_EFFECTS)
    owner, user = Database(dsn, "ingest"), Database(dsn, "ranking")
    redis = open_event_redis(url, blocking_seconds=1.0)
    try:
        yield Place(dsn, url, owner, user, redis)
    finally:
        await redis.aclose()
        await owner.close()
        await user.close()
