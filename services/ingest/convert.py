"""From the service's records to the contract's messages."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from servemark.ingest.v1.benchmark_config_pb2 import BenchmarkConfig, Parallelism, Workload
from servemark.ingest.v1.benchmark_result_pb2 import BenchmarkResult, ResultMetrics
from servemark.ingest.v1.latency_sketch_pb2 import LatencySketch
from servemark.ingest.v1.result_query_pb2 import ConfigSummary as ConfigSummaryMessage
from servemark.ingest.v1.result_query_pb2 import DailyModelStats, LatencySource, PooledMetric
from servemark.ingest.v1.result_query_pb2 import MetricSummary as MetricSummaryMessage
from servemark.ingest.v1.result_stream_pb2 import Rejection
from servemark.type.v1.provenance_pb2 import PercentileSource, Provenance
from services.ingest.convert_query import METRIC_OF_COLUMN
from services.ingest.convert_stream import rejection_to_proto
from services.ingest.records import (
    PERCENTILE_SOURCES,
    PROVENANCES,
    Config,
    ConfigSummary,
    DailyStats,
    MetricSummary,
    Result,
    StoredRejection,
)

_PROVENANCE: Final = {name: Provenance.Value(f"PROVENANCE_{name.upper()}") for name in PROVENANCES}
_PERCENTILE_SOURCE: Final = {
    name: PercentileSource.Value(f"PERCENTILE_SOURCE_{name.upper()}") for name in PERCENTILE_SOURCES
}
_LATENCY_SOURCE: Final = {
    None: LatencySource.LATENCY_SOURCE_UNSPECIFIED,
    "runs": LatencySource.LATENCY_SOURCE_RUNS,
    "sketches": LatencySource.LATENCY_SOURCE_SKETCHES,
}


def time_to_proto(moment: datetime) -> Timestamp:
    """The instant."""
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def config_to_proto(config: Config) -> BenchmarkConfig:
    """A configuration."""
    parts, shape = config.key.parts, config.key.shape
    return BenchmarkConfig(
        id=str(config.id),
        model_id=str(parts.model_id),
        model_version_id=str(parts.model_version_id),
        hardware_config_id=str(parts.hardware_config_id),
        framework_id=str(parts.framework_id),
        workload=Workload(
            workload_type=shape.workload_type,
            input_tokens=shape.input_tokens,
            output_tokens=shape.output_tokens,
            concurrency=shape.concurrency,
            request_rate=shape.request_rate,
        ),
        parallelism=Parallelism(
            tensor=shape.tensor_parallel,
            pipeline=shape.pipeline_parallel,
            data=shape.data_parallel,
            expert=shape.expert_parallel,
        ),
        provenance=_PROVENANCE[config.key.provenance],
        create_time=time_to_proto(config.created_at),
        organization_id=str(config.key.organization_id or ""),
    )


def result_to_proto(result: Result) -> BenchmarkResult:
    """A stored result."""
    return BenchmarkResult(
        id=str(result.id),
        config=config_to_proto(result.config),
        benchmark_time=time_to_proto(result.benchmarked_at),
        metrics=ResultMetrics(**result.metrics),
        percentile_source=_PERCENTILE_SOURCE[result.percentile_source],
        batch_size=result.batch_size,
        sequence_length=result.sequence_length,
        request_count=result.request_count,
        failed_request_count=result.failed_request_count,
        detailed_metrics_json=result.detailed_metrics or "",
        ttft_sketch=_sketch_to_proto(result.ttft_sketch),
        tpot_sketch=_sketch_to_proto(result.tpot_sketch),
        source_sha256=result.source_sha256 or b"",
        tool=result.tool,
        tool_version=result.tool_version,
        stream_id=str(result.stream_id),
        create_time=time_to_proto(result.created_at),
    )


def _sketch_to_proto(sketch: Sequence[int] | None) -> LatencySketch | None:
    if sketch is None:
        return None
    first, zeros, *counts = sketch
    return LatencySketch(first_bucket=first, zero_count=zeros, counts=counts)


def summary_to_proto(summary: ConfigSummary) -> ConfigSummaryMessage:
    """A configuration with its runs condensed."""
    return ConfigSummaryMessage(
        config=config_to_proto(summary.config),
        metrics=[_metric_of_config(metric, summary) for metric in summary.metrics],
        pooled_metrics=[
            PooledMetric(
                metric=METRIC_OF_COLUMN[pooled.column],
                value=pooled.value,
                request_count=pooled.request_count,
                run_count=pooled.run_count,
            )
            for pooled in summary.pooled
        ],
        run_count=summary.run_count,
        request_count=summary.request_count,
        failed_request_count=summary.failed_request_count,
        newest_benchmark_time=time_to_proto(summary.newest_benchmarked_at),
        tools=summary.tools,
    )


def _metric_of_config(metric: MetricSummary, summary: ConfigSummary) -> MetricSummaryMessage:
    message = metric_to_proto(metric)
    message.request_count = metric.request_count
    if metric.newest_benchmarked_at not in (None, summary.newest_benchmarked_at):
        message.newest_benchmark_time.CopyFrom(time_to_proto(metric.newest_benchmarked_at))
    return message


def metric_to_proto(metric: MetricSummary) -> MetricSummaryMessage:
    """A figure over some runs."""
    return MetricSummaryMessage(
        metric=METRIC_OF_COLUMN[metric.column],
        median=metric.median,
        mean=metric.mean,
        min=metric.lowest,
        max=metric.highest,
        run_count=metric.run_count,
    )


def daily_stats_to_proto(stats: DailyStats) -> DailyModelStats:
    """One model's results of one day."""
    return DailyModelStats(
        model_id=str(stats.model_id),
        stats_date=stats.stats_date.isoformat(),
        avg_accuracy=stats.avg_accuracy,
        avg_throughput=stats.avg_throughput,
        p95_latency_ms=stats.p95_latency_ms,
        p95_latency_source=_LATENCY_SOURCE[stats.p95_latency_source],
        total_benchmarks=stats.total_benchmarks,
        accuracy_run_count=stats.accuracy_runs,
        throughput_run_count=stats.throughput_runs,
        latency_run_count=stats.latency_runs,
        request_count=stats.request_count,
        failed_request_count=stats.failed_request_count,
        update_time=time_to_proto(stats.updated_at),
    )


def stored_rejection_to_proto(stored: StoredRejection) -> Rejection:
    """A refused row as it is kept."""
    return Rejection(
        stream_id=str(stored.stream_id),
        rejection=rejection_to_proto(stored.sequence, stored.rejection),
        payload_sha256=stored.rejection.payload_sha256,
        create_time=time_to_proto(stored.created_at),
    )
