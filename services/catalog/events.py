"""Tells that catalog rows changed, in the transaction of the change; and what is made from them."""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from servemark.events.v1.event_pb2 import CatalogChanged, Event
from servemark.runtime.events.outbox import write_event

TOPIC = "catalog"


def row_tag(table: str, identifier: UUID | str) -> str:
    """The tag of what is made from one row."""
    return f"catalog:{table}:{identifier}"


def table_tag(table: str) -> str:
    """The tag of what is made from any rows of a table."""
    return f"catalog:{table}"


def tags_of(event: Event) -> Iterable[str]:
    """The tags of the replies that an event makes out of date."""
    changed = event.catalog_changed
    return [row_tag(changed.resource, changed.id), table_tag(changed.resource)]


async def catalog_changed(connection: AsyncConnection, table: str, ids: Iterable[UUID]) -> None:
    """Writes one CatalogChanged for each id. `table` is the name of the table the rows are in."""
    for identifier in ids:
        changed = CatalogChanged(resource=table, id=str(identifier))
        await write_event(connection, TOPIC, Event(catalog_changed=changed))
