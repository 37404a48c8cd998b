"""The SQL of API keys."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Select,
    case,
    exists,
    func,
    insert,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from servemark.runtime.database import Database
from services.gateway.key_limits import NO_OWN_LIMITS, OwnLimits
from services.gateway.store_audit import log_change
from services.gateway.store_settings import publishes_by_default
from services.gateway.tables import api_keys, users


@dataclass(frozen=True, slots=True)
class StoredKey:
    """What checking a key takes, as Postgres's clock has it.

    `active`: neither it nor its user has ended. `previous_hmac`: of the secret before the last
    rotation, while that still works.
    """

    id: str
    organization_id: UUID
    secret_hmac: bytes
    scopes: frozenset[str]
    active: bool
    previous_hmac: bytes | None = None
    hardware: frozenset[str] = frozenset()
    user_id: UUID | None = None
    publishes: bool = False
    limits: OwnLimits = NO_OWN_LIMITS


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is shown: everything but its secret. `publishes` is what holds now."""

    id: str
    organization_id: UUID
    name: str
    scopes: tuple[str, ...]
    hardware: tuple[str, ...]
    user_id: UUID | None
    publishes: bool
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    previous_until: datetime | None
    limits: OwnLimits


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key to be stored, with the HMAC of its secret.

    `publishes` is None where the organization's setting decides.
    """

    id: str
    organization_id: UUID
    name: str
    secret_hmac: bytes
    scopes: tuple[str, ...]
    expires_at: datetime | None
    created_by: str
    hardware: tuple[str, ...]
    user_id: UUID | None
    publishes: bool | None
    limits: OwnLimits


_PUBLISHES = func.coalesce(
    api_keys.c.publishes, publishes_by_default(api_keys.c.organization_id)
).label("publishes")
_LIMITS = tuple(api_keys.c[field.name] for field in fields(OwnLimits))
_SHOWN = (
    api_keys.c.id,
    api_keys.c.organization_id,
    api_keys.c.name,
    api_keys.c.scopes,
    api_keys.c.hardware,
    api_keys.c.user_id,
    _PUBLISHES,
    api_keys.c.created_at,
    api_keys.c.expires_at,
    api_keys.c.revoked_at,
    api_keys.c.last_used_at,
    api_keys.c.previous_until,
    *_LIMITS,
)
_USER_ENDED = exists().where(users.c.id == api_keys.c.user_id, users.c.disabled_at.is_not(None))
_ACTIVE = (
    api_keys.c.revoked_at.is_(None)
    & or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > func.now())
    & ~_USER_ENDED
)


def _shown(row: Any) -> ApiKey:
    values = row._asdict()
    own = OwnLimits(**{column.name: values.pop(column.name) for column in _LIMITS})
    lists = {"scopes": tuple(row.scopes), "hardware": tuple(row.hardware)}
    return ApiKey(**{**values, **lists, "limits": own})


class KeyStore:
    """Keys in the schema `gateway`. Each change and its line in the log are one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, ids: Sequence[str]) -> Mapping[str, StoredKey]:
        """The keys with these ids, by id; those that do not exist are left out."""
        query = select(
            api_keys.c.id,
            api_keys.c.organization_id,
            api_keys.c.secret_hmac,
            api_keys.c.scopes,
            *_LIMITS,
            _ACTIVE.label("active"),
            case((api_keys.c.previous_until > func.now(), api_keys.c.previous_hmac)).label(
                "previous_hmac"
            ),
            api_keys.c.hardware,
            api_keys.c.user_id,
            _PUBLISHES,
        ).where(api_keys.c.id == func.any(list(ids)))
        async with self._database.transaction() as connection:
            rows = (await connection.execute(query)).all()
        return {
            row.id: StoredKey(
                id=row.id,
                organization_id=row.organization_id,
                secret_hmac=row.secret_hmac,
                scopes=frozenset(row.scopes),
                active=row.active,
                previous_hmac=row.previous_hmac,
                hardware=frozenset(row.hardware),
                user_id=row.user_id,
                publishes=row.publishes,
                limits=OwnLimits(**{column.name: getattr(row, column.name) for column in _LIMITS}),
            )
            for row in rows
        }

    async def create(self, key: NewKey) -> ApiKey:
        """Stores a key and returns it as shown."""
        async with self._database.transaction() as connection:
            await connection.execute(
                insert(api_keys).values(
                    id=key.id,
                    organization_id=key.organization_id,
                    name=key.name,
                    secret_hmac=key.secret_hmac,
                    scopes=list(key.scopes),
                    expires_at=key.expires_at,
                    created_by=key.created_by,
                    hardware=list(key.hardware),
                    user_id=key.user_id,
                    publishes=key.publishes,
                    **key.limits.given,
                )
            )
            await log_change(
                connection,
                key.organization_id,
                key.created_by,
                "api_key.create",
                key.id,
                {
                    "name": key.name,
                    "scopes": list(key.scopes),
                    "expires_at": _text(key.expires_at),
                    "hardware": list(key.hardware),
                    "user_id": None if key.user_id is None else str(key.user_id),
                    "publishes": key.publishes,
                    "limits": key.limits.given,
                },
            )
            return await _one(connection, api_keys.c.id == key.id)

    async def get(self, organization_id: UUID, key_id: str) -> ApiKey | None:
        """The key of an organization with this id."""
        async with self._database.transaction() as connection:
            return await _one_or_none(connection, _of(organization_id, key_id))

    async def list(
        self,
        organization_id: UUID,
        *,
        limit: int,
        before: tuple[datetime, str] | None,
        include_inactive: bool,
    ) -> list[ApiKey]:
        """At most `limit` keys of an organization, the newest first, older than `before`."""
        query: Select[Any] = select(*_SHOWN).where(api_keys.c.organization_id == organization_id)
        if before is not None:
            query = query.where(tuple_(api_keys.c.created_at, api_keys.c.id) < before)
        if not include_inactive:
            query = query.where(_ACTIVE)
        query = query.order_by(api_keys.c.created_at.desc(), api_keys.c.id.desc()).limit(limit)
        async with self._database.transaction() as connection:
            return [_shown(row) for row in (await connection.execute(query)).all()]

    async def rotate(
        self,
        organization_id: UUID,
        key_id: str,
        secret_hmac: bytes,
        *,
        overlap: timedelta,
        expires_at: datetime | None,
        rotated_by: str,
    ) -> ApiKey | None:
        """Gives a key another secret; None where the organization has no active key with this id.

        The secret before works for `overlap` more; the one before that ends now. Without
        `expires_at` the key ends when it did.
        """
        mine = _of(organization_id, key_id)
        async with self._database.transaction() as connection:
            rotated = await connection.execute(
                update(api_keys)
                .where(mine & _ACTIVE)
                .values(
                    previous_hmac=api_keys.c.secret_hmac,
                    previous_until=func.now() + overlap,
                    secret_hmac=secret_hmac,
                    expires_at=func.coalesce(expires_at, api_keys.c.expires_at),
                )
            )
            if rotated.rowcount == 0:
                return None
            key = await _one(connection, mine)
            detail = {
                "old_secret_until": _text(key.previous_until),
                "expires_at": _text(key.expires_at),
            }
            await log_change(
                connection, organization_id, rotated_by, "api_key.rotate", key_id, detail
            )
        return key

    async def revoke(self, organization_id: UUID, key_id: str, revoked_by: str) -> ApiKey | None:
        """Revokes a key for good and returns it; None where the organization has none with this id.

        A key that was revoked before stays as it is, and nothing is logged.
        """
        mine = _of(organization_id, key_id)
        async with self._database.transaction() as connection:
            revoked = await connection.execute(
                update(api_keys)
                .where(mine & api_keys.c.revoked_at.is_(None))
                .values(revoked_at=func.now())
            )
            if revoked.rowcount:
                await log_change(
                    connection, organization_id, revoked_by, "api_key.revoke", key_id, {}
                )
            return await _one_or_none(connection, mine)

    async def set_limits(
        self,
        organization_id: UUID,
        key_id: str,
        changes: Mapping[str, float | None],
        changed_by: str,
    ) -> ApiKey | None:
        """Changes limits of a key and returns it; None where the organization has no such key.

        A limit that becomes None is that of the settings again.
        """
        mine = _of(organization_id, key_id)
        async with self._database.transaction() as connection:
            changed = await connection.execute(
                update(api_keys).where(mine).values(**changes).returning(api_keys.c.id)
            )
            if changed.one_or_none() is None:
                return None
            await log_change(
                connection, organization_id, changed_by, "api_key.set_limits", key_id, dict(changes)
            )
            return await _one(connection, mine)

    async def record_use(self, ids: Sequence[str]) -> None:
        """Notes that these keys are in use now, to the minute."""
        async with self._database.transaction() as connection:
            await connection.execute(
                update(api_keys)
                .where(api_keys.c.id == func.any(list(ids)))
                .values(last_used_at=func.date_trunc("minute", func.now()))
            )


def _of(organization_id: UUID, key_id: str) -> ColumnElement[bool]:
    return (api_keys.c.id == key_id) & (api_keys.c.organization_id == organization_id)


async def _one(connection: AsyncConnection, which: ColumnElement[bool]) -> ApiKey:
    return _shown((await connection.execute(select(*_SHOWN).where(which))).one())


async def _one_or_none(connection: AsyncConnection, which: ColumnElement[bool]) -> ApiKey | None:
    row = (await connection.execute(select(*_SHOWN).where(which))).one_or_none()
    return None if row is None else _shown(row)


def _text(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()
