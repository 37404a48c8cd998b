"""The condensed matrix in Postgres: its newest version, and the bounds that go with it."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import Text, cast, delete, func, insert, literal, select, text, tuple_
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from servemark.runtime.database import Database
from services.ranking.content import ROW, Entry
from services.ranking.matrix import Reference
from services.ranking.metrics import METRICS, info_of
from services.ranking.tables import matrix_rows, matrix_versions, rank_references, ranking_inputs

# Any constant will do; it only has to be the same in every process that publishes a matrix.
_PUBLISH_LOCK = 0x5E5E_0A7A
_TURN_LOCK = 0x5E5E_0A7B
# Whoever stands still in its turn loses it then.
_LONGEST_TURN_MS = 5_000
_NEWEST = """
    SELECT version, content_digest, alternative_count, price_boundary_at, made_at
    FROM ranking.matrix_versions ORDER BY version DESC LIMIT 1
"""
_METRIC_OF = {info.column: info.metric for info in METRICS}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Version:
    """One version of the matrix; times in microseconds since 1970."""

    number: int
    digest: bytes
    alternative_count: int
    price_boundary_us: int | None
    made_at_us: int


@dataclass(frozen=True, slots=True)
class StoredMatrix:
    """The newest version with its facts as (kind, JSON) and its reference bounds."""

    version: Version
    facts: Sequence[tuple[str, str]]
    references: Mapping[tuple[str, int], Reference]


class MatrixStore:
    """Keeps the newest matrix whole and a line about each older one."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def newest_version(self) -> Version | None:
        """The newest version, None where there was never one."""
        rows = await self._database.fetch(_NEWEST)
        return _version(rows[0]) if rows else None

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """A turn at making the next version, after the processes that asked for one before.

        Without, one that reads more slowly than others would never publish. A turn that takes too
        long ends early: another process may begin its own then, and be first to publish.
        """
        is_over = False
        try:
            async with self._database.driver_transaction() as driver:
                await driver.execute(
                    f"SELECT pg_advisory_xact_lock({_TURN_LOCK}); "
                    f"SET LOCAL idle_in_transaction_session_timeout = {_LONGEST_TURN_MS}"
                )
                yield
                is_over = True
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            # That the turn ended early is no harm to what was done in it.
            if not is_over:
                raise

    async def load(self) -> StoredMatrix | None:
        """The newest matrix, None where there was never one."""
        async with self._database.transaction() as connection:
            # A publisher waits for readers, so that all that is read is of one version.
            await connection.execute(select(func.pg_advisory_xact_lock_shared(_PUBLISH_LOCK)))
            version = await _newest(connection)
            if version is None:
                return None
            rows = await connection.execute(select(literal(ROW), cast(matrix_rows.c.content, Text)))
            inputs = await connection.execute(
                select(ranking_inputs.c.kind, cast(ranking_inputs.c.content, Text))
            )
            facts = [(kind, json) for kind, json in (*rows, *inputs)]
            return StoredMatrix(version, facts, await _references(connection))

    async def publish(
        self,
        after: int | None,
        version: Version,
        entries: Sequence[Entry],
        references: Mapping[tuple[str, int], Reference],
    ) -> bool:
        """Stores `version` if version `after` (None: none) is still the newest; whether it did.

        Only entries that changed are written. Another process may have published meanwhile from
        newer facts than ours, and an older matrix must not follow a newer one.
        """
        async with self._database.transaction() as connection:
            await connection.execute(select(func.pg_advisory_xact_lock(_PUBLISH_LOCK)))
            newest = await _newest(connection)
            if (newest.number if newest else None) != after:
                return False
            await connection.execute(
                insert(matrix_versions).values(
                    version=version.number,
                    content_digest=version.digest,
                    alternative_count=version.alternative_count,
                    price_boundary_at=None
                    if version.price_boundary_us is None
                    else _time(version.price_boundary_us),
                    made_at=_time(version.made_at_us),
                )
            )
            await _write_rows(connection, version.number, entries)
            await _write_inputs(connection, version.number, entries)
            await _write_references(connection, version.number, references)
        return True


async def _newest(connection: AsyncConnection) -> Version | None:
    row = (await connection.execute(text(_NEWEST))).first()
    return None if row is None else _version(row)


def _version(row: Sequence[Any]) -> Version:
    number, digest, count, boundary, made_at = row
    return Version(
        number=number,
        digest=digest,
        alternative_count=count,
        price_boundary_us=None if boundary is None else _micros(boundary),
        made_at_us=_micros(made_at),
    )


