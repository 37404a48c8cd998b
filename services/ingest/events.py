"""Tells other services that a batch is durable, in the transaction of the batch."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from servemark.events.v1.event_pb2 import Event, ResultsStored
from servemark.runtime.events.outbox import write_event
from services.ingest.records import StoredRows

TOPIC = "results"


async def results_stored(
    connection: AsyncConnection, stream_id: UUID, sequence: int, stored: StoredRows
) -> None:
    """Writes the ResultsStored event of a batch."""
    change = ResultsStored(
        stream_id=str(stream_id),
        sequence=sequence,
        config_ids=sorted(str(config_id) for config_id in stored.config_ids),
        stored_count=stored.count,
    )
    await write_event(connection, TOPIC, Event(results_stored=change))
