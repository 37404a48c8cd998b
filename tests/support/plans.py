"""The plans of statements that a store really sent, taken from its own connections."""

import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
from sqlalchemy import event

from servemark.runtime import tenancy
from servemark.runtime.database import Database

# The requirement's index that a partition's own index is a part of.
_PARENTS = """
    SELECT child.relname, parent.relname FROM pg_inherits
    JOIN pg_class AS child ON child.oid = inhrelid
    JOIN pg_class AS parent ON parent.oid = inhparent
    WHERE child.relkind = 'i'
"""

_OTHERS = ("pg_type", "set_config")
_EXPLAINED = ("SELECT ", "WITH ", "INSERT ", "UPDATE ", "DELETE ")


@dataclass(frozen=True)
class Statement:
    """A statement with its arguments."""

    text: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Plan:
    """What the planner chose: the tables read (partitions by their own names) and the indexes.

    An index of a partition goes by the name of the one it is a part of. `removed` rows were read
    and then thrown away by a filter.
    """

    tables: frozenset[str]
    indexes: frozenset[str]
    nodes: tuple[str, ...]
    text: str
    removed: int


@contextmanager
def sent_by(database: Database) -> Iterator[list[Statement]]:
    """Yields a list that fills with what the pool's connections send from here on."""
    sent: list[Statement] = []

    def note(text: str, arguments: Any) -> None:
        # The driver asks about types it meets for the first time; a transaction says whose it is.
        if text.lstrip().startswith(_EXPLAINED) and not any(word in text for word in _OTHERS):
            sent.append(Statement(text, tuple(arguments or ())))

    # What goes straight to the driver; it does not tell of what SQLAlchemy has it prepare.
    def note_direct(query: Any) -> None:
        note(query.query, query.args)

    def note_prepared(_: Any, __: Any, text: str, arguments: Any, *___: Any) -> None:
        note(text, arguments)

    def listen(connection: Any, *_: Any) -> None:
        connection.driver_connection.add_query_logger(note_direct)

    def forget(connection: Any, *_: Any) -> None:
        connection.driver_connection.remove_query_logger(note_direct)

    engine = database.engine.sync_engine
    listeners: list[tuple[str, Callable[..., None]]] = [
        ("checkout", listen),
        ("checkin", forget),
        ("before_cursor_execute", note_prepared),
    ]
    for name, listener in listeners:
        event.listen(engine, name, listener)
    try:
        yield sent
    finally:
        for name, listener in listeners:
            event.remove(engine, name, listener)


async def plans_of(
    database: Database, dsn: str, work: Callable[[], Awaitable[object]]
) -> list[Plan]:
    """The plan of each statement that the work sends, in order; each is run to be explained.

    By the service's role, for which policies hold, and on behalf of whom the work is done.
    """
    with sent_by(database) as sent:
        await work()
    schema = await _search_path(database)
    connection = await asyncpg.connect(
        dsn,
        server_settings={
            "role": f"servemark_{schema}",
            "servemark.organization": tenancy.current().scope,
            "search_path": schema,
            "random_page_cost": "1.1",
            "jit": "off",
        },
    )
    try:
        parents = {row[0]: row[1] for row in await connection.fetch(_PARENTS)}
        found = []
        for statement in sent:
            # Rolled back: an explained statement does what it says.
            transaction = connection.transaction()
            await transaction.start()
            (document,) = await connection.fetchrow(
                f"EXPLAIN (ANALYZE, FORMAT JSON) {statement.text}", *statement.arguments
            )
            await transaction.rollback()
            found.append(_plan(json.loads(document)[0]["Plan"], parents, statement.text))
    finally:
        await connection.close()
    return found


async def _search_path(database: Database) -> str:
    async with database.engine.connect() as connection:
        raw = await connection.get_raw_connection()
        driver: Any = raw.driver_connection
        return str(await driver.fetchval("SHOW search_path"))


def _plan(node: dict[str, Any], parents: dict[str, str], text: str) -> Plan:
    tables: set[str] = set()
    indexes: set[str] = set()
    nodes: list[str] = []
    removed = 0

    def walk(part: dict[str, Any]) -> None:
        nonlocal removed
        # What was never run was only thought of.
        if loops := part.get("Actual Loops", 1):
            nodes.append(part["Node Type"])
            for kind in ("Filter", "Join Filter"):
                removed += loops * part.get(f"Rows Removed by {kind}", 0)
            if "Relation Name" in part:
                tables.add(part["Relation Name"])
            if "Index Name" in part:
                name = part["Index Name"]
                while name in parents:
                    name = parents[name]
                indexes.add(name)
        for child in part.get("Plans", ()):
            walk(child)

    walk(node)
    return Plan(frozenset(tables), frozenset(indexes), tuple(nodes), text, int(removed))
