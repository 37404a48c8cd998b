"""The SQL of organizations."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from servemark.runtime.database import Database
from services.gateway.errors import already_exists
from services.gateway.store_audit import log_change
from services.gateway.tables import organizations


@dataclass(frozen=True, slots=True)
class Organization:
    """An organization as it is shown."""

    id: UUID
    name: str
    created_at: datetime


_SHOWN = (organizations.c.id, organizations.c.name, organizations.c.created_at)


class OrganizationStore:
    """Organizations in the schema `gateway`. A change and its line in the log are one."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, organization_id: UUID, name: str, created_by: str) -> Organization:
        """Stores an organization. Raises RESOURCE_EXISTS where the name is taken."""
        async with self._database.transaction() as connection:
            row = (
                await connection.execute(
                    insert(organizations)
                    .values(id=organization_id, name=name)
                    .on_conflict_do_nothing(index_elements=["name"])
                    .returning(*_SHOWN)
                )
            ).one_or_none()
            if row is None:
                raise already_exists("organization", "name", await _id_of(connection, name))
            await log_change(
                connection,
                organization_id,
                created_by,
                "organization.create",
                str(organization_id),
                {"name": name},
            )
        return Organization(*row)

    async def get(self, organization_id: UUID) -> Organization | None:
        """The organization with this id."""
        return await self._one(organizations.c.id == organization_id)

    async def get_by_name(self, name: str) -> Organization | None:
        """The organization with this name."""
        return await self._one(organizations.c.name == name)

    async def list(self, *, limit: int, after: str | None) -> list[Organization]:
        """At most `limit` organizations in order of names, after the one named `after`."""
        # By bytes: any order will do for people, and this one is the same everywhere.
        name = organizations.c.name.collate("C")
        query = select(*_SHOWN).order_by(name).limit(limit)
        if after is not None:
            query = query.where(name > after)
        async with self._database.transaction() as connection:
            return [Organization(*row) for row in (await connection.execute(query)).all()]

    async def rename(
        self, organization_id: UUID, name: str, renamed_by: str
    ) -> Organization | None:
        """Renames an organization; None where there is none. Raises RESOURCE_EXISTS.

        Where it has this name already, nothing is logged.
        """
        mine = organizations.c.id == organization_id
        async with self._database.transaction() as connection:
            before = (
                await connection.execute(select(*_SHOWN).where(mine).with_for_update())
            ).one_or_none()
            if before is None or before.name == name:
                return None if before is None else Organization(*before)
            try:
                async with connection.begin_nested():
                    row = (
                        await connection.execute(
                            update(organizations).where(mine).values(name=name).returning(*_SHOWN)
                        )
                    ).one()
            except IntegrityError as error:
                other = await _id_of(connection, name)
                raise already_exists("organization", "name", other) from error
            await log_change(
                connection,
                organization_id,
                renamed_by,
                "organization.rename",
                str(organization_id),
                {"name": name, "before": before.name},
            )
        return Organization(*row)

    async def _one(self, which: Any) -> Organization | None:
        async with self._database.transaction() as connection:
            row = (await connection.execute(select(*_SHOWN).where(which))).one_or_none()
        return None if row is None else Organization(*row)


async def _id_of(connection: AsyncConnection, name: str) -> UUID | None:
    found: UUID | None = await connection.scalar(
        select(organizations.c.id).where(organizations.c.name == name)
    )
    return found
