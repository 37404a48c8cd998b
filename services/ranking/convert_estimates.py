"""How an alternative was estimated, as a message."""

from typing import Final

from servemark.ranking.v1.estimates_pb2 import Estimate
from servemark.type.v1.metric_pb2 import Metric
from services.ranking.estimated import EstimatedRow

AXIS: Final = {
    "concurrency": Estimate.AXIS_CONCURRENCY,
    "request_rate": Estimate.AXIS_REQUEST_RATE,
    "input_tokens": Estimate.AXIS_INPUT_TOKENS,
    "output_tokens": Estimate.AXIS_OUTPUT_TOKENS,
}


def write_estimate(message: Estimate, row: EstimatedRow) -> None:
    """Writes how the configuration was estimated."""
    message.axis = AXIS[row.axis]
    message.config_ids.extend(row.config_ids)
    for metric, found in row.estimates:
        message.errors.add(
            metric=Metric.ValueType(metric),
            error=found.error,
            is_absolute=not found.relative,
            low=found.low,
            high=found.high,
            tested_count=found.tested,
        )
