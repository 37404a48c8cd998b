"""What can be chosen, and limits on it, into messages."""

from collections.abc import Iterable

from servemark.ranking.v1.candidate_pb2 import Alternative
from servemark.type.v1.metric_pb2 import Metric, MetricLimit
from servemark.type.v1.provenance_pb2 import Provenance
from services.ranking.candidates import Candidates
from services.ranking.convert_prices import price_to_proto
from services.ranking.convert_time import time_to_proto
from services.ranking.limits import Limit


def alternative_to_proto(candidates: Candidates, index: int) -> Alternative:
    """Candidate `index` with its names, its operating point and its price."""
    row, price = candidates.row(index), candidates.price(index)
    tensor, pipeline, data, expert = row.parallelism
    return Alternative(
        config_id=row.config_id,
        model_id=row.model_id,
        model=row.model,
        model_version=row.model_version,
        quantization=row.quantization,
        hardware_config_id=row.hardware_config_id,
        hardware=row.hardware,
        gpu_type=row.gpu_type,
        gpu_count=row.gpu_count,
        cloud_provider=row.cloud_provider,
        framework=row.framework,
        framework_version=row.framework_version,
        workload_type=row.workload_type,
        input_tokens=row.input_tokens,
        output_tokens=row.output_tokens,
        concurrency=row.concurrency,
        request_rate=row.request_rate,
        provenance=Provenance.ValueType(row.provenance),
        run_count=row.run_count,
        newest_benchmark_time=time_to_proto(row.newest_benchmark_us),
        tools=row.tools,
        price=price_to_proto(price) if price is not None else None,
        tensor_parallelism=tensor,
        pipeline_parallelism=pipeline,
        data_parallelism=data,
        expert_parallelism=expert,
    )


def limits_to_proto(limits: Iterable[Limit]) -> list[MetricLimit]:
    """Limits as messages."""
    return [limit_to_proto(limit) for limit in limits]


def limit_to_proto(limit: Limit) -> MetricLimit:
    """A limit as a message."""
    return MetricLimit(metric=Metric.ValueType(limit.metric), limit=limit.bound)
