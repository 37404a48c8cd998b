"""What a configuration would likely do at a load or a length between those it was measured at.

Only along one curve: points that differ in nothing but the load (concurrency or request rate) or in
nothing but one length. Only between measured points, never beyond them. And never without an error:
each inner point is left out in turn and estimated from the others, and the largest of these errors
is the estimate's. The gaps are then twice as wide as the real ones, so it is a cautious figure; it
rests on as many points as the curve has inner ones, and `tested` says how many.

The curve is piecewise cubic and monotone wherever the points are, so it stays between the two next
to it: F. N. Fritsch and R. E. Carlson, "Monotone piecewise cubic interpolation", SIAM J. Numer.
Anal. 17 (1980), with the slopes of F. N. Fritsch and J. Butland, SIAM J. Sci. Stat. Comput. 5
(1984), which is the PCHIP of other libraries. It is drawn through logarithms, as points lie at 1,
2, 4, 8 … and figures grow in proportion; a metric with a value of 0 or below is drawn as it is over
the logarithm of the load.
"""

from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

from services.ranking.columns import Floats

LEAST_POINTS = 3
"""Two ends, and one between them to try the curve on."""

METHOD = "monotone cubic interpolation between measured points, error by leaving out each in turn"


class Refusal(Enum):
    """Why there is no estimate, as a sentence for people."""

    TOO_FEW_POINTS = "Fewer than three points were measured, so the error cannot be known."
    BELOW_MEASURED = "It lies below everything measured, and nothing is extrapolated."
    ABOVE_MEASURED = "It lies above everything measured, and nothing is extrapolated."
    NOT_ONE_CURVE = "Two different points were measured at the same place: this is not one curve."


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure at the wanted place, in the metric's unit."""

    value: float
    low: float
    """The value less the error."""
    high: float
    """The value and the error."""
    error: float
    """Largest error at the points left out: relative (0.1 is a factor of 1.1) where `relative`,
    else in the metric's unit."""
    relative: bool
    tested: int
    """Points that were left out in turn; 0 for a measured point, which needs no trial."""
    between: tuple[float, float]
    """The measured places next to the wanted one; both it, if it was measured."""

    @property
    def estimated(self) -> bool:
        """Whether it was not measured: False where the wanted place is a point of the curve."""
        return self.tested > 0


