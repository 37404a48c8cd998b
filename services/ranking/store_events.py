"""Which events were taken in: they come at least once, and a repeat should cost nothing."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import delete, func, insert
from sqlalchemy.dialects.postgresql import insert as upsert

from servemark.runtime.database import Database
from servemark.runtime.ids import uuid7
from services.ranking.tables import dead_letters, processed_events

# Far longer than an event can be delivered again.
KEEP = timedelta(days=7)


class EventStore:
    """Remembers events by their ids, and keeps those that cannot be used."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def remember(self, ids: Sequence[UUID], unusable: Sequence[tuple[bytes, str]]) -> int:
        """Notes the events and returns how many are new; keeps unusable (payload, reason) ones."""
        async with self._database.transaction() as connection:
            if unusable:
                await connection.execute(
                    insert(dead_letters),
                    [
                        {"id": uuid7(), "payload": payload, "reason": reason}
                        for payload, reason in unusable
                    ],
                )
            if not ids:
                return 0
            new = await connection.execute(
                upsert(processed_events)
                .values([{"event_id": identifier} for identifier in dict.fromkeys(ids)])
                .on_conflict_do_nothing()
                .returning(processed_events.c.event_id)
            )
            return len(new.all())

    async def forget_old(self) -> None:
        """Deletes what is too old to come again."""
        async with self._database.transaction() as connection:
            await connection.execute(
                delete(processed_events).where(processed_events.c.processed_at < func.now() - KEEP)
            )
