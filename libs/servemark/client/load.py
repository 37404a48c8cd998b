"""Streams records to a Servemark and says what became of each."""

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc

from servemark.client.channel import Client
from servemark.client.errors import ServemarkCallError
from servemark.client.records import ResultRecord, StreamPlan, records_to_stream
from servemark.client.stream import BATCH_ROWS, ResultStream, StreamSummary
from servemark.ingest.v1 import result_stream_pb2 as stream_pb2
from servemark.type.v1.error_reason_pb2 import ErrorReason

_PREFIX = "ERROR_REASON_"


@dataclass(frozen=True)
class RejectedRecord:
    """A record the server refused: the reason's name without prefix, and a sentence."""

    record: ResultRecord
    reason: str
    detail: str


@dataclass
class LoadSummary:
    """What became of the records: each is stored, a duplicate, or rejected."""

    stored: int = 0
    duplicates: int = 0
    replayed: int = 0
    rejections: list[RejectedRecord] = field(default_factory=list)

    @property
    def rejected(self) -> int:
        """Records refused."""
        return len(self.rejections)


def load_records(
    client: Client,
    records: Iterable[ResultRecord],
    on_progress: Callable[[int], None] | None = None,
    *,
    batch_rows: int = BATCH_ROWS,
    idle_timeout: float = 60.0,
    environment: Mapping[str, Any] | None = None,
) -> LoadSummary:
    """Streams the records, group by group, and returns when all of them are durable or refused.

    The same records sent again store nothing twice. `on_progress` is called with the number of
    records that are done. environment: see records_to_stream. A record that occurs twice is sent
    once and counts as a duplicate. Raises ServemarkCallError or StreamError when a stream cannot go
    on; what was acknowledged stays.
    """
    given = list(records)
    summary = LoadSummary()
    sent = done = 0
    for plan in records_to_stream(given, environment):
        sent += len(plan.rows)
        header = stream_pb2.StreamHeader()
        header.CopyFrom(plan.header)
        header.stream_id = _stream_id(client, plan, batch_rows)
        with ResultStream(
            client, header, batch_rows=batch_rows, idle_timeout=idle_timeout
        ) as stream:
            for number, row in enumerate(plan.rows, start=1):
                stream.add(row)
                if on_progress and number % batch_rows == 0:
                    on_progress(done + stream.done_rows)
            answer = stream.close()
        done += len(plan.rows)
        if on_progress:
            on_progress(done)
        summary.stored += answer.stored
        summary.duplicates += answer.duplicates
        summary.replayed += answer.replayed
        summary.rejections += _rejected(plan, answer)
    summary.duplicates += len(given) - sent
    return summary


def _stream_id(client: Client, plan: StreamPlan, batch_rows: int) -> str:
    """The plan's own stream id, so that a repeat goes on where the first attempt ended.

    A stream that had rows refused gets a fresh id instead: what was refused for a missing catalog
    entry may be fine by now, and a batch below the cursor is never looked at again. Its other rows
    are duplicates by their own ids.
    """
    stream_id = plan.stream_id(batch_rows)
    try:
        cursor = client.ingest.GetStreamCursor(
            stream_pb2.GetStreamCursorRequest(stream_id=stream_id)
        )
    except ServemarkCallError as error:
        if error.code() is not grpc.StatusCode.NOT_FOUND:
            raise
        return stream_id
    return str(uuid.uuid4()) if cursor.rejected_count else stream_id


def _rejected(plan: StreamPlan, answer: StreamSummary) -> list[RejectedRecord]:
    rows = {row.id: index for index, row in enumerate(plan.rows)}
    rejected = []
    for rejection in answer.rejections:
        index = rows[rejection.result_id]
        reason = ErrorReason.Name(rejection.reason).removeprefix(_PREFIX)
        detail = rejection.detail
        if reason == "CONFIG_UNRESOLVED":
            # The row's own detail only points at the opening answer, which knows what was missing.
            detail = _failures(answer.configs, plan.rows[index].config_index) or detail
        rejected.append(RejectedRecord(plan.records[index], reason, detail))
    return rejected


def _failures(configs: Sequence[stream_pb2.ConfigOutcome], index: int) -> str:
    return " ".join(
        failure.detail
        for outcome in configs
        if outcome.config_index == index
        for failure in outcome.failures
    )