async def _write_rows(connection: AsyncConnection, version: int, entries: Sequence[Entry]) -> None:
    table = matrix_rows
    stored = {
        str(config_id): digest
        for config_id, digest in await connection.execute(
            select(table.c.config_id, table.c.content_digest)
        )
    }
    rows = {entry.id: entry for entry in entries if entry.kind == ROW}
    gone = [UUID(identifier) for identifier in stored.keys() - rows.keys()]
    if gone:
        await connection.execute(delete(table).where(table.c.config_id.in_(gone)))
    changed = [
        {
            "config_id": UUID(entry.id),
            "model_id": UUID(entry.model_id),
            "matrix_version": version,
            "content": entry.json.decode(),
            "content_digest": entry.digest,
        }
        for entry in rows.values()
        if stored.get(entry.id) != entry.digest
    ]
    if changed:
        await connection.execute(
            text(
                "INSERT INTO matrix_rows"
                " (config_id, model_id, matrix_version, content, content_digest)"
                " VALUES (:config_id, :model_id, :matrix_version, CAST(:content AS jsonb),"
                " :content_digest) ON CONFLICT (config_id) DO UPDATE SET"
                " model_id = excluded.model_id, matrix_version = excluded.matrix_version,"
                " content = excluded.content, content_digest = excluded.content_digest"
            ),
            changed,
        )


async def _write_inputs(
    connection: AsyncConnection, version: int, entries: Sequence[Entry]
) -> None:
    table = ranking_inputs
    stored = {
        (kind, str(identifier)): digest
        for kind, identifier, digest in await connection.execute(
            select(table.c.kind, table.c.id, table.c.content_digest)
        )
    }
    inputs = {(entry.kind, entry.id): entry for entry in entries if entry.kind != ROW}
    gone = [(kind, UUID(identifier)) for kind, identifier in stored.keys() - inputs.keys()]
    if gone:
        await connection.execute(delete(table).where(tuple_(table.c.kind, table.c.id).in_(gone)))
    changed = [
        {
            "kind": entry.kind,
            "id": UUID(entry.id),
            "matrix_version": version,
            "content": entry.json.decode(),
            "content_digest": entry.digest,
        }
        for key, entry in inputs.items()
        if stored.get(key) != entry.digest
    ]
    if changed:
        await connection.execute(
            text(
                "INSERT INTO ranking_inputs (kind, id, matrix_version, content, content_digest)"
                " VALUES (:kind, :id, :matrix_version, CAST(:content AS jsonb), :content_digest)"
                " ON CONFLICT (kind, id) DO UPDATE SET matrix_version = excluded.matrix_version,"
                " content = excluded.content, content_digest = excluded.content_digest"
            ),
            changed,
        )


async def _write_references(
    connection: AsyncConnection, version: int, references: Mapping[tuple[str, int], Reference]
) -> None:
    new = [
        {
            "use_case_id": UUID(use_case_id),
            "metric": info_of(metric).column,
            "low": reference.low,
            "high": reference.high,
            "candidate_count": reference.candidate_count,
            "source": reference.source,
            "matrix_version": version,
        }
        for (use_case_id, metric), reference in references.items()
        if reference.matrix_version == version
    ]
    if new:
        statement = upsert(rank_references)
        given = statement.excluded
        await connection.execute(
            statement.on_conflict_do_update(
                index_elements=["use_case_id", "metric"],
                set_={
                    "low": given.low,
                    "high": given.high,
                    "candidate_count": given.candidate_count,
                    "source": given.source,
                    "matrix_version": given.matrix_version,
                },
            ),
            new,
        )


async def _references(connection: AsyncConnection) -> dict[tuple[str, int], Reference]:
    table = rank_references.c
    found = await connection.execute(
        select(
            table.use_case_id,
            table.metric,
            table.low,
            table.high,
            table.candidate_count,
            table.source,
            table.matrix_version,
        )
    )
    return {
        (str(row.use_case_id), _METRIC_OF[row.metric]): Reference(
            row.low, row.high, row.candidate_count, row.source, row.matrix_version
        )
        for row in found
        # A metric that a later version of the code knew is none of ours.
        if row.metric in _METRIC_OF
    }


def _time(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)


def _micros(time: datetime) -> int:
    return (time - _EPOCH) // timedelta(microseconds=1)
