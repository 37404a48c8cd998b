"""The outbox of a service's schema: events, written in the transaction of their change."""

from sqlalchemy import Column, DateTime, Index, LargeBinary, MetaData, Table, Text, Uuid, text
from sqlalchemy.ext.asyncio import AsyncConnection

from servemark.events.v1.event_pb2 import Event
from servemark.runtime.ids import uuid7


def outbox_table(metadata: MetaData) -> Table:
    """The table every service that publishes has in its schema, as its migration makes it."""
    outbox = Table(
        "outbox",
        metadata,
        Column("id", Uuid, primary_key=True),
        Column("topic", Text, nullable=False),
        Column("payload", LargeBinary, nullable=False),
        Column("created_at", DateTime(timezone=True), nullable=False),
        Column("published_at", DateTime(timezone=True)),
    )
    Index("idx_outbox_unpublished", outbox.c.id, postgresql_where=text("published_at IS NULL"))
    Index(
        "idx_outbox_published_at",
        outbox.c.published_at,
        postgresql_where=text("published_at IS NOT NULL"),
    )
    return outbox


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
