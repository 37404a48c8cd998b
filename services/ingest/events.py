"""Tells other services that a batch is durable; the store writes it in the batch's transaction."""

from uuid import UUID

from servemark.events.v1.event_pb2 import Event, ResultsStored
from servemark.runtime.ids import uuid7
from services.ingest.records import OutboxEvent, StoredRows

TOPIC = "results"


def results_stored(stream_id: UUID, sequence: int, stored: StoredRows) -> OutboxEvent:
    """The ResultsStored event of a batch."""
    change = ResultsStored(
        stream_id=str(stream_id),
        sequence=sequence,
        config_ids=[str(config_id) for config_id in stored.config_ids],
        stored_count=stored.count,
    )
    identifier = uuid7()
    event = Event(id=str(identifier), results_stored=change)
    event.create_time.GetCurrentTime()
    return OutboxEvent(identifier, TOPIC, event.SerializeToString())
