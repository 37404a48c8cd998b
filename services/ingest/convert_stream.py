"""Between a stream's messages and the service's records."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from servemark.catalog.v1.config_reference_pb2 import ConfigReference
from servemark.ingest.v1.benchmark_config_pb2 import Parallelism, Workload
from servemark.ingest.v1.result_stream_pb2 import (
    BatchAck,
    ConfigOutcome,
    GetStreamCursorResponse,
    StreamHeader,
    StreamOpened,
)
from servemark.ingest.v1.result_stream_pb2 import RowRejection as RowRejectionMessage
from servemark.runtime.validation import Violations
from servemark.type.v1.provenance_pb2 import Provenance
from services.ingest.records import (
    PROVENANCES,
    BatchOutcome,
    DictionaryEntry,
    RowRejection,
    Shape,
    Source,
    Stream,
    StreamProgress,
)

MAX_CONFIGS: Final = 1000
MAX_NAME: Final = 64
# Far above any context length or load; it keeps sums within an integer column.
MAX_TOKENS: Final = 1_000_000_000
MAX_CONCURRENCY: Final = 1_000_000_000
MAX_REQUEST_RATE: Final = 1e12
MAX_PARALLELISM: Final = 1_000_000
_WORKLOAD_RANGES: Final = {
    "input_tokens": (0, MAX_TOKENS),
    "output_tokens": (0, MAX_TOKENS),
    "concurrency": (1, MAX_CONCURRENCY),
    "request_rate": (0, MAX_REQUEST_RATE),
}


@dataclass(frozen=True, slots=True)
class Header:
    """A valid header. `digest` is the same for every repeat of it, and only for those.

    `organization_id`: who alone will see the results; None: everybody.
    """

    source: Source
    digest: bytes
    references: Sequence[ConfigReference]
    shapes: Sequence[Shape]
    organization_id: UUID | None = None


def header_from_proto(message: StreamHeader, organization_id: UUID | None = None) -> Header:
    """The header of results that an organization alone will see, None: that become public.

    Raises INVALID_FIELD that names every wrong field.

    What a reference names is not looked at here: the catalog says what is wrong with it, and only
    the rows of that configuration are refused.
    """
    check = Violations("header.")
    stream_id = check.uuid("stream_id", message.stream_id)
    tool = check.text("tool", message.tool, max_len=MAX_NAME, lower=True)
    tool_version = check.text(
        "tool_version", message.tool_version, max_len=MAX_NAME, required=False
    )
    check.enum("provenance", message.provenance, Provenance.values())
    if not 1 <= len(message.configs) <= MAX_CONFIGS:
        check.add("configs", f"has {len(message.configs)} entries; 1 to {MAX_CONFIGS} are allowed")
    shapes = [
        _shape(check, f"configs[{index}]", spec.workload, spec.parallelism)
        for index, spec in enumerate(message.configs[:MAX_CONFIGS])
    ]
    check.raise_if_any()
    if stream_id is None:
        raise AssertionError("a header without a stream_id passed its checks")
    return Header(
        source=Source(stream_id, tool, tool_version, PROVENANCES[message.provenance - 1]),
        digest=_digest(message, organization_id),
        references=[spec.reference for spec in message.configs],
        shapes=shapes,
        organization_id=organization_id,
    )


def _digest(message: StreamHeader, organization_id: UUID | None) -> bytes:
    digest = hashlib.sha256(message.SerializeToString(deterministic=True))
    if organization_id is not None:
        # A stream goes on with its results seen by the same: what was kept is not published.
        digest.update(organization_id.bytes)
    return digest.digest()


def _shape(check: Violations, path: str, workload: Workload, parallelism: Parallelism) -> Shape:
    workload_type = check.text(
        f"{path}.workload.workload_type", workload.workload_type, max_len=MAX_NAME, lower=True
    )
    numbers = {name: _optional(workload, name) for name in _WORKLOAD_RANGES}
    for name, (low, high) in _WORKLOAD_RANGES.items():
        value = numbers[name]
        if value is not None:
            check.number(f"{path}.workload.{name}", value, low=low, high=high)
    if numbers["request_rate"] == 0:
        check.add(f"{path}.workload.request_rate", "is 0; leave it out if it is not limited")
    for name in ("tensor", "pipeline", "data", "expert"):
        degree = getattr(parallelism, name)
        check.number(f"{path}.parallelism.{name}", degree, low=0, high=MAX_PARALLELISM)
    return Shape(
        workload_type=workload_type,
        **numbers,
        tensor_parallel=parallelism.tensor,
        pipeline_parallel=parallelism.pipeline,
        data_parallel=parallelism.data,
        expert_parallel=parallelism.expert,
    )


def _optional(message: Workload, field: str) -> Any:
    return getattr(message, field) if message.HasField(field) else None  # type: ignore[arg-type]


def outcomes_to_proto(entries: Sequence[DictionaryEntry]) -> list[ConfigOutcome]:
    """What became of each configuration of a header."""
    outcomes = []
    for index, entry in enumerate(entries):
        outcome = ConfigOutcome(config_index=index)
        if entry.config is not None:
            outcome.config_id = str(entry.config.id)
        for failure in entry.failures:
            outcome.failures.add(
                field=failure.field,
                reason=failure.reason,
                detail=failure.detail,
            )
        outcomes.append(outcome)
    return outcomes


def opened_to_proto(stream: Stream) -> StreamOpened:
    """The answer to a header."""
    return StreamOpened(
        next_sequence=stream.next_sequence, configs=outcomes_to_proto(stream.entries)
    )


def rejection_to_proto(sequence: int, rejection: RowRejection) -> RowRejectionMessage:
    """A refused row."""
    return RowRejectionMessage(
        sequence=sequence,
        row=rejection.row,
        result_id=rejection.result_id,
        reason=rejection.reason,  # type: ignore[arg-type]
        detail=rejection.detail,
    )


def ack_to_proto(outcome: BatchOutcome) -> BatchAck:
    """The acknowledgement of a durable batch."""
    return BatchAck(
        sequence=outcome.sequence,
        stored_count=outcome.stored_count,
        duplicate_count=outcome.duplicate_count,
        rejections=[
            rejection_to_proto(outcome.sequence, rejection) for rejection in outcome.rejections
        ],
        replayed=outcome.replayed,
    )


def cursor_to_proto(progress: StreamProgress) -> GetStreamCursorResponse:
    """Where a stream has got to."""
    answer = GetStreamCursorResponse(
        next_sequence=progress.next_sequence,
        stored_count=progress.stored_count,
        duplicate_count=progress.duplicate_count,
        rejected_count=progress.rejected_count,
    )
    answer.create_time.FromDatetime(progress.created_at)
    answer.update_time.FromDatetime(progress.updated_at)
    return answer
