"""The fixed bounds of each use case's metrics, which FIXED_BOUNDS scales by.

They come from the candidates of a use case that do not miss its default limits: a run of ten
minutes would squeeze all that matters into a hair's breadth. They are rounded outward to the next
1, 2 or 5 of a power of ten, so that they neither hang on one run nor have to move for the next.
Values outside widen them until enough candidates stand behind them. Then they stay, so that scores
of different times can be compared (the principle of SPOTIS: J. Dezert et al., FUSION 2020); what
lies outside is clipped, and answers say so.
"""

import math
from collections.abc import Iterator

import numpy as np

from services.ranking.candidates import Candidates, Filter, PriceBasis, select
from services.ranking.content import UseCase
from services.ranking.limits import MISSED, Limit, judge
from services.ranking.matrix import NO_USE_CASE, Bools, Floats, Matrix, Reference, References
from services.ranking.metrics import METRICS, PLACE, MetricInfo, rounded


def establish(matrix: Matrix, minimum: int) -> dict[tuple[str, int], Reference]:
    """All references for `matrix`: those it has, and those its candidates now give.

    A reference with fewer than `minimum` candidates behind it is widened by values outside.
    """
    found = dict(matrix.references)
    for key, use_case in _use_cases(matrix):
        open_metrics = [info for info in METRICS if not _fixed(found, key, info, minimum)]
        if not open_metrics:
            continue
        candidates = select(matrix, Filter(), PriceBasis(), use_case)
        within = _within_limits(candidates, use_case)
        for info in open_metrics:
            column = candidates.value(PLACE[info.metric])[within]
            known = column[np.isfinite(column)]
            if known.size:
                before = found.get((key, info.metric))
                found[key, info.metric] = _reference(known, before, matrix.version)
    return found


def around(values: Floats) -> tuple[float, float]:
    """Bounds around values[n ≥ 1]: rounded outward, the lower below the upper.

    >>> around(np.array([31.0, 870.0])), around(np.array([20.0])), around(np.array([0.0]))
    ((20.0, 1000.0), (20.0, 50.0), (0.0, 1.0))
    """
    least, most = float(values.min()), float(values.max())
    low = max(_steps(least, below=True), default=0.0)
    high = min((step for step in _steps(most, below=False) if step > low), default=1.0)
    return low, high


def _use_cases(matrix: Matrix) -> Iterator[tuple[str, UseCase | None]]:
    yield NO_USE_CASE, None
    for use_case in matrix.content.use_cases:
        yield use_case.id, use_case


def _fixed(found: References, key: str, info: MetricInfo, minimum: int) -> bool:
    known = found.get((key, info.metric))
    return known is not None and known.candidate_count >= minimum


def _within_limits(candidates: Candidates, use_case: UseCase | None) -> Bools:
    """The candidates[k] that miss none of the default limits; all, if that leaves nobody."""
    keep = np.ones(len(candidates), dtype=np.bool_)
    for metric, limit in () if use_case is None else use_case.limits:
        keep &= judge(candidates, Limit(metric, limit)).verdict != MISSED
    return keep if keep.any() else ~keep


def _reference(known: Floats, before: Reference | None, version: int) -> Reference:
    low, high = around(known)
    if before is not None:
        low, high = min(low, before.low), max(high, before.high)
    least, most = rounded(float(known.min())), rounded(float(known.max()))
    count = int(known.size)
    return Reference(
        low=low,
        high=high,
        candidate_count=count,
        source=f"{least} to {most} over {count} candidates of matrix version {version}",
        matrix_version=version,
    )


def _steps(value: float, *, below: bool) -> Iterator[float]:
    """Steps of 1, 2 and 5 times a power of ten near `value`, on one side of it or at it."""
    if value <= 0:
        return
    power = math.floor(math.log10(value))
    for exponent in (power - 1, power, power + 1):
        for digit in (1, 2, 5):
            # Read from text, 0.2 is the float nearest to 0.2, which 2 * 10**-1 need not be.
            step = float(f"{digit}e{exponent}")
            if step <= value if below else step >= value:
                yield step
