"""Configurations and results as they come out of queries."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final
from uuid import UUID

from services.ingest.metrics import METRIC_COLUMNS
from services.ingest.records import Config, NewConfig, Parts, Result, Shape
from services.ingest.store_filter import Arguments
from services.ingest.tables import benchmark_configs

# What makes a configuration, in the order of `config_from_row`.
_CONFIG: Final = (
    "id",
    "model_id",
    "model_version_id",
    "hardware_config_id",
    "framework_id",
    "workload_type",
    "input_tokens",
    "output_tokens",
    "concurrency",
    "request_rate",
    "tensor_parallel",
    "pipeline_parallel",
    "data_parallel",
    "expert_parallel",
    "provenance",
    "created_at",
    "org_id",
)
CONFIG_COLUMNS: Final = tuple(benchmark_configs.c[name] for name in _CONFIG)

# What makes a result, in the order of `result_from_row`.
RESULT_COLUMNS: Final = ", ".join(
    (
        "id",
        "config_id",
        "benchmarked_at",
        *METRIC_COLUMNS,
        "percentile_source",
        "batch_size",
        "sequence_length",
        "request_count",
        "failed_request_count",
        # As text: a driver's numbers would round what JSON can say.
        "detailed_metrics::text",
        "ttft_sketch",
        "tpot_sketch",
        "source_sha256",
        "tool",
        "tool_version",
        "stream_id",
        "created_at",
    )
)
_METRICS: Final = slice(3, 3 + len(METRIC_COLUMNS))

Fetch = Callable[..., Awaitable[Sequence[Any]]]


def config_from_row(row: Sequence[Any]) -> Config:
    """The configuration in a row of CONFIG_COLUMNS."""
    return Config(
        id=row[0],
        key=NewConfig(Parts(*row[1:5]), Shape(*row[5:14]), row[14], organization_id=row[16]),
        created_at=row[15],
    )


async def configs_by_id(
    fetch: Fetch, ids: Iterable[UUID], models: Iterable[UUID] = ()
) -> dict[UUID, Config]:
    """The configurations with these ids; quicker where all of their models are named."""
    arguments = Arguments()
    conditions = f"id = {arguments.any_of(set(ids), 'uuid')}"
    of_models = set(models)
    if of_models:
        conditions += f" AND model_id = {arguments.any_of(of_models, 'uuid')}"
    query = f"SELECT {', '.join(_CONFIG)} FROM benchmark_configs WHERE {conditions}"  # noqa: S608
    return {row[0]: config_from_row(row) for row in await fetch(query, *arguments.values)}


def result_from_row(row: Sequence[Any], config: Config) -> Result:
    """The result of that configuration in a row that begins with RESULT_COLUMNS."""
    rest = row[_METRICS.stop :]
    return Result(
        id=row[0],
        config=config,
        benchmarked_at=row[2],
        metrics=dict(zip(METRIC_COLUMNS, row[_METRICS], strict=True)),
        percentile_source=rest[0],
        batch_size=rest[1],
        sequence_length=rest[2],
        request_count=rest[3],
        failed_request_count=rest[4],
        detailed_metrics=rest[5],
        ttft_sketch=rest[6],
        tpot_sketch=rest[7],
        source_sha256=rest[8],
        tool=rest[9],
        tool_version=rest[10],
        stream_id=rest[11],
        created_at=rest[12],
    )
