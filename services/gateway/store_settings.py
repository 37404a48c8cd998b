"""The SQL of an organization's settings: what holds unless a key says otherwise."""

from typing import Any
from uuid import UUID

from sqlalchemy import Boolean, ColumnElement, cast, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from servemark.runtime.database import Database
from services.gateway.store_audit import log_change
from services.gateway.tables import DEFAULT_ORGANIZATION_ID, organizations, settings

PUBLISHES = "publishes"


def publishes_by_default(organization_id: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether what an organization sends is public unless its key says otherwise.

    Without the setting, the default organization publishes and every other keeps to itself.
    """
    chosen = (
        select(cast(settings.c.value, Boolean))
        .where(settings.c.organization_id == organization_id, settings.c.name == PUBLISHES)
        .scalar_subquery()
    )
    return func.coalesce(chosen, organization_id == DEFAULT_ORGANIZATION_ID)


class SettingStore:
    """Settings in the schema `gateway`. A change and its line in the log are one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def publishes(self, organization_id: UUID) -> bool:
        """Whether what the organization sends is public unless a key says otherwise."""
        async with self._database.transaction() as connection:
            return await _read(connection, organization_id)

    async def set_publishes(self, organization_id: UUID, value: bool, updated_by: str) -> bool:
        """Sets whether what the organization sends is public; the value that holds now."""
        async with self._database.transaction() as connection:
            await connection.execute(
                insert(settings)
                .values(
                    organization_id=organization_id,
                    name=PUBLISHES,
                    value=value,
                    updated_by=updated_by,
                )
                .on_conflict_do_update(
                    index_elements=["organization_id", "name"],
                    set_={"value": value, "updated_at": func.now(), "updated_by": updated_by},
                )
            )
            await log_change(
                connection,
                organization_id,
                updated_by,
                "settings.update",
                str(organization_id),
                {PUBLISHES: value},
            )
            return await _read(connection, organization_id)


async def _read(connection: AsyncConnection, organization_id: UUID) -> bool:
    query = select(publishes_by_default(organizations.c.id))
    row = await connection.execute(query.where(organizations.c.id == organization_id))
    return bool(row.scalar_one())
