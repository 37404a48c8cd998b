"""The outbox of a service's schema: events, written in the transaction of their change.

It is the truth about what happened; Redis only carries it. A row stays for 48 hours after it was
published, so that it can be published again where Redis loses what it had.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Column, DateTime, Index, LargeBinary, MetaData, Table, Text, Uuid, text
from sqlalchemy.ext.asyncio import AsyncConnection

from servemark.events.v1.event_pb2 import Event
from servemark.runtime.database import Database
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
_CLAIM = text(
    "SELECT id, topic, payload FROM outbox WHERE published_at IS NULL "
    "ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED"
)
# The time of the transaction's beginning, and so one before the event was sent.
_MARK = text("UPDATE outbox SET published_at = now() WHERE id = ANY(:ids)")
_LOCK = "hashtext(current_schema() || '.outbox')"
_SHARE = text(f"SELECT pg_advisory_xact_lock_shared({_LOCK})")
_EXCLUDE = text(f"SELECT pg_advisory_xact_lock({_LOCK})")
_UNPUBLISH = text(
    "UPDATE outbox SET published_at = NULL WHERE id IN ("
    "SELECT id FROM outbox WHERE topic = :topic AND published_at < :before "
    "AND created_at > now() - interval '48 hours' ORDER BY published_at LIMIT :limit)"
)
_TRIM = text(
    "DELETE FROM outbox WHERE id IN ("
    "SELECT id FROM outbox WHERE published_at < now() - interval '48 hours' "
    "ORDER BY published_at LIMIT :limit FOR UPDATE SKIP LOCKED)"
)
_NOW = text("SELECT clock_timestamp()")
_WAITING = text(
    "SELECT topic, count(*) AS events, "
    "extract(epoch FROM clock_timestamp() - min(created_at))::float AS oldest_seconds "
    "FROM outbox WHERE published_at IS NULL GROUP BY topic"
)


async def write_event(connection: AsyncConnection, topic: str, event: Event) -> None:
    """Puts `event` into the schema's outbox, with a new id and the transaction's time."""
    identifier = uuid7()
    event.id = str(identifier)
    event.create_time.GetCurrentTime()
    await connection.execute(
        _INSERT, {"id": identifier, "topic": topic, "payload": event.SerializeToString()}
    )


@dataclass(frozen=True, slots=True)
class Waiting:
    """The events of a topic that are not published yet: how many, and the age of the oldest."""

    count: int = 0
    oldest_seconds: float = 0.0


class Outbox:
    """What relays do with the outbox of the schema that `database` belongs to."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, connection: AsyncConnection, limit: int) -> Sequence[Any]:
        """Unpublished rows (id, topic, payload) that no other relay has, locked until the end.

        From here to the end of the transaction nobody unpublishes anything.
        """
        rows = (await connection.execute(_CLAIM, {"limit": limit})).all()
        if rows:
            await connection.execute(_SHARE)
        return rows

    async def mark(self, connection: AsyncConnection, ids: Sequence[UUID]) -> None:
        """Marks claimed rows as published when the transaction began."""
        await connection.execute(_MARK, {"ids": ids})

    async def now(self) -> datetime:
        """The database's time."""
        async with self._database.transaction() as connection:
            found: datetime = (await connection.execute(_NOW)).scalar_one()
        return found

    async def unpublish(self, topic: str, before: datetime, limit: int) -> int:
        """Has up to `limit` rows that were published before a time published again; how many.

        Relays that have sent something and not yet marked it are waited for: after a first call
        whose `before` has come, all that was sent earlier is found.
        """
        async with self._database.transaction() as connection:
            await connection.execute(_EXCLUDE)
            rows = {"topic": topic, "before": before, "limit": limit}
            return (await connection.execute(_UNPUBLISH, rows)).rowcount

    async def trim(self, limit: int) -> int:
        """Deletes up to `limit` rows that were published more than 48 hours ago; how many."""
        async with self._database.transaction() as connection:
            return (await connection.execute(_TRIM, {"limit": limit})).rowcount

    async def waiting(self) -> dict[str, Waiting]:
        """What waits to be published, by topic; topics without anything are not in it."""
        async with self._database.transaction() as connection:
            rows = (await connection.execute(_WAITING)).all()
        return {row.topic: Waiting(row.events, row.oldest_seconds) for row in rows}
