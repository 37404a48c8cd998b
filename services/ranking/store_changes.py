"""What events say has changed, in Postgres until a matrix with it is stored and ranked.

It is noted in the transaction that takes the event in. Any process of the service may take it, and
what one took that has died, or failed for long, others take again: reading twice does no harm.
"""

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from servemark.runtime.database import Database
from servemark.runtime.ids import uuid7

# Whoever took a change and has not ranked it for so long is taken for dead. A service that is away
# for longer has its changes read twice.
_TAKEN_SECONDS = 10
# Who has noted a change takes it sooner than that, if all is well.
_LEFT_SECONDS = 3

_NOTE = text("INSERT INTO noted_changes (id, config_ids) VALUES (:id, :config_ids)")
# One that nobody has taken yet says it already: whoever takes it reads afterwards.
_NOTE_ANYTHING = text(
    "INSERT INTO noted_changes (id) SELECT CAST(:id AS uuid) WHERE NOT EXISTS "
    "(SELECT FROM noted_changes WHERE config_ids IS NULL AND taken_at IS NULL)"
)
_TAKE = f"""
    UPDATE noted_changes SET taken_at = now()
    WHERE taken_at IS NULL OR taken_at < now() - interval '{_TAKEN_SECONDS} seconds'
    RETURNING id, config_ids
"""  # noqa: S608
_DONE = "DELETE FROM noted_changes WHERE id = ANY($1)"
_ARE_LEFT = f"""
    SELECT EXISTS (
        SELECT FROM noted_changes
        WHERE taken_at < now() - interval '{_TAKEN_SECONDS} seconds'
            OR taken_at IS NULL AND noted_at < now() - interval '{_LEFT_SECONDS} seconds'
    )
"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class Changes:
    """Changes by their ids, and the configurations that got results; None: anything changed."""

    ids: frozenset[UUID]
    config_ids: frozenset[str] | None


class ChangeStore:
    """Keeps changes of which no ranking is known yet to have them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def note(self, connection: AsyncConnection, config_ids: Collection[str] | None) -> None:
        """Notes that these configurations got results; None: that anything may have changed."""
        if config_ids is None:
            await connection.execute(_NOTE_ANYTHING, {"id": uuid7()})
        else:
            ids = [UUID(config_id) for config_id in config_ids]
            await connection.execute(_NOTE, {"id": uuid7(), "config_ids": ids})

    async def take(self) -> Changes:
        """All changes that nobody is at. What was noted later is for whoever takes next."""
        async with self._database.driver_transaction() as driver:
            rows = await driver.fetch(_TAKE)
        found = [row["config_ids"] for row in rows]
        is_known = None not in found
        return Changes(
            frozenset(row["id"] for row in rows),
            frozenset(str(one) for each in found for one in each) if is_known else None,
        )

    async def done(self, ids: Collection[UUID]) -> None:
        """Forgets changes that are ranked."""
        async with self._database.driver_transaction() as driver:
            await driver.execute(_DONE, list(ids))

    async def are_left(self) -> bool:
        """Whether there are some that nobody takes."""
        [row] = await self._database.fetch(_ARE_LEFT)
        return bool(row[0])
