"""The configurations that no other is better than in every chosen metric."""

from dataclasses import dataclass, field

import numpy as np

from services.ranking import pareto
from services.ranking.candidates import Candidates, Filter, PriceBasis, select
from services.ranking.content import UseCase
from services.ranking.dominance import dominated_by
from services.ranking.limits import Limit
from services.ranking.matrix import Floats, Ints, Matrix
from services.ranking.metrics import info_of
from services.ranking.notices import Message, not_measured, nothing_left
from services.ranking.screening import Screened, screen


@dataclass(frozen=True, slots=True)
class FrontRequest:
    """What is asked for: 2 to 6 different metrics, and who takes part."""

    metrics: tuple[int, ...]
    use_case: UseCase | None = None
    filter: Filter = field(default_factory=Filter)
    limits: tuple[Limit, ...] = ()
    price_basis: PriceBasis = field(default_factory=PriceBasis)
    max_usd_per_hour: float | None = None
    include_dominated: bool = False
    explain_cells: bool = False


@dataclass(frozen=True, eq=False, slots=True)
class Front:
    """The points to show, as candidates with their Pareto ranks, and what was left out."""

    request: FrontRequest
    matrix: Matrix
    screened: Screened
    points: Ints  # [p] candidates, by rank, then the first metric, best first, then id
    pareto_rank: Ints  # [p]
    dominated_by: Ints  # [p] candidates, of those with a rank above 1; others: -1
    margins: Floats  # [p, m] relative, NaN where nobody dominates
    front_count: int
    dominated_count: int
    notices: tuple[Message, ...]

    @property
    def candidates(self) -> Candidates:
        """The configurations that passed the filter."""
        return self.screened.candidates


def pareto_front(matrix: Matrix, request: FrontRequest) -> Front:
    """The Pareto fronts of the candidates that have every metric and keep every limit."""
    candidates = select(matrix, request.filter, request.price_basis, request.use_case)
    screened = screen(
        candidates, request.metrics, request.limits, max_usd_per_hour=request.max_usd_per_hour
    )
    infos = [info_of(metric) for metric in request.metrics]
    values = candidates.values_of(screened.kept, request.metrics)
    maximize = [info.maximize for info in infos]
    ranks = pareto.pareto_rank(values, maximize)
    first = values[:, 0] if not infos[0].maximize else -values[:, 0]
    # Candidates are in order of id, and the sort is stable.
    order = np.lexsort((first, ranks))
    front_count = int((ranks == 1).sum())
    shown = order if request.include_dominated else order[:front_count]
    by = np.full(ranks.size, -1, dtype=np.int64)
    margins = np.full(values.shape, np.nan)
    if request.include_dominated:
        found = dominated_by(values, maximize, ranks)
        by[found.rows], margins[found.rows] = screened.kept[found.by], found.margins
    notices = not_measured(candidates, screened.kept)
    if not screened.kept.size:
        notices.append(nothing_left(screened))
    return Front(
        request=request,
        matrix=matrix,
        screened=screened,
        points=screened.kept[shown],
        pareto_rank=ranks[shown],
        dominated_by=by[shown],
        margins=margins[shown],
        front_count=front_count,
        dominated_count=int(ranks.size) - front_count,
        notices=tuple(sorted(notices, key=lambda notice: (notice.kind, notice.metric))),
    )
