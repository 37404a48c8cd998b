"""A recommendation from a matrix: filter, limits, budget, then TOPSIS and the Pareto fronts.

A plain function of the request and the matrix: no clock, no chance, no order of arrival has a say,
so the same request on the same version gives the same answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from servemark.ranking.v1.candidate_pb2 import Notice
from services.ranking import pareto, topsis
from services.ranking.candidates import Candidates, Filter, PriceBasis
from services.ranking.content import UseCase
from services.ranking.estimated import select_with_estimates
from services.ranking.limits import Limit
from services.ranking.matrix import NO_USE_CASE, Bools, Floats, Ints, Matrix
from services.ranking.metrics import PLACE, bound, info_of
from services.ranking.notices import (
    SCORES_RELATIVE,
    Message,
    elsewhere,
    not_measured,
    nothing_left,
    notices_of,
)
from services.ranking.options import OperatingPoint, Options, Target
from services.ranking.references import around
from services.ranking.screening import Screened, screen
from services.ranking.topsis import Normalization

DEFAULT_RESULTS = 20

# So many of the best are likely to tell where another one wins.
LIKELY = 64


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for; `weights` and `limits` empty: the use case's."""

    use_case: UseCase | None = None
    weights: tuple[tuple[int, float], ...] = ()
    limits: tuple[Limit, ...] = ()
    no_default_limits: bool = False
    max_usd_per_hour: float | None = None
    filter: Filter = field(default_factory=Filter)
    price_basis: PriceBasis = field(default_factory=PriceBasis)
    normalization: Normalization = Normalization.VECTOR
    accept_uncertain: bool = False
    max_results: int | None = DEFAULT_RESULTS
    """None: all of them."""
    max_excluded: int = 0
    explain_cells: bool = False
    options: Options = field(default_factory=Options)
    target: Target | None = None
    operating_point: OperatingPoint | None = None
    """What to estimate for; None: estimate nothing."""


@dataclass(frozen=True, eq=False, slots=True)
class Ranking:
    """The r alternatives that were ranked, in order of configuration id, by m criteria."""

    criteria: tuple[int, ...]  # metrics
    who: Ints  # [r] candidates
    values: Floats  # [r, m]
    maximize: Bools  # [m]
    bounds: Floats | None  # [m, 2], for FIXED_BOUNDS only
    result: topsis.TopsisResult
    best: Ints  # [b ≥ s] places of the best alternatives, best first
    shown: Ints  # [s] places of those that are listed
    rank: Ints  # [s] theirs
    pareto_rank: Ints  # [r] of those that are listed and of all that dominate them; 0: not known


@dataclass(frozen=True, eq=False, slots=True)
class Answer:
    """Everything a response says; `ranking` is None where nothing is left to rank."""

    request: Request
    matrix: Matrix
    limits: tuple[Limit, ...]
    weights: tuple[tuple[int, float], ...]  # scaled to a sum of 1
    screened: Screened
    ranking: Ranking | None
    notices: tuple[Message, ...]

    @property
    def candidates(self) -> Candidates:
        """The configurations that passed the filter."""
        return self.screened.candidates


def recommend(matrix: Matrix, request: Request) -> Answer:
    """The answer to `request`, whose fields are valid and which has weights or a use case."""
    candidates, notices = select_with_estimates(
        matrix, request.operating_point, request.filter, request.price_basis, request.use_case
    )
    weights = _weights(candidates, request, notices)
    limits = _limits(request, notices)
    # Where nobody has any of the figures that count, that is why all of them are left out.
    missing = () if weights else [metric for metric, _ in _asked(request)]
    screened = screen(
        candidates,
        [metric for metric, _ in weights] or missing,
        limits,
        max_usd_per_hour=request.max_usd_per_hour,
        accept_uncertain=request.accept_uncertain,
    )
    ranking = None
    if screened.kept.size:
        ranking = _rank(candidates, screened.kept, weights, request, notices)
    else:
        notices.append(nothing_left(screened))
    notices += not_measured(candidates, screened.kept)
    notices += elsewhere(candidates, screened.kept, request.operating_point)
    notices.sort(key=lambda notice: (notice.kind, notice.metric))
    return Answer(request, matrix, limits, weights, screened, ranking, tuple(notices))


