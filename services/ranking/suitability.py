"""How well each model suits a use case: its best place in the use case's stored ranking.

Stored rankings have fixed bounds, so that a score means the same in every generation; only
configurations that keep the use case's default limits are in them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from servemark.ranking.v1.recommend_pb2 import Recommendation
from servemark.type.v1.provenance_pb2 import Provenance
from services.ranking.metrics import info_of
from services.ranking.store_rankings import ModelPlace

SOURCE = "model_rankings"
"""What `performance_summary.calculated_from` says of entries that are made here."""

# No ranking is surer than that, and a change below it is not worth a write.
_SCORE_DECIMALS = 4
_FIGURE_DIGITS = 4


@dataclass(frozen=True, slots=True)
class Suitability:
    """What a model use case says of one model. Without a place: no score, and 0 as priority."""

    score: float | None
    recommended: bool
    priority: int
    summary: dict[str, Any]


UNRANKED = Suitability(None, recommended=False, priority=0, summary={"calculated_from": SOURCE})
"""Of a model that had a place, and has none now."""


def suitabilities(places: Sequence[ModelPlace], ranked_count: int) -> dict[str, Suitability]:
    """The suitability of each model, by its id, from its best place; `places` are best first.

    The score is the best place's. The priority counts models as the ranking counts alternatives:
    equal ones share it, and the next is left out. Recommended is whose best place is the first, or
    is on the Pareto front: nothing else is at least as good in every criterion.
    """
    found: dict[str, Suitability] = {}
    priority, before = 0, None
    for number, place in enumerate(places, start=1):
        if place.rank != before:
            priority, before = number, place.rank
        best = Recommendation.FromString(place.payload)
        found[str(place.model_id)] = Suitability(
            score=round(place.score, _SCORE_DECIMALS),
            recommended=place.rank == 1 or best.pareto_rank == 1,
            priority=priority,
            summary=_summary(place, best, ranked_count),
        )
    return found


def _summary(place: ModelPlace, best: Recommendation, ranked_count: int) -> dict[str, Any]:
    chosen = best.alternative
    return {
        "calculated_from": SOURCE,
        "rank_position": place.rank,
        "ranked_count": ranked_count,
        "configuration_count": place.config_count,
        "config_id": chosen.config_id,
        "model_version": chosen.model_version,
        "quantization": chosen.quantization,
        "hardware": chosen.hardware,
        "gpu_type": chosen.gpu_type,
        "gpu_count": chosen.gpu_count,
        "framework": chosen.framework,
        "framework_version": chosen.framework_version,
        "provenance": Provenance.Name(chosen.provenance).removeprefix("PROVENANCE_").lower(),
        "run_count": chosen.run_count,
        "figures": {
            info_of(cell.metric).column: float(f"{cell.value:.{_FIGURE_DIGITS}g}")
            for cell in best.cells
        },
    }
