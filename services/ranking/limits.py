"""Whether alternatives keep a limit, as far as their runs tell.

The quantile of all requests together lies between the smallest and the largest quantile of the
runs, so a limit is met if every run keeps it, missed if none does, and uncertain otherwise. Where
it is known more closely, that decides: see `cells`.
Percentiles of one quantity bound each other: where the limited one was not measured, a higher one
within the limit means that it is met, and a lower one beyond it that it is missed.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from servemark.ranking.v1.recommend_pb2 import LimitVerdict
from services.ranking.candidates import Candidates
from services.ranking.matrix import Bools
from services.ranking.metrics import FAMILIES, METRICS, PLACE

# Of few values: what is large fills the caches.
Small = NDArray[np.int8]

MET = LimitVerdict.LIMIT_VERDICT_MET
MISSED = LimitVerdict.LIMIT_VERDICT_MISSED
UNCERTAIN = LimitVerdict.LIMIT_VERDICT_UNCERTAIN
UNKNOWN = LimitVerdict.LIMIT_VERDICT_UNKNOWN


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `bound` for a metric to minimize, at least `bound` for one to maximize."""

    metric: int
    bound: float


@dataclass(frozen=True, eq=False, slots=True)
class Verdicts:
    """How k candidates stand to one limit."""

    limit: Limit
    verdict: Small  # [k] LimitVerdict
    decided_by: Small  # [k] columns: the metric the verdict rests on


def judge(candidates: Candidates, limit: Limit) -> Verdicts:
    """The verdict of each candidate on one limit."""
    place = PLACE[limit.metric]
    verdict = _own(candidates, place, limit.bound)
    decided_by = np.full(len(candidates), place, dtype=np.int8)
    family = next((group for group in FAMILIES if place in group), (place,))
    unknown: Bools = verdict == UNKNOWN
    if unknown.any() and len(family) > 1:
        at = family.index(place)
        # The nearest percentile that decides is the most telling, so the farthest is set first.
        for higher in reversed(family[at + 1 :]):
            keeps = unknown & (_own(candidates, higher, limit.bound) == MET)
            verdict[keeps], decided_by[keeps] = MET, higher
        for lower in family[:at]:
            beyond = unknown & (_own(candidates, lower, limit.bound) == MISSED)
            # Different runs may carry different percentiles, and then contradict each other.
            verdict[beyond] = np.where(
                np.isin(verdict[beyond], (MET, UNCERTAIN)), UNCERTAIN, MISSED
            )
            decided_by[beyond] = lower
    return Verdicts(limit, verdict, decided_by)


def _own(candidates: Candidates, place: int, bound: float) -> Small:
    """The verdicts[k] from what the figure in one column surely is."""
    least, most = candidates.sure(place)
    if METRICS[place].maximize:
        met, missed = least >= bound, most < bound
    else:
        met, missed = most <= bound, least > bound
    verdict: Small = np.full(least.size, UNCERTAIN, dtype=np.int8)
    for value, who in ((MET, met), (MISSED, missed), (UNKNOWN, np.isnan(least) | np.isnan(most))):
        np.copyto(verdict, np.int8(value), where=who)
    return verdict