def _asked(request: Request) -> list[tuple[int, float]]:
    """The weights above 0: what counts for nothing need not be measured either."""
    use_case = request.use_case
    given = request.weights or (use_case.weights if use_case else ())
    return [(metric, weight) for metric, weight in given if weight > 0]


def _weights(
    candidates: Candidates, request: Request, notices: list[Message]
) -> tuple[tuple[int, float], ...]:
    """The criteria somebody has a figure for, with weights that sum to 1."""
    asked = _asked(request)
    kept = [(metric, weight) for metric, weight in asked if candidates.has_any(PLACE[metric])]
    if len(candidates):
        for metric in sorted({metric for metric, _ in asked} - {metric for metric, _ in kept}):
            label = info_of(metric).label
            rest = "; the other weights were scaled up" if kept else ""
            text = f"No candidate has a figure for {label}, so it does not count{rest}."
            notices.append(Message(Notice.KIND_CRITERION_DROPPED, text, metric))
    # Against the largest first, for the sum of the weights may overflow.
    top = max((weight for _, weight in kept), default=1.0)
    total = sum(weight / top for _, weight in kept)
    return tuple((metric, weight / top / total) for metric, weight in kept)


def _limits(request: Request, notices: list[Message]) -> tuple[Limit, ...]:
    if request.limits or request.no_default_limits or request.use_case is None:
        return request.limits
    limits = tuple(Limit(metric, number) for metric, number in request.use_case.limits)
    if limits:
        listed = ", ".join(bound(limit.metric, limit.bound) for limit in limits)
        text = f"The default limits of {request.use_case.name} were applied: {listed}."
        notices.append(Message(Notice.KIND_DEFAULT_LIMITS_APPLIED, text))
    return limits


def _rank(
    candidates: Candidates,
    who: Ints,
    weights: Sequence[tuple[int, float]],
    request: Request,
    notices: list[Message],
) -> Ranking:
    criteria = tuple(metric for metric, _ in weights)
    values = candidates.values_of(who, criteria)
    maximize = np.array([info_of(metric).maximize for metric in criteria], dtype=np.bool_)
    fixed = request.normalization is Normalization.FIXED_BOUNDS
    bounds = None
    if fixed:
        bounds = _bounds(candidates.matrix, request.use_case, criteria, values, notices)
    result = topsis.rank(
        values,
        [weight for _, weight in weights],
        maximize,
        normalization=request.normalization,
        bounds=bounds,
    )
    notices += notices_of(result, [info_of(metric).label for metric in criteria], criteria)
    if not fixed:
        notices.append(SCORES_RELATIVE)
    count = request.max_results
    best = result.best(count if count is None else max(count, LIKELY))
    shown = best[:count]
    rank = topsis.competition_ranks(result.score[shown])
    fronts = pareto.ranks_of(values, maximize, shown)
    return Ranking(criteria, who, values, maximize, bounds, result, best, shown, rank, fronts)


def _bounds(
    matrix: Matrix,
    use_case: UseCase | None,
    criteria: Sequence[int],
    values: Floats,
    notices: list[Message],
) -> Floats:
    """The reference bounds[m, 2] of the criteria."""
    key = NO_USE_CASE if use_case is None else use_case.id
    found = []
    for place, metric in enumerate(criteria):
        reference = matrix.references.get((key, metric)) or matrix.references.get(
            (NO_USE_CASE, metric)
        )
        if reference is not None:
            found.append((reference.low, reference.high))
            continue
        # Only results of other kinds or lengths have it, so nothing was there to fix bounds by.
        found.append(around(values[:, place]))
        text = (
            f"No reference bounds are known for {info_of(metric).label}; those used are of this "
            "answer only."
        )
        notices.append(replace(SCORES_RELATIVE, text=text, metric=metric))
    return np.array(found, dtype=np.float64)
