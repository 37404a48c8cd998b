"""What the parts of the ingest service hand to each other: plain facts, no messages, no SQL."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from services.ingest.metrics import Limit

# Provenances and percentile sources as the tables hold them.
PROVENANCES = ("measured", "simulated", "estimated")
PERCENTILE_SOURCES = ("measured", "computed_from_samples", "absent")


@dataclass(frozen=True, slots=True)
class Shape:
    """The work a run put on the system, and how the model was spread. None: not fixed."""

    workload_type: str
    input_tokens: int | None
    output_tokens: int | None
    concurrency: int | None
    request_rate: float | None
    tensor_parallel: int
    pipeline_parallel: int
    data_parallel: int
    expert_parallel: int

    @property
    def sequence_length(self) -> int | None:
        """Input and output tokens together, where both are fixed."""
        if self.input_tokens is None or self.output_tokens is None:
            return None
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True)
class Parts:
    """The catalog's ids of what was measured."""

    model_id: UUID
    model_version_id: UUID
    hardware_config_id: UUID
    framework_id: UUID


@dataclass(frozen=True, slots=True)
class NewConfig:
    """The natural key of a configuration: equal keys are one configuration.

    `organization_id`: who alone sees it and its results; None: everybody does.
    """

    parts: Parts
    shape: Shape
    provenance: str
    organization_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Config:
    """A configuration as it is stored."""

    id: UUID
    key: NewConfig
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Failure:
    """One part of a reference that the catalog could not resolve; `reason` is an ErrorReason."""

    field: str
    reason: int
    detail: str


@dataclass(frozen=True, slots=True)
class DictionaryEntry:
    """What became of one configuration of a header: resolved, or the reasons why not."""

    config: Config | None
    failures: tuple[Failure, ...] = ()


@dataclass(frozen=True, slots=True)
class Source:
    """Who sends a stream."""

    stream_id: UUID
    tool: str
    tool_version: str
    provenance: str


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream that was opened: its header's digest, its cursor, its dictionary."""

    source: Source
    header_digest: bytes
    next_sequence: int
    entries: tuple[DictionaryEntry, ...]


@dataclass(frozen=True, slots=True)
class StreamProgress:
    """How far a stream has come, over all calls."""

    next_sequence: int
    stored_count: int
    duplicate_count: int
    rejected_count: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class RowRejection:
    """A row that is refused; `reason` is an ErrorReason."""

    row: int
    result_id: str
    reason: int
    detail: str
    payload_sha256: bytes


@dataclass(frozen=True, slots=True)
class Day:
    """The rows of one UTC day in a batch, `rows` of them from `start` on in order of id."""

    date: date
    start: int
    rows: int


class EncodedRows(Protocol):
    """The valid rows of a batch in the form that COPY takes, in order of id."""

    def pieces(self, start: int, count: int, *, positions: bool) -> Sequence[bytes]:
        """So many rows from the one at `start` on; with each row's index in the batch, if asked."""
        ...


@dataclass(frozen=True, slots=True)
class StoredRows:
    """What rows change: how many there are, and which configurations and models' days have them."""

    count: int = 0
    config_ids: Sequence[UUID] = ()
    model_days: frozenset[tuple[UUID, date]] = frozenset()


@dataclass(frozen=True, slots=True)
class CheckedBatch:
    """A batch whose rows were checked.

    `row_count` counts all rows; `valid` is what the valid ones change if all are new. `used` (n,)
    has the places in the header of their configurations, `first_id` and `last_id` the ends of their
    ids, b"" where there is none. `refuse_reused(index)` is the rejection of a row whose id turns
    out to be stored with other content: only the store can tell.
    """

    sequence: int
    row_count: int
    valid: StoredRows
    rows: EncodedRows
    days: Sequence[Day]
    used: NDArray[np.int64]
    rejections: Sequence[RowRejection]
    refuse_reused: Callable[[int], RowRejection]
    first_id: bytes = b""
    last_id: bytes = b""


