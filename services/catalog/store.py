"""Reads and writes resources of any kind; what differs between kinds is in store_collections.

Locks are taken parents first, then the row, in every transaction that changes something: the
database's triggers read the parent under a lock, too, and two orders would deadlock.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, literal, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from servemark.runtime.database import Database
from servemark.runtime.errors import not_found, unavailable
from servemark.runtime.ids import uuid7
from services.catalog.errors import already_exists, archived, etag_mismatch
from services.catalog.events import catalog_changed
from services.catalog.store_collections import Collection, R
from services.catalog.store_paging import Page, write_key

Values = Mapping[str, Any]

_UNIQUE_VIOLATION = "23505"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListQuery:
    """What a list is asked for. `after` is the sort key a page continues after, or None."""

    filters: Values
    order: str
    descending: bool
    include_archived: bool
    after: Sequence[Any] | None
    size: int


class CatalogStore:
    """The six kinds of resources. Every method is one transaction; a change writes its event."""

    def __init__(self, database: Database, new_id: Callable[[], UUID] = uuid7) -> None:
        self._database = database
        self._new_id = new_id

    async def create(self, collection: Collection[R], values: Values) -> R:
        """The new row.

        Raises RESOURCE_EXISTS, and RESOURCE_NOT_FOUND or RESOURCE_ARCHIVED of a parent.
        """
        identifier = self._new_id()
        async with self._database.transaction() as connection:
            for parent in collection.parents:
                await _lock_active(connection, parent.table, parent.noun, values[parent.column])
            insert = collection.table.insert().values(id=identifier, **values)
            await _unless_taken(connection, collection, values, lambda: connection.execute(insert))
            await catalog_changed(connection, collection.table.name, [identifier])
            return await _one(connection, collection, identifier)

    async def get(self, collection: Collection[R], identifier: UUID) -> R:
        """The row, archived or not. Raises RESOURCE_NOT_FOUND."""
        async with self._database.transaction() as connection:
            return await _one(connection, collection, identifier)

    async def batch_get(self, collection: Collection[R], ids: Sequence[UUID]) -> dict[UUID, R]:
        """The rows that are there, by id."""
        async with self._database.transaction() as connection:
            statement = _select(collection).where(collection.table.c.id.in_(ids))
            rows = (await connection.execute(statement)).mappings()
            return {row["id"]: collection.record(**row) for row in rows}

    async def list_page(self, collection: Collection[R], query: ListQuery) -> Page[R]:
        """One page. Raises PAGE_TOKEN_INVALID where `after` cannot be a key of this order."""
        statement = _list_statement(collection, query)
        async with self._database.transaction() as connection:
            found = (await connection.execute(statement)).mappings().all()
        names = [column.name for column in collection.columns]
        rows = tuple(
            collection.record(**{name: row[name] for name in names}) for row in found[: query.size]
        )
        labels = [f"_key{index}" for index in range(len(collection.orders[query.order].keys))]
        keys = tuple(
            tuple(write_key(row[label]) for label in labels) for row in found[: query.size]
        )
        return Page(rows, keys, len(found) > query.size)

    async def update(
        self,
        collection: Collection[R],
        identifier: UUID,
        changes: Values,
        *,
        etag: str,
        check: Callable[[R], None],
    ) -> R:
        """The row after its `changes`. `check` sees it whole before it is written, and may raise.

        Raises RESOURCE_NOT_FOUND, RESOURCE_ARCHIVED, ETAG_MISMATCH (an empty etag matches any),
        RESOURCE_EXISTS.
        """
        async with self._database.transaction() as connection:
            current = await _lock(connection, collection, identifier)
            if current.archived_at is not None:
                raise archived(collection.noun, identifier)
            if etag and etag != str(current.etag):
                raise etag_mismatch(collection.noun, identifier)
            wanted = replace(current, **changes)
            check(wanted)
            key = {name: getattr(wanted, name) for name in collection.natural_key}
            update = (
                collection.table.update()
                .where(collection.table.c.id == identifier)
                .values(**changes)
            )
            await _unless_taken(connection, collection, key, lambda: connection.execute(update))
            await catalog_changed(connection, collection.table.name, [identifier])
            await _tell_of_dependents(connection, collection, current, wanted)
            return await _one(connection, collection, identifier)

    async def archive(self, collection: Collection[R], identifier: UUID, *, etag: str) -> R:
        """The archived row. One archived already stays as it is, so that a repeat is safe.

        Raises RESOURCE_NOT_FOUND, ETAG_MISMATCH.
        """
        async with self._database.transaction() as connection:
            current = await _lock(connection, collection, identifier)
            if current.archived_at is not None:
                return current
            if etag and etag != str(current.etag):
                raise etag_mismatch(collection.noun, identifier)
            await connection.execute(
                collection.table.update()
                .where(collection.table.c.id == identifier)
                .values(archived_at=func.clock_timestamp())
            )
            await catalog_changed(connection, collection.table.name, [identifier])
            return await _one(connection, collection, identifier)


def _select(collection: Collection[R]) -> Select[Any]:
    return select(*collection.columns).select_from(collection.source)


def _list_statement(collection: Collection[R], query: ListQuery) -> Select[Any]:
    order = collection.orders[query.order]
    statement = _select(collection).add_columns(
        *(
            bound.label(f"_key{index}")
            for index, bound in enumerate(order.expressions(query.descending))
        )
    )
    for name, value in query.filters.items():
        statement = statement.where(collection.filters[name](value))
    if not query.include_archived:
        statement = statement.where(collection.table.c.archived_at.is_(None))
    if query.after is not None:
        statement = statement.where(order.after(query.after, query.descending))
    # One more than asked for tells whether there is a next page.
    return statement.order_by(*order.order_by(query.descending)).limit(query.size + 1)


async def _one(connection: AsyncConnection, collection: Collection[R], identifier: UUID) -> R:
    statement = _select(collection).where(collection.table.c.id == identifier)
    row = (await connection.execute(statement)).mappings().one_or_none()
    if row is None:
        raise not_found(collection.noun, str(identifier))
    return collection.record(**row)


async def _lock(connection: AsyncConnection, collection: Collection[R], identifier: UUID) -> R:
    """The row, locked against other changes until the transaction ends."""
    table = collection.table
    for parent in collection.parents:
        reference = select(table.c[parent.column]).where(table.c.id == identifier)
        await connection.execute(
            select(parent.table.c.id)
            .where(parent.table.c.id == reference.scalar_subquery())
            .with_for_update(read=True)
        )
    await connection.execute(
        select(table.c.id).where(table.c.id == identifier).with_for_update(key_share=True)
    )
    return await _one(connection, collection, identifier)


async def _lock_active(
    connection: AsyncConnection, table: Any, noun: str, identifier: UUID
) -> None:
    """Keeps a referred row as it is until the transaction ends; raises if it is archived."""
    row = (
        await connection.execute(
            select(table.c.archived_at).where(table.c.id == identifier).with_for_update(read=True)
        )
    ).one_or_none()
    if row is None:
        raise not_found(noun, str(identifier))
    if row.archived_at is not None:
        raise archived(noun, identifier)


async def _unless_taken(
    connection: AsyncConnection,
    collection: Collection[R],
    key: Values,
    write: Callable[[], Awaitable[Any]],
) -> None:
    """Runs `write`; raises RESOURCE_EXISTS with the other row where the natural key is taken."""
    try:
        async with connection.begin_nested():
            await write()
    except IntegrityError as error:
        if getattr(error.orig, "sqlstate", None) != _UNIQUE_VIOLATION:
            raise
        statement = select(collection.table.c.id)
        for name in collection.natural_key:
            column, value = collection.table.c[name], key[name]
            same = (
                func.lower(column) == func.lower(literal(value))
                if isinstance(value, str)
                else column == value
            )
            statement = statement.where(same)
        existing = (await connection.execute(statement)).scalar_one_or_none()
        if existing is None:
            # It was renamed in the moment between: the same call will succeed now.
            raise unavailable("The database", retry_after=0.1) from error
        raise already_exists(collection.noun, existing) from error


async def _tell_of_dependents(
    connection: AsyncConnection, collection: Collection[R], before: R, after: R
) -> None:
    """Writes events for rows of another table that the database changed along with this one."""
    dependents = collection.dependents
    if dependents is None or all(
        getattr(before, name) == getattr(after, name) for name in dependents.columns
    ):
        return
    reference = dependents.table.c[dependents.reference]
    ids = await connection.execute(select(dependents.table.c.id).where(reference == after.id))
    await catalog_changed(connection, dependents.table.name, ids.scalars())
