"""Tells what happened to results, in the transaction in which it happens; and what that changes."""

from collections.abc import Iterable
from datetime import date
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from servemark.events.v1.event_pb2 import Event, ResultDayChanged, ResultsStored
from servemark.runtime.events.outbox import write_event
from servemark.runtime.ids import uuid7
from services.ingest.records import OutboxEvent, StoredRows

TOPIC = "results"
ANY_RESULTS = "ingest:results"


def results_stored(stream_id: UUID, sequence: int, stored: StoredRows) -> OutboxEvent:
    """The ResultsStored event of a batch."""
    change = ResultsStored(
        stream_id=str(stream_id),
        sequence=sequence,
        config_ids=[str(config_id) for config_id in stored.config_ids],
        stored_count=stored.count,
        model_ids=sorted({str(model_id) for model_id, _ in stored.model_days}),
    )
    identifier = uuid7()
    event = Event(id=str(identifier), results_stored=change)
    event.create_time.GetCurrentTime()
    return OutboxEvent(identifier, TOPIC, event.SerializeToString())


async def day_changed(connection: AsyncConnection, day: date) -> None:
    """Writes the event that the results of a day leave or come back."""
    event = Event(result_day_changed=ResultDayChanged(day=day.isoformat()))
    await write_event(connection, TOPIC, event)


def config_tag(config_id: UUID | str) -> str:
    """The tag of what is made from the results of a configuration."""
    return f"ingest:config:{config_id}"


def model_tag(model_id: UUID | str) -> str:
    """The tag of what is made from the results of a model."""
    return f"ingest:model:{model_id}"


def tags_of(event: Event) -> Iterable[str]:
    """The tags of the replies that an event makes out of date; each has ANY_RESULTS besides."""
    stored = event.results_stored
    if event.WhichOneof("payload") != "results_stored" or not stored.model_ids:
        return [ANY_RESULTS]
    return [*map(config_tag, stored.config_ids), *map(model_tag, stored.model_ids)]
