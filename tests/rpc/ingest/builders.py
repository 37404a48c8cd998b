"""Headers, rows and batches with everything filled in that a test does not care about."""

import random
import time
from collections.abc import Iterable
from typing import Any
from uuid import UUID, uuid4

from servemark.catalog.v1.config_reference_pb2 import ConfigReference
from servemark.ingest.v1.benchmark_config_pb2 import Parallelism, Workload
from servemark.ingest.v1.benchmark_result_pb2 import ResultMetrics, ResultRow
from servemark.ingest.v1.result_columns_pb2 import MetricColumns, ResultColumns
from servemark.ingest.v1.result_stream_pb2 import ConfigSpec, ResultBatch, StreamHeader
from servemark.runtime.ids import uuid7
from servemark.type.v1.provenance_pb2 import Provenance

MODEL = "acme/llama-8b"
OTHER_MODEL = "acme/qwen-32b"
HARDWARE = "aws/p5.48xlarge"
OTHER_HARDWARE = "gcp/a3-highgpu-8g"
FRAMEWORK = "vllm"


def now_ms() -> int:
    """Unix milliseconds."""
    return time.time_ns() // 1_000_000


def config(
    model: str = MODEL,
    hardware: str = HARDWARE,
    framework: str = FRAMEWORK,
    workload_type: str = "chatbot",
    parallelism: Parallelism | None = None,
    **workload: Any,
) -> ConfigSpec:
    """A configuration by names of the seeded catalog."""
    spec = ConfigSpec(
        reference=ConfigReference(),
        workload=Workload(workload_type=workload_type, **workload),
        parallelism=parallelism,
    )
    spec.reference.model_version.model = model
    spec.reference.hardware.name = hardware
    spec.reference.framework.name = framework
    return spec


def header(*configs: ConfigSpec, **fields: Any) -> StreamHeader:
    """A header of a new stream; one configuration if none is given."""
    values: dict[str, Any] = {
        "stream_id": str(uuid4()),
        "tool": "vllm",
        "tool_version": "0.11.0",
        "provenance": Provenance.PROVENANCE_MEASURED,
        "configs": configs or [config(concurrency=16)],
    }
    return StreamHeader(**(values | fields))


def metrics(**figures: Any) -> ResultMetrics:
    """The figures given, or a few plausible ones."""
    return ResultMetrics(
        **(figures or {"ttft_p50_ms": 40.0, "ttft_p90_ms": 80.0, "throughput_tokens_sec": 900.0})
    )


def row(
    time_ms: int | None = None, *, figures: dict[str, Any] | None = None, **fields: Any
) -> ResultRow:
    """A new valid row that ended at `time_ms`, now if not given."""
    moment = now_ms() if time_ms is None else time_ms
    values: dict[str, Any] = {"id": str(uuid7(moment)), "metrics": metrics(**(figures or {}))}
    message = ResultRow(**(values | fields))
    if "benchmark_time" not in fields:
        message.benchmark_time.FromMilliseconds(moment)
    return message


def rows(count: int, time_ms: int | None = None) -> list[ResultRow]:
    """New valid rows, a millisecond apart, each with figures of its own."""
    start = now_ms() if time_ms is None else time_ms
    return [
        row(start + index, figures={"ttft_p50_ms": 10.0 + random.random()})
        for index in range(count)
    ]


def batch(sequence: int, content: Iterable[ResultRow]) -> ResultBatch:
    """A batch."""
    return ResultBatch(sequence=sequence, rows=content)


def as_columns(content: ResultBatch) -> ResultBatch:
    """The same batch with its rows as columns; their ids have to be UUIDs."""
    rows = content.rows
    columns = ResultColumns(
        ids=b"".join(UUID(one.id).bytes for one in rows),
        config_indexes=[one.config_index for one in rows],
        benchmark_times_us=[
            one.benchmark_time.seconds * 1_000_000 + one.benchmark_time.nanos // 1000
            for one in rows
        ],
    )
    for field in MetricColumns.DESCRIPTOR.fields:
        if any(one.metrics.HasField(field.name) for one in rows):  # type: ignore[arg-type]
            _fill(getattr(columns.metrics, field.name), [one.metrics for one in rows], field.name)
    for name in ("batch_size", "request_count", "failed_request_count"):
        if any(one.HasField(name) for one in rows):
            _fill(getattr(columns, f"{name}s"), rows, name)
    if any(one.percentile_source for one in rows):
        columns.percentile_sources.extend(one.percentile_source for one in rows)
    for name in ("detailed_metrics_json", "source_sha256"):
        if any(getattr(one, name) for one in rows):
            getattr(columns, name).extend(getattr(one, name) for one in rows)
    for name in ("ttft_sketch", "tpot_sketch"):
        if any(one.HasField(name) for one in rows):  # type: ignore[arg-type]
            column = getattr(columns, f"{name}es")
            sketches = [getattr(one, name) for one in rows]
            column.first_buckets.extend(sketch.first_bucket for sketch in sketches)
            column.zero_counts.extend(sketch.zero_count for sketch in sketches)
            column.lengths.extend(len(sketch.counts) for sketch in sketches)
            column.counts.extend(count for sketch in sketches for count in sketch.counts)
    return ResultBatch(sequence=content.sequence, columns=columns)


def _fill(column: Any, messages: Iterable[Any], name: str) -> None:
    """Fills a column with presence; a full one does without."""
    present = [message.HasField(name) for message in messages]
    column.values.extend(getattr(message, name) for message in messages)
    if not all(present):
        bits = sum(1 << index for index, is_set in enumerate(present) if is_set)
        column.presence = bits.to_bytes((len(present) + 7) // 8, "little")
