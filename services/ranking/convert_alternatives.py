"""What can be chosen, and limits on it, into messages.

Answers are written in place, into the message they are a part of: a message that is made by itself
has memory of its own, is copied where it belongs, and each ten thousandth that goes has the
allocator look through all memory, which takes as long as a ranking.
"""

from collections.abc import Iterable

from servemark.ranking.v1.candidate_pb2 import Alternative
from servemark.type.v1.metric_pb2 import Metric, MetricLimit
from servemark.type.v1.provenance_pb2 import Provenance
from services.ranking.candidates import Candidates
from services.ranking.convert_estimates import write_estimate
from services.ranking.convert_prices import write_price
from services.ranking.convert_time import write_time
from services.ranking.estimated import EstimatedRow
from services.ranking.limits import Limit


def write_alternative(message: Alternative, candidates: Candidates, index: int) -> None:
    """Writes candidate `index` with its names, its operating point and its price."""
    row, price = candidates.row(index), candidates.price(index)
    message.config_id = row.config_id
    message.model_id = row.model_id
    message.model = row.model
    message.model_version = row.model_version
    message.quantization = row.quantization
    message.hardware_config_id = row.hardware_config_id
    message.hardware = row.hardware
    message.gpu_type = row.gpu_type
    message.gpu_count = row.gpu_count
    message.cloud_provider = row.cloud_provider
    message.framework = row.framework
    message.framework_version = row.framework_version
    message.workload_type = row.workload_type
    if row.input_tokens is not None:
        message.input_tokens = row.input_tokens
    if row.output_tokens is not None:
        message.output_tokens = row.output_tokens
    if row.concurrency is not None:
        message.concurrency = row.concurrency
    if row.request_rate is not None:
        message.request_rate = row.request_rate
    (
        message.tensor_parallelism,
        message.pipeline_parallelism,
        message.data_parallelism,
        message.expert_parallelism,
    ) = row.parallelism
    message.provenance = Provenance.ValueType(row.provenance)
    message.run_count = row.run_count
    write_time(message.newest_benchmark_time, row.newest_benchmark_us)
    message.tools.extend(row.tools)
    if price is not None:
        write_price(message.price, price)
    if isinstance(row, EstimatedRow):
        write_estimate(message.estimate, row)


def limits_to_proto(limits: Iterable[Limit]) -> list[MetricLimit]:
    """Limits as messages."""
    return [limit_to_proto(limit) for limit in limits]


def limit_to_proto(limit: Limit) -> MetricLimit:
    """A limit as a message."""
    return MetricLimit(metric=Metric.ValueType(limit.metric), limit=limit.bound)
