"""What a consuming service remembers of events: those it has seen, and those it could not use.

An event is noted in the transaction of its effect, so that it takes effect once however often it
comes. One that cannot take effect is kept with the reason until it is replayed.
"""

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from google.protobuf.message import DecodeError
from sqlalchemy import (
    Column,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from servemark.events.v1.event_pb2 import Event
from servemark.runtime.database import Database

Effect = Callable[[AsyncConnection, Sequence[Event]], Awaitable[None]]
"""What new events do, within the transaction that notes them. It may run for nothing, if that
transaction fails afterwards; what it does outside of it has to be harmless then, and repeatable."""


def inbox_tables(metadata: MetaData) -> tuple[Table, Table]:
    """The two tables every service that consumes has in its schema, as its migrations make them."""
    processed_events = Table(
        "processed_events",
        metadata,
        Column("event_id", Uuid, primary_key=True),
        Column("processed_at", DateTime(timezone=True), server_default=func.now(), nullable=False),
        Index("ix_processed_events_processed_at", "processed_at"),
    )
    dead_letters = Table(
        "dead_letters",
        metadata,
        # The event's; of bytes that are no event, one that is made of them.
        Column("id", Uuid, primary_key=True),
        Column("payload", LargeBinary, nullable=False),
        Column("reason", Text, nullable=False),
        Column("created_at", DateTime(timezone=True), server_default=func.now(), nullable=False),
        Column("topic", Text, server_default="", nullable=False),
        Column("delivery_count", Integer, server_default="0", nullable=False),
    )
    return processed_events, dead_letters


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that could not take effect. `created_at` is set by the store."""

    id: UUID
    topic: str
    payload: bytes
    reason: str
    delivery_count: int
    created_at: datetime | None = None


# In the order of their ids, so that members with the same events wait for each other and never
# in a circle.
_NOTE = text(
    "INSERT INTO processed_events (event_id) "
    "SELECT unnest(CAST(:ids AS uuid[])) ORDER BY 1 ON CONFLICT DO NOTHING RETURNING event_id"
)
_BURY = text(
    "INSERT INTO dead_letters (id, topic, payload, reason, delivery_count) "
    "VALUES (:id, :topic, :payload, :reason, :delivery_count) ON CONFLICT DO NOTHING"
)
_PAGE = text(
    "SELECT id, topic, payload, reason, delivery_count, created_at FROM dead_letters "
    "WHERE (created_at, id) < (COALESCE(CAST(:time AS timestamptz), 'infinity'), :id) "
    "ORDER BY created_at DESC, id DESC LIMIT :limit"
)
_TAKE_UP = text("DELETE FROM dead_letters WHERE id = :id RETURNING payload")
_FORGET = text(
    "DELETE FROM processed_events WHERE event_id IN (SELECT event_id FROM processed_events "
    "WHERE processed_at < now() - interval '7 days' LIMIT :limit)"
)
_LAST_ID = UUID(int=2**128 - 1)


class UnusableEventError(Exception):
    """Bytes that are no event, or an event without an id; the text says which."""


def read_event(payload: bytes) -> tuple[UUID, Event]:
    """The event in the bytes, and its id. Raises UnusableEventError."""
    try:
        event = Event.FromString(payload)
        return UUID(event.id), event
    except DecodeError as error:
        raise UnusableEventError("The bytes are no event.") from error
    except ValueError as error:
        raise UnusableEventError("The event's id is not a UUID.") from error


def id_of(payload: bytes) -> UUID:
    """An id for bytes that are no event: the same for the same bytes."""
    return UUID(bytes=hashlib.sha256(payload).digest()[:16])


class Inbox:
    """Remembers events in the schema that `database` belongs to."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ready(self) -> bool:
        """Whether Postgres answers. Raises what the driver raises where it does not."""
        return await self._database.ready()

    async def take(self, events: Mapping[UUID, Event], effect: Effect) -> int:
        """Has the events that are new take effect, all or none; how many are."""
        async with self._database.transaction() as connection:
            noted = await connection.execute(_NOTE, {"ids": list(events)})
            new = set(noted.scalars())
            if new:
                await effect(connection, [event for id_, event in events.items() if id_ in new])
        return len(new)

    async def bury(self, letter: DeadLetter) -> bool:
        """Keeps an event that cannot take effect, unless it was seen before; whether it was kept.

        It counts as seen from here on, so that a repeat of it is no second letter.
        """
        async with self._database.transaction() as connection:
            noted = await connection.execute(_NOTE, {"ids": [letter.id]})
            if noted.first() is None:
                return False
            values = {
                "id": letter.id,
                "topic": letter.topic,
                "payload": letter.payload,
                "reason": letter.reason,
                "delivery_count": letter.delivery_count,
            }
            await connection.execute(_BURY, values)
        return True

    async def letters(
        self, limit: int, after: tuple[datetime, UUID] | None = None
    ) -> list[DeadLetter]:
        """Up to `limit` letters, the newest first, after the one with this time and id."""
        time, id_ = after or (None, _LAST_ID)
        async with self._database.transaction() as connection:
            rows = await connection.execute(_PAGE, {"time": time, "id": id_, "limit": limit})
            return [DeadLetter(**row._mapping) for row in rows]

    async def replay(self, id_: UUID, effect: Effect) -> bool:
        """Has a letter's event take effect and takes the letter away; False where there is none.

        Raises UnusableEventError, and what the effect raises; the letter stays then.
        """
        async with self._database.transaction() as connection:
            payload = (await connection.execute(_TAKE_UP, {"id": id_})).scalar()
            if payload is None:
                return False
            await effect(connection, [read_event(payload)[1]])
        return True

    async def forget_old(self, limit: int) -> int:
        """Deletes up to `limit` notes of events too old to come again; how many.

        An event is published again for two days at most; seven are far more than that.
        """
        async with self._database.transaction() as connection:
            return (await connection.execute(_FORGET, {"limit": limit})).rowcount
