"""Configurations and results as they come out of queries."""

from typing import Any

from sqlalchemy import Row, Text, cast

from services.ingest.metrics import METRIC_COLUMNS
from services.ingest.records import Config, NewConfig, Parts, Result, Shape
from services.ingest.tables import benchmark_configs, benchmark_results

_c = benchmark_configs.c
_r = benchmark_results.c

# Labelled, because a result has columns of the same names.
CONFIG_COLUMNS = tuple(
    column.label(f"config_{column.name}")
    for column in (
        _c.model_id,
        _c.model_version_id,
        _c.hardware_config_id,
        _c.framework_id,
        _c.workload_type,
        _c.input_tokens,
        _c.output_tokens,
        _c.concurrency,
        _c.request_rate,
        _c.tensor_parallel,
        _c.pipeline_parallel,
        _c.data_parallel,
        _c.expert_parallel,
        _c.provenance,
        _c.created_at,
    )
)

RESULT_COLUMNS = (
    _r.id,
    _r.config_id,
    _r.benchmarked_at,
    *(_r[name] for name in METRIC_COLUMNS),
    _r.percentile_source,
    _r.batch_size,
    _r.sequence_length,
    _r.request_count,
    _r.failed_request_count,
    # As text: a driver's numbers would round what JSON can say.
    cast(_r.detailed_metrics, Text).label("detailed_metrics"),
    _r.ttft_sketch,
    _r.tpot_sketch,
    _r.source_sha256,
    _r.tool,
    _r.tool_version,
    _r.stream_id,
    _r.created_at,
)


def config_from_row(row: Row[Any]) -> Config:
    """The configuration in a row of `config_id` and CONFIG_COLUMNS."""
    return Config(
        id=row.config_id,
        key=NewConfig(
            parts=Parts(
                model_id=row.config_model_id,
                model_version_id=row.config_model_version_id,
                hardware_config_id=row.config_hardware_config_id,
                framework_id=row.config_framework_id,
            ),
            shape=Shape(
                workload_type=row.config_workload_type,
                input_tokens=row.config_input_tokens,
                output_tokens=row.config_output_tokens,
                concurrency=row.config_concurrency,
                request_rate=row.config_request_rate,
                tensor_parallel=row.config_tensor_parallel,
                pipeline_parallel=row.config_pipeline_parallel,
                data_parallel=row.config_data_parallel,
                expert_parallel=row.config_expert_parallel,
            ),
            provenance=row.config_provenance,
        ),
        created_at=row.config_created_at,
    )


def result_from_row(row: Row[Any], config: Config) -> Result:
    """The result of that configuration in a row of RESULT_COLUMNS."""
    return Result(
        id=row.id,
        config=config,
        benchmarked_at=row.benchmarked_at,
        metrics={name: getattr(row, name) for name in METRIC_COLUMNS},
        percentile_source=row.percentile_source,
        batch_size=row.batch_size,
        sequence_length=row.sequence_length,
        request_count=row.request_count,
        failed_request_count=row.failed_request_count,
        detailed_metrics=row.detailed_metrics,
        ttft_sketch=row.ttft_sketch,
        tpot_sketch=row.tpot_sketch,
        source_sha256=row.source_sha256,
        tool=row.tool,
        tool_version=row.tool_version,
        stream_id=row.stream_id,
        created_at=row.created_at,
    )
