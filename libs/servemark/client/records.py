"""One measured result as people and files write it, and what the wire makes of many."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Self

from google.protobuf.timestamp_pb2 import Timestamp

from servemark.client import ids
from servemark.client.config import MAX_CONFIGS, Config
from servemark.client.record_fields import (
    METRICS,
    PERCENTILES,
    FieldProblem,
    RecordError,
    missing_problems,
    order_problems,
    parse_fields,
)
from servemark.ingest.v1 import benchmark_result_pb2 as result_pb2
from servemark.ingest.v1 import result_stream_pb2 as stream_pb2
from servemark.ingest.v1.latency_sketch_pb2 import LatencySketch
from servemark.type.v1 import provenance_pb2

# The keys of `servemark import --dry-run --json`, in their order. `format` there names the format
# of the result file; a record's own `format` is that of the weights.
DRY_RUN_KEYS = (
    "model",
    "model_version",
    "hardware",
    "gpu_count",
    "framework",
    "framework_version",
    "quantization",
    "workload_type",
    "input_tokens",
    "output_tokens",
    "concurrency",
    "request_rate",
    "benchmarked_at",
    *METRICS,
    "percentile_source",
    "provenance",
    "format",
    "source_sha256",
)

_SKETCHES = ("ttft_sketch", "tpot_sketch")


@dataclass(frozen=True, kw_only=True)
class ResultRecord:
    """One result with the names of what was measured. None means not known or not measured.

    Latencies are in milliseconds, rates in 1/s, memory in gigabytes (10^9 bytes), accuracy from 0
    to 1, utilization in percent. `from_json` lets only records through that pass every check.
    """

    model: str
    quantization: str
    hardware: str
    gpu_count: int
    framework: str
    framework_version: str
    workload_type: str
    benchmarked_at: datetime
    provenance: str
    tool: str
    tool_version: str | None = None
    model_version: str | None = None
    format: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    concurrency: int | None = None
    request_rate: float | None = None
    parallelism: Mapping[str, int] = field(default_factory=dict)
    batch_size: int | None = None
    ttft_p50_ms: float | None = None
    ttft_p90_ms: float | None = None
    ttft_p95_ms: float | None = None
    ttft_p99_ms: float | None = None
    tpot_p50_ms: float | None = None
    tpot_p90_ms: float | None = None
    tpot_p95_ms: float | None = None
    tpot_p99_ms: float | None = None
    throughput_tokens_sec: float | None = None
    rps_sustained: float | None = None
    accuracy_score: float | None = None
    gpu_utilization_pct: float | None = None
    memory_used_gb: float | None = None
    request_count: int | None = None
    failed_request_count: int | None = None
    percentile_source: str = "absent"
    source: str | None = None
    source_sha256: str | None = None
    detailed_metrics: Mapping[str, Any] = field(default_factory=dict)
    # All samples of TTFT and of TPOT. They follow from the same original as the percentiles, so
    # they are neither in the JSON nor in what the id is made of.
    ttft_sketch: LatencySketch | None = None
    tpot_sketch: LatencySketch | None = None

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The record a JSON object describes. Raises RecordError, which names every wrong key."""
        values, problems = parse_fields(document)
        problems = missing_problems(document) + problems + order_problems(values)
        has_percentiles = any(name in values for name in PERCENTILES)
        if "percentile_source" not in values:
            values["percentile_source"] = "measured" if has_percentiles else "absent"
        elif values["percentile_source"] == "absent":
            # A source that contradicts the figures would be believed by whoever reads it later.
            problems += [
                FieldProblem("percentile_source", "range", "is absent, but percentiles are given")
            ] * has_percentiles
        if problems:
            raise RecordError(problems)
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """The record as a JSON object of the keys that have a value, in a fixed order."""
        document = {
            item.name: getattr(self, item.name)
            for item in fields(self)
            if item.name not in _SKETCHES
        }
        document["benchmarked_at"] = time_text(self.benchmarked_at)
        document["parallelism"] = dict(self.parallelism)
        document["detailed_metrics"] = dict(self.detailed_metrics)
        return {key: value for key, value in document.items() if value not in (None, {})}

    def dry_run_json(self, file_format: str) -> dict[str, Any]:
        """The record as `servemark import --dry-run --json` prints it, absent values as null."""
        document = self.to_json()
        return {key: document.get(key) for key in DRY_RUN_KEYS} | {"format": file_format}

    def sha256(self) -> bytes:
        """SHA-256 of the record's canonical JSON: the same for every copy, other for any change."""
        canonical = json.dumps(
            self.to_json(), sort_keys=True, separators=(",", ":"), ensure_ascii=False
        )
        return hashlib.sha256(canonical.encode()).digest()

    def id(self) -> str:
        """The result id the record is stored under."""
        return str(ids.result_id(self.benchmarked_at, self.sha256()))


