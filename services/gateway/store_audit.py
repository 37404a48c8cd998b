"""The SQL of the log of changes: a line with each change, and what can be read of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from servemark.runtime.database import Database
from services.gateway.tables import audit_log


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One line of the log."""

    id: int
    organization_id: UUID
    logged_at: datetime
    actor: str
    action: str
    target: str
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which lines to read; what is None or empty leaves nothing out.

    `action` with a dot at its end means every action that begins so. `until` is not included.
    """

    organization_id: UUID | None
    actor: str = ""
    action: str = ""
    target: str = ""
    since: datetime | None = None
    until: datetime | None = None


async def log_change(
    connection: AsyncConnection,
    organization_id: UUID,
    actor: str,
    action: str,
    target: str,
    detail: Mapping[str, Any],
) -> None:
    """Writes a line in the transaction of the change itself. `detail` holds no secret."""
    await connection.execute(
        insert(audit_log).values(
            organization_id=organization_id,
            actor=actor,
            action=action,
            target=target,
            detail=dict(detail),
        )
    )


class AuditStore:
    """Reads the log in the schema `gateway`, to which lines are only ever added."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(
        self, wanted: AuditFilter, *, limit: int, before: tuple[datetime, int] | None
    ) -> list[AuditEntry]:
        """At most `limit` lines, the newest first, older than `before`."""
        log = audit_log.c
        query = select(
            log.id,
            log.organization_id,
            log.logged_at,
            log.actor,
            log.action,
            log.target,
            log.detail,
        )
        if wanted.organization_id is not None:
            query = query.where(log.organization_id == wanted.organization_id)
        if wanted.actor:
            query = query.where(log.actor == wanted.actor)
        if wanted.action.endswith("."):
            query = query.where(log.action.startswith(wanted.action, autoescape=True))
        elif wanted.action:
            query = query.where(log.action == wanted.action)
        if wanted.target:
            query = query.where(log.target == wanted.target)
        if wanted.since is not None:
            query = query.where(log.logged_at >= wanted.since)
        if wanted.until is not None:
            query = query.where(log.logged_at < wanted.until)
        if before is not None:
            query = query.where(tuple_(log.logged_at, log.id) < before)
        query = query.order_by(log.logged_at.desc(), log.id.desc()).limit(limit)
        async with self._database.transaction() as connection:
            rows = (await connection.execute(query)).all()
        return [AuditEntry(*row) for row in rows]
