"""How an alternative was estimated, as a message."""

from typing import Final

from servemark.ranking.v1.estimates_pb2 import Estimate, EstimateError
from servemark.type.v1.metric_pb2 import Metric
from services.ranking.content import ConfigRow
from services.ranking.estimated import EstimatedRow

AXIS: Final = {
    "concurrency": Estimate.AXIS_CONCURRENCY,
    "request_rate": Estimate.AXIS_REQUEST_RATE,
    "input_tokens": Estimate.AXIS_INPUT_TOKENS,
    "output_tokens": Estimate.AXIS_OUTPUT_TOKENS,
}


def estimate_to_proto(row: ConfigRow) -> Estimate | None:
    """How the configuration was estimated; None where it was not."""
    if not isinstance(row, EstimatedRow):
        return None
    return Estimate(
        axis=AXIS[row.axis],
        config_ids=row.config_ids,
        errors=[
            EstimateError(
                metric=Metric.ValueType(metric),
                error=found.error,
                is_absolute=not found.relative,
                low=found.low,
                high=found.high,
                tested_count=found.tested,
            )
            for metric, found in row.estimates
        ],
    )
