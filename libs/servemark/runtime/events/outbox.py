"""Writes an event in the transaction of the change it speaks of.

Every service that publishes has a table `outbox(id uuid, topic text, payload bytea, created_at
timestamptz, published_at timestamptz)` in its schema, with an index on unpublished rows.
"""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from servemark.events.v1.event_pb2 import Event
from servemark.runtime.ids import uuid7

_INSERT = text(
    "INSERT INTO outbox (id, topic, payload, created_at) "
    "VALUES (:id, :topic, :payload, statement_timestamp())"
)


async def write_event(connection: AsyncConnection, topic: str, event: Event) -> None:
    """Puts `event` into the schema's outbox, with a new id and the transaction's time."""
    identifier = uuid7()
    event.id = str(identifier)
    event.create_time.GetCurrentTime()
    await connection.execute(
        _INSERT, {"id": identifier, "topic": topic, "payload": event.SerializeToString()}
    )
