"""By which alternative another is dominated, and by how much, as a message."""

from collections.abc import Sequence

from servemark.ranking.v1.dominance_pb2 import Dominance, DominanceMargin
from servemark.type.v1.metric_pb2 import Metric
from services.ranking.candidates import Candidates
from services.ranking.matrix import Floats
from services.ranking.metrics import PLACE


def dominance_to_proto(
    candidates: Candidates, worse: int, better: int, metrics: Sequence[int], relative: Floats
) -> Dominance:
    """How candidate `better` dominates `worse` in the metrics; relative[m] are its margins."""
    return Dominance(
        config_id=candidates.row(better).config_id,
        margins=[
            _margin(metric, float(share), *_values(candidates, worse, better, metric))
            for metric, share in zip(metrics, relative, strict=True)
        ],
    )


def _values(candidates: Candidates, worse: int, better: int, metric: int) -> tuple[float, float]:
    place = PLACE[metric]
    return float(candidates.value[worse, place]), float(candidates.value[better, place])


def _margin(metric: int, relative: float, worse: float, better: float) -> DominanceMargin:
    return DominanceMargin(
        metric=Metric.ValueType(metric),
        value=better,
        margin=abs(better - worse),
        relative_margin=relative,
    )
