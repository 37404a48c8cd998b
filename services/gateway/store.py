"""The gateway's SQL: API keys and the log of what was done to them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, insert, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from servemark.runtime.database import Database
from services.gateway.key_limits import NO_OWN_LIMITS, OwnLimits
from services.gateway.tables import api_keys, audit_log


@dataclass(frozen=True, slots=True)
class StoredKey:
    """What checking a key takes. `active`: not revoked, nor expired by Postgres's clock."""

    id: str
    organization_id: UUID
    secret_hmac: bytes
    scopes: frozenset[str]
    active: bool
    limits: OwnLimits = NO_OWN_LIMITS


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is shown: everything but its secret."""

    id: str
    name: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key to be stored, with the HMAC of its secret."""

    id: str
    organization_id: UUID
    name: str
    secret_hmac: bytes
    scopes: tuple[str, ...]
    expires_at: datetime | None
    created_by: str


_SHOWN = (
    api_keys.c.id,
    api_keys.c.name,
    api_keys.c.scopes,
    api_keys.c.created_at,
    api_keys.c.expires_at,
    api_keys.c.revoked_at,
    api_keys.c.last_used_at,
)
_LIMITS = tuple(api_keys.c[field.name] for field in fields(OwnLimits))
_ACTIVE = api_keys.c.revoked_at.is_(None) & or_(
    api_keys.c.expires_at.is_(None), api_keys.c.expires_at > func.now()
)


def _shown(row: Any) -> ApiKey:
    return ApiKey(
        id=row.id,
        name=row.name,
        scopes=tuple(row.scopes),
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        last_used_at=row.last_used_at,
    )


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
                limits=OwnLimits(**{column.name: getattr(row, column.name) for column in _LIMITS}),
            )
            for row in rows
        }

    async def create(self, key: NewKey) -> ApiKey:
        """Stores a key and returns it as shown."""
        async with self._database.transaction() as connection:
            row = (
                await connection.execute(
                    insert(api_keys)
                    .values(
                        id=key.id,
                        organization_id=key.organization_id,
                        name=key.name,
                        secret_hmac=key.secret_hmac,
                        scopes=list(key.scopes),
                        expires_at=key.expires_at,
                        created_by=key.created_by,
                    )
                    .returning(*_SHOWN)
                )
            ).one()
            await _log(
                connection,
                key.organization_id,
                key.created_by,
                "api_key.create",
                key.id,
                {
                    "name": key.name,
                    "scopes": list(key.scopes),
                    "expires_at": key.expires_at.isoformat() if key.expires_at else None,
                },
            )
        return _shown(row)

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

    async def revoke(self, organization_id: UUID, key_id: str, revoked_by: str) -> ApiKey | None:
        """Revokes a key for good and returns it; None where the organization has none with this id.

        A key that was revoked before stays as it is, and nothing is logged.
        """
        mine = (api_keys.c.id == key_id) & (api_keys.c.organization_id == organization_id)
        async with self._database.transaction() as connection:
            revoked = (
                await connection.execute(
                    update(api_keys)
                    .where(mine & api_keys.c.revoked_at.is_(None))
                    .values(revoked_at=func.now())
                    .returning(*_SHOWN)
                )
            ).one_or_none()
            if revoked is not None:
                await _log(connection, organization_id, revoked_by, "api_key.revoke", key_id, {})
                return _shown(revoked)
            row = (await connection.execute(select(*_SHOWN).where(mine))).one_or_none()
        return None if row is None else _shown(row)

    async def set_limits(
        self, organization_id: UUID, key_id: str, limits: OwnLimits, changed_by: str
    ) -> bool:
        """Gives a key limits of its own, all of them anew; False where the organization has none.

        They hold in every gateway within two seconds.
        """
        async with self._database.transaction() as connection:
            changed = await connection.execute(
                update(api_keys)
                .where((api_keys.c.id == key_id) & (api_keys.c.organization_id == organization_id))
                .values(**asdict(limits))
                .returning(api_keys.c.id)
            )
            if changed.one_or_none() is None:
                return False
            own = {name: value for name, value in asdict(limits).items() if value is not None}
            await _log(connection, organization_id, changed_by, "api_key.set_limits", key_id, own)
        return True

    async def record_use(self, ids: Sequence[str]) -> None:
        """Notes that these keys are in use now, to the minute."""
        async with self._database.transaction() as connection:
            await connection.execute(
                update(api_keys)
                .where(api_keys.c.id == func.any(list(ids)))
                .values(last_used_at=func.date_trunc("minute", func.now()))
            )


async def _log(
    connection: AsyncConnection,
    organization_id: UUID,
    actor: str,
    action: str,
    target: str,
    detail: Mapping[str, Any],
) -> None:
    await connection.execute(
        insert(audit_log).values(
            organization_id=organization_id,
            actor=actor,
            action=action,
            target=target,
            detail=dict(detail),
        )
    )