def estimate(
    places: npt.ArrayLike, values: npt.ArrayLike, wanted: float
) -> list[Estimate | Refusal]:
    """Estimates of m metrics at a place from points of one curve: places[k], values[k, m].

    Places are above 0 and in any order; NaN in values is a metric that the point does not have. A
    measured place gives its value, without an error, however few points there are. Raises
    ValueError for shapes that do not fit together and for places that are not above 0.

    TTFT in ms that doubles with the concurrency, but for 900 instead of 800 at 8. Without that
    point the curve has 800 there, an error of 900 / 800; without the others it is off by less.

    >>> found, = estimate([1, 2, 4, 8, 16], [[100], [200], [400], [900], [1600]], 3)
    >>> round(found.value, 1), round(found.error, 3), found.tested, found.between
    (297.7, 0.125, 3, (2.0, 4.0))
    """
    x, cells = np.asarray(places, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or cells.ndim != 2 or cells.shape[0] != x.size:
        raise ValueError(f"values {cells.shape} need one row for each of the places {x.shape}")
    if not (np.isfinite(x) & (x > 0)).all() or not 0 < wanted < np.inf:
        raise ValueError(f"places, and {wanted}, have to be finite and above 0")
    if np.unique(x).size < x.size:
        return [Refusal.NOT_ONE_CURVE] * cells.shape[1]
    order = np.argsort(x)
    return [_along(x[order], column[order], wanted) for column in cells.T]


def _along(x: Floats, y: Floats, wanted: float) -> Estimate | Refusal:
    """The estimate of one metric; x[k] rises, y[k] may have holes."""
    known = np.isfinite(y)
    x, y = x[known], y[known]
    measured = np.flatnonzero(x == wanted)
    relative = bool((y > 0).all())
    if measured.size:
        value = float(y[measured[0]])
        return Estimate(value, value, value, 0.0, relative, 0, (wanted, wanted))
    if x.size < LEAST_POINTS:
        return Refusal.TOO_FEW_POINTS
    if not x[0] < wanted:
        return Refusal.BELOW_MEASURED
    if not wanted < x[-1]:
        return Refusal.ABOVE_MEASURED
    log_x, drawn = np.log(x), np.log(y) if relative else y
    error = max(
        abs(interpolate(np.delete(log_x, i), np.delete(drawn, i), log_x[i]) - drawn[i])
        for i in range(1, x.size - 1)
    )
    middle = interpolate(log_x, drawn, float(np.log(wanted)))
    right = int(np.searchsorted(x, wanted))
    ends = [middle - error, middle, middle + error]
    # An error beyond all measure is infinite.
    with np.errstate(over="ignore"):
        low, value, high = np.exp(ends) if relative else ends
        share = np.expm1(error) if relative else error
    # Back from the logarithm, a rounding may lead out of the interval.
    value = np.clip(value, *sorted(y[right - 1 : right + 1]))
    return Estimate(
        value=float(value),
        low=float(min(low, value)),
        high=float(max(high, value)),
        error=float(share),
        relative=relative,
        tested=x.size - 2,
        between=(float(x[right - 1]), float(x[right])),
    )


def interpolate(x: Floats, y: Floats, at: float) -> float:
    """The monotone cubic through (x[k], y[k]) at a place between the first and the last of x.

    x rises strictly, k ≥ 2; two points have a straight line between them. It passes through the
    points, and between two of them it does not leave their values.

    A straight line remains one, and past a peak nothing overshoots it:

    >>> interpolate(np.array([0.0, 1, 3]), np.array([0.0, 2, 6]), 2)
    4.0
    >>> interpolate(np.array([0.0, 1, 2]), np.array([0.0, 1, 0]), 0.5)
    0.75
    """
    step, rise = np.diff(x), np.diff(y)
    slope = rise / step
    right = min(max(int(np.searchsorted(x, at, side="left")), 1), x.size - 1)
    left = right - 1
    t = (at - x[left]) / step[left]
    start, end = (_tangent(step, slope, i) * step[left] for i in (left, right))
    # Cubic Hermite, as a correction of the straight line: exact at both of its ends.
    bend = t * (1 - t) * ((1 - t) * (start - rise[left]) - t * (end - rise[left]))
    low, high = sorted((y[left], y[right]))
    return float(np.clip((1 - t) * y[left] + t * y[right] + bend, low, high))


def _tangent(step: Floats, slope: Floats, i: int) -> float:
    """The curve's slope at point i of k, from the k - 1 intervals' lengths and slopes."""
    last = slope.size
    if last == 1:
        return float(slope[0])
    if i in (0, last):
        # Three points, on one side of the end: kept from overshooting as it may be steep.
        near, far = (0, 1) if i == 0 else (last - 1, last - 2)
        one_sided = ((2 * step[near] + step[far]) * slope[near] - step[near] * slope[far]) / (
            step[near] + step[far]
        )
        if one_sided * slope[near] <= 0:
            return 0.0
        if slope[near] * slope[far] <= 0 and abs(one_sided) > 3 * abs(slope[near]):
            return float(3 * slope[near])
        return float(one_sided)
    before, after = slope[i - 1], slope[i]
    if before * after <= 0:
        return 0.0
    # The harmonic mean, weighted towards the shorter interval: (f + s) / (f / before + s / after),
    # in a form in which neither a tiny slope nor a huge one overflows.
    first, second = 2 * step[i] + step[i - 1], step[i] + 2 * step[i - 1]
    if abs(before) > abs(after):
        before, after, first, second = after, before, second, first
    return float((first + second) / (first + second * (before / after)) * before)
