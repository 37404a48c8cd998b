"""The SQL of users, and of finding the one a token speaks of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert

from servemark.runtime.database import Database
from services.gateway.errors import already_exists
from services.gateway.store_audit import log_change
from services.gateway.store_settings import publishes_by_default
from services.gateway.tables import users


@dataclass(frozen=True, slots=True)
class User:
    """A user as shown."""

    id: UUID
    organization_id: UUID
    email: str
    display_name: str
    role: str
    subject: str | None
    created_at: datetime
    disabled_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewUser:
    """A user to be stored. `email` is in lower case."""

    id: UUID
    organization_id: UUID
    email: str
    display_name: str
    role: str
    subject: str | None
    created_by: str


@dataclass(frozen=True, slots=True)
class StoredUser:
    """What letting a user in takes."""

    id: UUID
    organization_id: UUID
    role: str
    active: bool
    publishes: bool


def by_id(user_id: UUID) -> str:
    """What `find` calls the user with this id."""
    return f"id:{user_id}"


def by_subject(subject: str) -> str:
    """What `find` calls the user whose tokens have this subject."""
    return f"subject:{subject}"


def by_email(email: str) -> str:
    """What `find` calls the user with this email who has no subject."""
    return f"email:{email.lower()}"


_SHOWN = (
    users.c.id,
    users.c.organization_id,
    users.c.email,
    users.c.display_name,
    users.c.role,
    users.c.subject,
    users.c.created_at,
    users.c.disabled_at,
)


class UserStore:
    """Users in the schema `gateway`. A change and its line in the log are one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, names: Sequence[str]) -> Mapping[str, StoredUser]:
        """The users called so by `by_id`, `by_subject` or `by_email`; unknown ones are left out.

        A user with a subject is not found by email: who gets an old address is not who had it.
        """
        wanted: dict[str, list[str]] = {"id": [], "subject": [], "email": []}
        for name in names:
            kind, _, value = name.partition(":")
            wanted[kind].append(value)
        query = select(
            users.c.id,
            users.c.organization_id,
            users.c.role,
            users.c.disabled_at.is_(None).label("active"),
            publishes_by_default(users.c.organization_id).label("publishes"),
            users.c.email,
            users.c.subject,
        ).where(
            or_(
                users.c.id == func.any([UUID(value) for value in wanted["id"]]),
                users.c.subject == func.any(wanted["subject"]),
                users.c.subject.is_(None) & (users.c.email == func.any(wanted["email"])),
            )
        )
        async with self._database.transaction() as connection:
            rows = (await connection.execute(query)).all()
        found: dict[str, StoredUser] = {}
        for row in rows:
            user = StoredUser(row.id, row.organization_id, row.role, row.active, row.publishes)
            found[by_id(row.id)] = user
            name = by_email(row.email) if row.subject is None else by_subject(row.subject)
            found[name] = user
        return found

    async def create(self, user: NewUser) -> User:
        """Stores a user. Raises RESOURCE_EXISTS where the email or the subject is taken."""
        async with self._database.transaction() as connection:
            row = (
                await connection.execute(
                    insert(users)
                    .values(
                        id=user.id,
                        organization_id=user.organization_id,
                        email=user.email,
                        display_name=user.display_name,
                        role=user.role,
                        subject=user.subject,
                    )
                    .on_conflict_do_nothing()
                    .returning(*_SHOWN)
                )
            ).one_or_none()
            if row is None:
                taken = or_(users.c.email == user.email, users.c.subject == user.subject)
                mine = users.c.organization_id == user.organization_id
                raise already_exists(
                    "user",
                    "email or subject",
                    await connection.scalar(select(users.c.id).where(taken & mine).limit(1)),
                )
            await log_change(
                connection,
                user.organization_id,
                user.created_by,
                "user.create",
                str(user.id),
                {"email": user.email, "role": user.role, "subject": user.subject},
            )
        return User(*row)

    async def get(self, organization_id: UUID, user_id: UUID) -> User | None:
        """The user of an organization with this id."""
        mine = (users.c.id == user_id) & (users.c.organization_id == organization_id)
        async with self._database.transaction() as connection:
            row = (await connection.execute(select(*_SHOWN).where(mine))).one_or_none()
        return None if row is None else User(*row)

    async def list(
        self,
        organization_id: UUID,
        *,
        limit: int,
        before: tuple[datetime, UUID] | None,
        include_disabled: bool,
    ) -> list[User]:
        """At most `limit` users of an organization, the newest first, older than `before`."""
        query: Select[Any] = select(*_SHOWN).where(users.c.organization_id == organization_id)
        if before is not None:
            query = query.where(tuple_(users.c.created_at, users.c.id) < before)
        if not include_disabled:
            query = query.where(users.c.disabled_at.is_(None))
        query = query.order_by(users.c.created_at.desc(), users.c.id.desc()).limit(limit)
        async with self._database.transaction() as connection:
            return [User(*row) for row in (await connection.execute(query)).all()]

    async def disable(self, organization_id: UUID, user_id: UUID, disabled_by: str) -> User | None:
        """Disables a user for good; None where the organization has none with this id.

        One that was disabled before stays as it is, and nothing is logged.
        """
        mine = (users.c.id == user_id) & (users.c.organization_id == organization_id)
        async with self._database.transaction() as connection:
            row = (
                await connection.execute(
                    update(users)
                    .where(mine & users.c.disabled_at.is_(None))
                    .values(disabled_at=func.now())
                    .returning(*_SHOWN)
                )
            ).one_or_none()
            if row is not None:
                await log_change(
                    connection, organization_id, disabled_by, "user.disable", str(user_id), {}
                )
                return User(*row)
            row = (await connection.execute(select(*_SHOWN).where(mine))).one_or_none()
        return None if row is None else User(*row)