@dataclass(frozen=True, slots=True)
class BatchOutcome:
    """What became of a batch, once it is durable."""

    sequence: int
    stored_count: int
    duplicate_count: int
    rejections: Sequence[RowRejection] = ()
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class OutboxEvent:
    """An event as the outbox holds it."""

    id: UUID
    topic: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Result:
    """A result as it is stored, with its configuration. `metrics` has every figure's column."""

    id: UUID
    config: Config
    benchmarked_at: datetime
    metrics: Mapping[str, float | None]
    percentile_source: str
    batch_size: int | None
    sequence_length: int | None
    request_count: int | None
    failed_request_count: int | None
    detailed_metrics: str | None
    ttft_sketch: Sequence[int] | None
    tpot_sketch: Sequence[int] | None
    source_sha256: bytes | None
    tool: str
    tool_version: str
    stream_id: UUID
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ResultFilter:
    """Which results: every condition has to hold, an empty one keeps all."""

    model_ids: tuple[UUID, ...] = ()
    model_version_ids: tuple[UUID, ...] = ()
    hardware_config_ids: tuple[UUID, ...] = ()
    framework_ids: tuple[UUID, ...] = ()
    config_ids: tuple[UUID, ...] = ()
    workload_types: tuple[str, ...] = ()
    start_time: datetime | None = None
    end_time: datetime | None = None
    provenances: tuple[str, ...] = ()
    limits: tuple[Limit, ...] = ()


@dataclass(frozen=True, slots=True)
class MetricSummary:
    """One figure over the runs that have it. `request_count` and `newest_benchmarked_at` are known
    of a configuration's only."""

    column: str
    median: float
    mean: float
    lowest: float
    highest: float
    run_count: int
    request_count: int = 0
    newest_benchmarked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class PooledMetric:
    """One figure over all requests of some runs."""

    column: str
    value: float
    request_count: int
    run_count: int


@dataclass(frozen=True, slots=True)
class ConfigSummary:
    """All runs of one configuration, condensed."""

    config: Config
    metrics: tuple[MetricSummary, ...]
    pooled: tuple[PooledMetric, ...]
    run_count: int
    request_count: int
    failed_request_count: int
    newest_benchmarked_at: datetime
    tools: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pooled:
    """Percentiles of one latency over all requests of some runs, in ms."""

    p50: float
    p90: float
    p95: float
    p99: float
    sample_count: int


@dataclass(frozen=True, slots=True)
class Bucket:
    """The runs of one series in one bucket of time; there is at least one."""

    starts_at: datetime
    run_count: int
    metrics: tuple[MetricSummary, ...]
    ttft: Pooled | None
    tpot: Pooled | None


@dataclass(frozen=True, slots=True)
class Series:
    """The buckets that have runs, in order. `config` is known where a series is a configuration."""

    key: UUID
    config: Config | None
    buckets: Sequence[Bucket]


@dataclass(frozen=True, slots=True)
class SeriesQuery:
    """Which series: `wanted` has both ends of its time; `key` is a column of configurations.

    Buckets of `seconds` are aligned to 1970; the range touches `count` of them from `first` on, in
    seconds since then.
    """

    wanted: ResultFilter
    key: str
    columns: tuple[str, ...]
    seconds: int
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class RunSelection:
    """Some runs: those in the span, of the streams; no streams: of any."""

    start_time: datetime | None = None
    end_time: datetime | None = None
    stream_ids: tuple[UUID, ...] = ()


@dataclass(frozen=True, slots=True)
class RegressionQuery:
    """Which runs to compare with which, by which figures, and what is worth reporting."""

    wanted: ResultFilter
    new: RunSelection
    history: RunSelection
    columns: tuple[str, ...]
    most_history: int = 20
    min_effect: float = 0.05
    min_new: int = 3
    min_history: int = 8


@dataclass(frozen=True, slots=True)
class ConfigRuns:
    """The runs of one configuration, the latest first, each with the figures asked for."""

    config: Config
    history: Sequence[Sequence[float | None]]
    new: Sequence[Sequence[float | None]]


@dataclass(frozen=True, slots=True)
class DailyStats:
    """One model's results of one UTC day.

    `p95_latency_source`: `sketches`, over requests; `runs`, over the runs' medians; None: no p95.
    """

    model_id: UUID
    stats_date: date
    avg_accuracy: float | None
    avg_throughput: float | None
    p95_latency_ms: float | None
    p95_latency_source: str | None
    total_benchmarks: int
    accuracy_runs: int
    throughput_runs: int
    latency_runs: int
    request_count: int
    failed_request_count: int
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Turn:
    """What a turn of a roll-up did: how much, and whether more waits."""

    done: int = 0
    more: bool = False


@dataclass(frozen=True, slots=True)
class StoredRejection:
    """A refused row as it is kept. `id` rises with every row that is refused."""

    id: int
    stream_id: UUID
    sequence: int
    rejection: RowRejection
    created_at: datetime
