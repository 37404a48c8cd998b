"""What a configuration would likely do at a load or a length between those it was measured at.

Only along one curve: points that differ in nothing but the load (concurrency or request rate) or in
nothing but one length. Only between measured points, never beyond them. And never without an error,
within which the true figure lies nine times out of ten.

Each inner point is left out in turn and estimated from the others; the error is the largest of
these m, times Student's t at 95 % of m degrees of freedom: 6.3 for one point, 2.1 for four. Were
the errors independent and normal around 0, then t times their root mean square would hold the next
one 90 % of the time ("Student", "The probable error of a mean", Biometrika 6, 1908). They are not:
at the knee of a curve they are many times larger, so the largest takes the place of the root mean
square. By itself it would not do either: even where all errors are alike, the next one is below the
largest of m only m times in m + 1, so that 90 % without a distribution needs nine tested points (it
is the rank ceil(0.9 (m + 1)) of conformal prediction: V. Vovk, A. Gammerman and G. Shafer,
"Algorithmic Learning in a Random World", 2005), and few sweeps have as many. The rule is thus no
theorem but a cautious use of one, and stands on how often it holds.

How often the true figure lay within, of 36 measured curves of TTFT, TPOT, E2E and throughput whose
inner points were held out (tests/unit/ranking/test_estimate_coverage.py):

    left to estimate from               the largest error    the largest times t
    all other points, 180 trials        82 %                 97 %
    3 points in a row, 288 trials       67 %                 94 %
    4 points in a row, 324 trials       66 %                 89 %
    3 to 11 in a row, 1862 trials       74 %                 92 %

The price is width: the median error of the last line is a factor of 1.64, not 1.23.

The curve is piecewise cubic and monotone wherever the points are, so it stays between the two next
to it: F. N. Fritsch and R. E. Carlson, "Monotone piecewise cubic interpolation", SIAM J. Numer.
Anal. 17 (1980), with the slopes of F. N. Fritsch and J. Butland, SIAM J. Sci. Stat. Comput. 5
(1984), which is the PCHIP of other libraries. It is drawn through logarithms, as points lie at 1,
2, 4, 8 … and figures grow in proportion; a metric with a value of 0 or below is drawn as it is over
the logarithm of the load.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

from services.ranking.columns import Floats

Ints = npt.NDArray[np.int64]

LEAST_POINTS = 3
"""Two ends, and one between them to try the curve on."""

_STUDENT_T = np.array([6.314, 2.920, 2.353, 2.132, 2.015, 1.943, 1.895, 1.860, 1.833, 1.812])
"""Student's t at 95 % of 1 to 10 degrees of freedom. The last one serves for more: too cautious, by
a tenth at most."""


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
    """What the true figure is off by nine times out of ten at most: relative (0.1 is a factor of
    1.1) where `relative`, else in the metric's unit."""
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
    point the curve has 800 there, an error of 900 / 800; without the others it is off by less. Of
    three points it is raised to the power 2.353: (900 / 800)^2.353 = 1.319.

    >>> found, = estimate([1, 2, 4, 8, 16], [[100], [200], [400], [900], [1600]], 3)
    >>> round(found.value, 1), round(found.error, 3), found.tested, found.between
    (297.7, 0.319, 3, (2.0, 4.0))
    """
    return estimate_each([(places, values, wanted)])[0]


def estimate_each(
    curves: Iterable[tuple[npt.ArrayLike, npt.ArrayLike, float]],
) -> list[list[Estimate | Refusal]]:
    """The estimates of many curves, of each as `estimate` has them: (places, values, wanted).

    Those of equally many points are drawn together: numpy takes about as long for one of them as
    for a thousand.
    """
    answers: list[list[Estimate | Refusal]] = []
    # By the number of points: whose they are, x[k], y[k] and the wanted place.
    batches: dict[int, list[tuple[tuple[int, int], Floats, Floats, float]]] = {}
    for curve, (places, values, wanted) in enumerate(curves):
        x, cells = _curve(places, values, wanted)
        if (np.diff(x) == 0).any():
            answers.append([Refusal.NOT_ONE_CURVE] * cells.shape[1])
            continue
        known = np.isfinite(cells)
        whole = np.asarray(known.all(axis=0))
        answers.append([Refusal.TOO_FEW_POINTS] * cells.shape[1])
        for metric in range(cells.shape[1]):
            mine = known[:, metric]
            at = x if whole[metric] else x[mine]
            y = cells[:, metric] if whole[metric] else cells[mine, metric]
            found = _without_a_curve(at, y, wanted)
            if found is None:
                batches.setdefault(at.size, []).append(((curve, metric), at, y, wanted))
            else:
                answers[curve][metric] = found
    for batch in batches.values():
        owners, xs, ys, all_wanted = zip(*batch, strict=True)
        drawn = _along(np.array(xs), np.array(ys), np.array(all_wanted, dtype=np.float64))
        for (curve, metric), found in zip(owners, drawn, strict=True):
            answers[curve][metric] = found
    return answers


def _curve(places: npt.ArrayLike, values: npt.ArrayLike, wanted: float) -> tuple[Floats, Floats]:
    """The points in order of their places."""
    x, cells = np.asarray(places, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or cells.ndim != 2 or cells.shape[0] != x.size:
        raise ValueError(f"values {cells.shape} need one row for each of the places {x.shape}")
    if not (np.isfinite(x) & (x > 0)).all() or not 0 < wanted < np.inf:
        raise ValueError(f"places, and {wanted}, have to be finite and above 0")
    order = np.argsort(x)
    return x[order], cells[order]


def _without_a_curve(x: Floats, y: Floats, wanted: float) -> Estimate | Refusal | None:
    """What needs no drawing: a measured place, or a refusal. x[k] rises."""
    right = int(np.searchsorted(x, wanted))
    if right < x.size and x[right] == wanted:
        value = float(y[right])
        relative = bool((y > 0).all())
        return Estimate(value, value, value, 0.0, relative, 0, (wanted, wanted))
    if x.size < LEAST_POINTS:
        return Refusal.TOO_FEW_POINTS
    if right == 0:
        return Refusal.BELOW_MEASURED
    return Refusal.ABOVE_MEASURED if right == x.size else None


def _along(x: Floats, y: Floats, wanted: Floats) -> list[Estimate]:
    """The estimates at wanted[c], which is no point but lies between those of x[c, k], rising."""
    positive = y > 0
    relative = np.asarray(positive.all(axis=1))
    log_x, drawn = np.log(x), np.where(relative[:, None], np.log(np.where(positive, y, 1.0)), y)
    error = np.zeros(wanted.size)
    for i in range(1, x.shape[1] - 1):
        rest = interpolate(np.delete(log_x, i, 1), np.delete(drawn, i, 1), log_x[:, i])
        np.maximum(error, np.abs(rest - drawn[:, i]), out=error)
    tested = x.shape[1] - 2
    error *= _STUDENT_T[min(tested, _STUDENT_T.size) - 1]
    middle = interpolate(log_x, drawn, np.log(wanted))
    ends = np.array([middle - error, middle, middle + error])
    # An error beyond all measure is infinite.
    with np.errstate(over="ignore"):
        low, value, high = np.where(relative, np.exp(ends), ends)
        share = np.where(relative, np.expm1(error), error)
    left, right = _beside(x, wanted)
    # Back from the logarithm, a rounding may lead out of the interval.
    beside = _take(y, left), _take(y, right)
    value = np.clip(value, np.minimum(*beside), np.maximum(*beside))
    columns = (
        value,
        np.minimum(low, value),
        np.maximum(high, value),
        share,
        relative,
        _take(x, left),
        _take(x, right),
    )
    return [
        Estimate(middle, low, high, off, is_relative, tested, (below, above))
        for middle, low, high, off, is_relative, below, above in zip(
            *(column.tolist() for column in columns), strict=True
        )
    ]


def interpolate(x: Floats, y: Floats, at: npt.ArrayLike) -> Floats:
    """The monotone cubics through (x[..., k], y[..., k]), each at a place[...] between its ends.

    x rises strictly, k ≥ 2; two points have a straight line between them. It passes through the
    points, and between two of them it does not leave their values.

    A straight line remains one, and past a peak nothing overshoots it:

    >>> float(interpolate(np.array([0.0, 1, 3]), np.array([0.0, 2, 6]), 2))
    4.0
    >>> float(interpolate(np.array([0.0, 1, 2]), np.array([0.0, 1, 0]), 0.5))
    0.75
    """
    at = np.asarray(at, dtype=np.float64)
    step, rise = np.diff(x), np.diff(y)
    left, right = _beside(x, at)
    width, gain, from_y, to_y = (
        _take(step, left),
        _take(rise, left),
        _take(y, left),
        _take(y, right),
    )
    t = (at - _take(x, left)) / width
    slope = rise / step
    start, end = (_tangent(step, slope, i) * width for i in (left, right))
    # Cubic Hermite, as a correction of the straight line: exact at both of its ends.
    bend = t * (1 - t) * ((1 - t) * (start - gain) - t * (end - gain))
    value = (1 - t) * from_y + t * to_y + bend
    return np.clip(value, np.minimum(from_y, to_y), np.maximum(from_y, to_y))


def _beside(x: Floats, at: Floats) -> tuple[Ints, Ints]:
    """The points[...] of x[..., k] to the left and to the right of a place[...]."""
    right = np.clip((x < at[..., None]).sum(axis=-1), 1, x.shape[-1] - 1)
    return right - 1, right


def _take(values: Floats, index: Ints) -> Floats:
    """One of the last axis: values[..., index[...]]."""
    found: Floats = np.take_along_axis(values, index[..., None], axis=-1)[..., 0]
    return found


def _tangent(step: Floats, slope: Floats, i: Ints) -> Floats:
    """The curves' slopes at points i[...] of k, from their k - 1 intervals' lengths and slopes."""
    last = slope.shape[-1]
    if last == 1:
        return slope[..., 0]
    is_end = (i == 0) | (i == last)
    # At an end, its interval and the next one; within, those on the two sides.
    first = np.where(i == 0, 0, i - 1)
    second = np.where(i == 0, 1, np.where(i == last, last - 2, i))
    near, far = _take(slope, first), _take(slope, second)
    near_step, far_step = _take(step, first), _take(step, second)
    # What is not chosen below may be beyond all measure, or nothing by nothing.
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        return np.where(
            is_end, _at_end(near, far, near_step, far_step), _within(near, far, near_step, far_step)
        )


def _at_end(near: Floats, far: Floats, near_step: Floats, far_step: Floats) -> Floats:
    """By three points on one side of the end: kept from overshooting as it may be steep."""
    one_sided = ((2 * near_step + far_step) * near - near_step * far) / (near_step + far_step)
    too_steep = (near * far <= 0) & (np.abs(one_sided) > 3 * np.abs(near))
    return np.where(one_sided * near <= 0, 0.0, np.where(too_steep, 3 * near, one_sided))


def _within(before: Floats, after: Floats, before_step: Floats, after_step: Floats) -> Floats:
    """The harmonic mean, weighted towards the shorter interval: (f + s) / (f / before + s / after).

    In a form in which neither a tiny slope nor a huge one overflows.
    """
    first, second = 2 * after_step + before_step, after_step + 2 * before_step
    swap = np.abs(before) > np.abs(after)
    small, large = np.where(swap, after, before), np.where(swap, before, after)
    of_small, of_large = np.where(swap, second, first), np.where(swap, first, second)
    mean = (first + second) / (of_small + of_large * (small / large)) * small
    return np.where(before * after <= 0, 0.0, mean)
