"""Tells other services that catalog rows changed, in the transaction of the change."""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from servemark.events.v1.event_pb2 import CatalogChanged, Event
from servemark.runtime.events.outbox import write_event

TOPIC = "catalog"


async def catalog_changed(connection: AsyncConnection, table: str, ids: Iterable[UUID]) -> None:
    """Writes one CatalogChanged for each id. `table` is the name of the table the rows are in."""
    for identifier in ids:
        changed = CatalogChanged(resource=table, id=str(identifier))
        await write_event(connection, TOPIC, Event(catalog_changed=changed))