def time_text(time: datetime) -> str:
    """A UTC time as `2025-09-14T02:09:03Z`, with a fraction only where there is one."""
    return time.isoformat().replace("+00:00", "Z")


@dataclass(frozen=True)
class StreamPlan:
    """What one stream will carry: its header without an id, its rows, and their records.

    `records[i]` is what `rows[i]` was made from, and its configuration has the row's index.
    """

    header: stream_pb2.StreamHeader
    rows: list[result_pb2.ResultRow]
    records: list[ResultRecord]

    def stream_id(self, batch_rows: int) -> str:
        """The id that only the same header, the same rows and the same batch size have."""
        row_ids = "".join(row.id for row in self.rows).encode()
        header = self.header.SerializeToString(deterministic=True)
        return str(ids.stream_id(header, row_ids, str(batch_rows).encode()))


def records_to_stream(
    records: Iterable[ResultRecord], environment: Mapping[str, Any] | None = None
) -> Iterator[StreamPlan]:
    """The streams that carry the records: one for each tool, version and provenance.

    A header names at most 1,000 configurations; where there are more, another stream follows. A
    record that occurs twice is sent once. environment: where and how the results were measured; it
    goes into their details, and is no part of what makes a record the same.
    """
    groups: dict[tuple[str, str, str], list[ResultRecord]] = {}
    for record in records:
        key = (record.tool, record.tool_version or "", record.provenance)
        groups.setdefault(key, []).append(record)
    for key, members in groups.items():
        yield from _plans(key, members, environment)


def _plans(
    key: tuple[str, str, str],
    records: list[ResultRecord],
    environment: Mapping[str, Any] | None,
) -> Iterator[StreamPlan]:
    tool, tool_version, provenance = key
    plan, indexes = _empty_plan(tool, tool_version, provenance), dict[Config, int]()
    seen: set[str] = set()
    for record in records:
        row = row_to_proto(record, environment)
        if row.id in seen:
            continue
        seen.add(row.id)
        config = config_of(record)
        if config not in indexes and len(indexes) == MAX_CONFIGS:
            yield plan
            plan, indexes = _empty_plan(tool, tool_version, provenance), {}
        if config not in indexes:
            indexes[config] = len(indexes)
            plan.header.configs.append(config.to_proto())
        row.config_index = indexes[config]
        plan.rows.append(row)
        plan.records.append(record)
    if plan.rows:
        yield plan


def _empty_plan(tool: str, tool_version: str, provenance: str) -> StreamPlan:
    header = stream_pb2.StreamHeader(
        tool=tool,
        tool_version=tool_version,
        provenance=provenance_pb2.Provenance.Value(f"PROVENANCE_{provenance.upper()}"),
    )
    return StreamPlan(header=header, rows=[], records=[])


def config_of(record: ResultRecord) -> Config:
    """The configuration a record was measured on, by name."""
    return Config(
        model=record.model,
        hardware=record.hardware,
        framework=record.framework,
        workload_type=record.workload_type,
        model_version=record.model_version,
        quantization=record.quantization,
        format=record.format,
        framework_version=record.framework_version,
        input_tokens=record.input_tokens,
        output_tokens=record.output_tokens,
        concurrency=record.concurrency,
        request_rate=record.request_rate,
        **record.parallelism,
    )


def row_to_proto(
    record: ResultRecord, environment: Mapping[str, Any] | None = None
) -> result_pb2.ResultRow:
    """A record's row, with its id, for configuration 0."""
    time = Timestamp()
    time.FromDatetime(record.benchmarked_at)
    # The wire has no field of its own for these two; whoever reads the row later still wants them.
    detailed = dict(record.detailed_metrics)
    detailed.setdefault("gpu_count", record.gpu_count)
    if record.source is not None:
        detailed.setdefault("source", record.source)
    if environment is not None:
        detailed.setdefault("environment", environment)
    return result_pb2.ResultRow(
        id=record.id(),
        benchmark_time=time,
        metrics=result_pb2.ResultMetrics(**{name: getattr(record, name) for name in METRICS}),
        percentile_source=provenance_pb2.PercentileSource.Value(
            f"PERCENTILE_SOURCE_{record.percentile_source.upper()}"
        ),
        batch_size=record.batch_size,
        request_count=record.request_count,
        failed_request_count=record.failed_request_count,
        detailed_metrics_json=json.dumps(detailed, separators=(",", ":"), ensure_ascii=False),
        source_sha256=bytes.fromhex(record.source_sha256 or ""),
        ttft_sketch=record.ttft_sketch,
        tpot_sketch=record.tpot_sketch,
    )
