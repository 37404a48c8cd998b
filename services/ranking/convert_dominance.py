"""By which alternative another is dominated, and by how much, as a message."""

from collections.abc import Sequence

from servemark.ranking.v1.dominance_pb2 import Dominance
from servemark.type.v1.metric_pb2 import Metric
from services.ranking.candidates import Candidates
from services.ranking.matrix import Floats
from services.ranking.metrics import PLACE


def write_dominance(
    message: Dominance,
    candidates: Candidates,
    worse: int,
    better: int,
    metrics: Sequence[int],
    relative: Floats,
) -> None:
    """Writes how candidate `better` dominates `worse`; relative[m] are its margins by metric."""
    message.config_id = candidates.row(better).config_id
    for metric, share in zip(metrics, relative.tolist(), strict=True):
        place = PLACE[metric]
        theirs, its = (candidates.value_of(index, place) for index in (worse, better))
        message.margins.add(
            metric=Metric.ValueType(metric),
            value=its,
            margin=abs(its - theirs),
            relative_margin=share,
        )
