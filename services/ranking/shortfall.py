"""What keeps all candidates of a request out, in the terms of `infeasible`."""

from dataclasses import dataclass

import numpy as np

from servemark.type.v1.metric_pb2 import Metric
from services.ranking.infeasible import Nearest, nearest
from services.ranking.limits import MET, UNCERTAIN, Limit
from services.ranking.matrix import Bools, Floats, Ints
from services.ranking.metrics import PLACE, info_of
from services.ranking.recommend import Answer


@dataclass(frozen=True, eq=False, slots=True)
class Shortfall:
    """Which limits to drop or to relax; the budget is the last of the l limits."""

    limits: tuple[Limit, ...]  # [l]
    who: Ints  # [n] the candidates that have every criterion
    found: Nearest


def shortfall(answer: Answer) -> Shortfall | None:
    """What would have to give; None where there is no limit, or something fits."""
    candidates, screened = answer.candidates, answer.screened
    most = screened.max_usd_per_hour
    if answer.ranking is not None or not (screened.verdicts or most is not None):
        return None
    complete: Bools = np.ones(len(candidates), dtype=np.bool_)
    for metric, _ in answer.weights:
        complete &= ~np.isnan(candidates.value(PLACE[metric]))
    who = np.flatnonzero(complete)
    limits, violated, actual = list[Limit](), list[Bools](), list[Floats]()
    accepted = (MET, UNCERTAIN) if answer.request.accept_uncertain else (MET,)
    for verdicts in screened.verdicts:
        limit = verdicts.limit
        limits.append(limit)
        violated.append(~np.isin(verdicts.verdict[who], accepted))
        low, high = candidates.sure(PLACE[limit.metric])
        # The bound has to let the worst in, or the best where that may be missed.
        up = info_of(limit.metric).maximize
        telling = high if up == answer.request.accept_uncertain else low
        actual.append(telling[who])
    if most is not None:
        usd = candidates.usd_per_hour[who]
        limits.append(Limit(Metric.METRIC_USD_PER_HOUR, most))
        violated.append(~(usd <= most))
        actual.append(usd)
    found = nearest(
        np.array(violated).T,
        np.array(actual).T,
        [limit.bound for limit in limits],
        [info_of(limit.metric).maximize for limit in limits],
    )
    return Shortfall(tuple(limits), who, found)
