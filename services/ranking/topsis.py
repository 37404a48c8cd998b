"""TOPSIS: alternatives ranked by their closeness to the best value of every criterion.

Source: C. L. Hwang and K. Yoon, "Multiple Attribute Decision Making", Springer, 1981.

    v[i,j] = w[j] * r[i,j]                 r: the normalized matrix, w: the weights (their sum is 1)
    D+²[i] = sum_j (v[i,j] - ideal[j])²    ideal: the best v of each criterion, anti: the worst
    D-²[i] = sum_j (v[i,j] - anti[j])²
    C[i]   = D-[i] / (D+[i] + D-[i])       0 at the worst of everything, 1 at the best

A cost criterion is minimised by taking its smallest value as the ideal. It is never inverted to
1/x, which would change the distances.

How the arithmetic keeps its promises, in the order in which it happens:

* Every column is scaled by a power of two to a magnitude below 1. That is exact: values near 1e200
  and subnormal ones lose nothing, and a column's unit cannot matter.
* The norms do not depend on the order of the rows (`columns.norms`), so no score and no rank does.
* Distances are taken before they are weighted, as sum_j w[j]² (r[i,j] - best r[j])², and C is
  1 / (1 + sqrt(D+² / D-²)). So every step is monotone in floating point too: an alternative better
  somewhere and worse nowhere never scores below the other, not even by one rounding. The textbook's
  quotient does not promise that.
* Blocks of rows are worked on transposed (`columns.blocks`). Each row's arithmetic is the same
  wherever it lies: rows with equal values have equal scores, bit for bit.
"""

from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from services.ranking import columns
from services.ranking.columns import Floats

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

# The score where C is 0/0: the alternatives do not differ, so each of them is the ideal and the
# anti-ideal at once, and nothing speaks for either end of the scale.
DEGENERATE_SCORE = 0.5

# To look for the best of more than one in so many takes longer than to sort everybody.
_FEW = 8


class Normalization(Enum):
    """How the columns are made comparable before they are weighted."""

    VECTOR = "vector"
    """r = x / sqrt(sum of x²): the classic form; scores depend on which alternatives take part."""

    MIN_MAX = "min_max"
    """r = (x - min) / (max - min): scores depend on the extremes of those that take part."""

    FIXED_BOUNDS = "fixed_bounds"
    """r = (x - low) / (high - low), clipped to the bounds, whose ends are the ideal and the
    anti-ideal: a score depends on nobody else, so leaving some out cannot reorder the others."""


class CriterionError(ValueError):
    """A criterion cannot be used as given; `index` is its column, None if it is no single one."""

    def __init__(self, message: str, index: int | None = None) -> None:
        super().__init__(message)
        self.index = index


class WeightError(CriterionError):
    """A weight is negative or not finite, or no weight is above zero."""


class BoundsError(CriterionError):
    """The fixed bounds are absent, not finite, or not low < high."""


@dataclass(frozen=True, eq=False)
class TopsisResult:
    """Scores and ranks of n alternatives by m criteria, with each criterion's part in them.

    Those that are large and seldom asked for of everybody are made when they are.
    """

    score: Floats
    """[n] closeness in 0 … 1; NaN for an excluded alternative."""
    weights: Floats
    """[m] the weights, scaled to the sum 1."""
    ideal: Floats
    """[m] the best value of each criterion in the caller's units; NaN if nobody takes part."""
    anti_ideal: Floats
    """[m] the worst value of each criterion in the caller's units; NaN if nobody takes part."""
    distances: Floats
    """[2, n, m] squared distances of r from each criterion's best r, and from its worst, before
    they are weighted, so that no weight has a say in them; NaN for excluded alternatives. Each
    column lies together in memory."""
    missing: Bools
    """[n, m] cells without a value (NaN)."""
    infinite: Bools
    """[n, m] cells with an infinite value."""
    excluded: Bools
    """[n] alternatives left out because a cell is missing or infinite."""
    constant: Bools
    """[m] criteria with one value (after clipping) in all that take part: they tell none apart."""
    clipped: Bools
    """[n, m] cells outside the fixed bounds, counted as the nearest bound."""
    degenerate: bool
    """No criterion of weight above zero tells any two apart, or there is but one alternative."""
    kept: Ints
    """[k] rows of the alternatives that take part, rising."""
    _given: "_Given"
    _frame: "_Frame"
    _ids: npt.NDArray[Any] | None

    @cached_property
    def order(self) -> Ints:
        """[k] rows of the k alternatives that take part, best first."""
        return _best_first(self.score, self.kept, self._ids)

    @cached_property
    def rank(self) -> Ints:
        """[n] competition ranks ("1224") by the unrounded score; 0 for an excluded alternative."""
        ranks = np.zeros(self.score.size, dtype=np.int64)
        ranks[self.order] = competition_ranks(self.score[self.order])
        return ranks

    @property
    def normalized(self) -> Floats:
        """[n, m] the normalized values r; NaN in the rows of excluded alternatives."""
        return self.normalized_of(np.arange(self.score.size))

    @property
    def ideal_sq(self) -> Floats:
        """[n, m] each criterion's part of D+²; a row's sum is D+². NaN where one is excluded."""
        to_ideal: Floats = self.distances[0]
        return to_ideal * np.square(self.weights)

    @property
    def anti_ideal_sq(self) -> Floats:
        """[n, m] each criterion's part of D-²; a row's sum is D-². NaN where one is excluded."""
        to_anti_ideal: Floats = self.distances[1]
        return to_anti_ideal * np.square(self.weights)

    def clipped_counts(self) -> Ints:
        """How many values[m] of each criterion were clipped."""
        if self._given.bounds is None:
            return np.zeros(self.weights.size, dtype=np.int64)
        counts: Ints = np.count_nonzero(self.clipped, axis=0)
        return counts

    def best(self, count: int | None) -> Ints:
        """The first `count` of `order`; None: all. Of few among many, the others are not sorted."""
        if count is None or self._ids is not None or count * _FEW > self.kept.size:
            return self.order[:count]
        falling = -self.score[self.kept]
        # With all that score the same as the last.
        first = np.flatnonzero(falling <= np.partition(falling, count - 1)[count - 1])
        order = first[np.argsort(falling[first], kind="stable")]
        return self.kept[order[:count]]

    def normalized_of(self, rows: Ints) -> Floats:
        """The normalized values r[k, m] of some rows."""
        frame = self._frame
        with np.errstate(over="ignore", invalid="ignore"):
            cells = self._given.values[rows].T * frame.scale
            if frame.clip is not None:
                np.clip(cells, *frame.clip, out=cells)
            cells -= frame.origin
            found = np.zeros_like(cells)
            np.divide(cells, frame.size, out=found, where=frame.size > 0)
        found[:, self.excluded[rows]] = np.nan
        return found.T

    def parts_of(self, rows: Ints) -> Floats:
        """`ideal_sq` and `anti_ideal_sq`[2, k, m] of some rows."""
        return self.distances[:, rows] * np.square(self.weights)


def rank(
    values: npt.ArrayLike,
    weights: npt.ArrayLike,
    maximize: npt.ArrayLike,
    *,
    normalization: Normalization = Normalization.VECTOR,
    bounds: npt.ArrayLike | None = None,
    tie_break: npt.ArrayLike | None = None,
) -> TopsisResult:
    """The alternatives' scores and ranks, with the breakdown that explains them.

    values[n, m] in any units; weights[m] ≥ 0 in any scale; maximize[m], True where more is better;
    bounds[m, 2] are (low, high), for FIXED_BOUNDS only. tie_break[n] are sortable ids: equal scores
    come in their order in `order`; without them in the order of the rows.

    - A row with a missing (NaN) or infinite cell is left out of everything, even if the cell's
      criterion weighs nothing: drop the criterion first if it should not count.
    - One alternative, or alternatives equal in all that weighs: all have the same score and rank 1,
      and `degenerate` is set. The score is 0.5, as C is 0/0; with fixed bounds it is C, which stays
      defined.
    - A constant column, zeros included, contributes nothing; with fixed bounds, the same to all.
    - No alternatives, or none complete: an empty `order`, and nothing is raised.

    Raises WeightError or BoundsError (ValueErrors with the criterion's `index`), and ValueError for
    shapes that do not fit together.

    Two alternatives, throughput to maximise and latency to minimise, weighing 3 to 1. The norms are
    sqrt(3² + 4²) = 5 and sqrt(6² + 8²) = 10, so v = [[.45, .15], [.6, .2]], the ideal is (.6, .15)
    and the anti-ideal (.45, .2): the first has D+ = .15 and D- = .05, the second the reverse.

    >>> result = rank([[3, 6], [4, 8]], [3, 1], [True, False])
    >>> result.score.round(12).tolist(), result.rank.tolist()
    ([0.25, 0.75], [2, 1])
    """
    given = _checked(values, weights, maximize, normalization, bounds)
    ids = None if tie_break is None else np.asarray(tie_break)
    if ids is not None and ids.shape != given.values.shape[:1]:
        raise ValueError(f"tie_break {ids.shape} needs one id per alternative")
    matrix, w = given.values, given.weights
    n, m = matrix.shape
    # As large as the matrix, and nearly always nothing.
    nothing = np.broadcast_to(np.False_, (n, m))
    missing, infinite, clipped = nothing, nothing, nothing
    excluded = np.zeros(n, dtype=np.bool_)
    included, kept = matrix, np.arange(n)
    low, high = columns.extremes(matrix)
    if not _finite(low, high):
        missing, infinite = np.isnan(matrix), np.isinf(matrix)
        excluded = np.any(missing | infinite, axis=1)
        kept = np.flatnonzero(~excluded)
        included = matrix[kept]
        low, high = columns.extremes(included)
    frame = _frame(given, included, low, high)
    # Transposed in memory, as blocks are.
    parts = np.empty((2, m, kept.size))
    score = _closeness(included, frame, parts)
    # Usually all are, and copies of what is as large as the matrix cost as much as the scores.
    if kept.size < n:
        some = score, parts
        score, parts = np.full(n, np.nan), np.full((2, m, n), np.nan)
        score[kept], parts[:, :, kept] = some

    if given.bounds is not None:
        floor, ceiling = given.bounds.T
        clipped = np.zeros((n, m), dtype=np.bool_)
        clipped[kept] = (included < floor) | (included > ceiling)
        low, high = low.clip(floor, ceiling), high.clip(floor, ceiling)
    constant = np.equal(low, high) & (kept.size > 0)
    ends = (low, high) if given.bounds is None else given.bounds.T
    ideal = np.where(given.maximize, ends[1], ends[0])
    anti_ideal = np.where(given.maximize, ends[0], ends[1])
    relative = w / w.max()  # first, for the sum of the weights may overflow
    return TopsisResult(
        score=score,
        weights=relative / relative.sum(),
        ideal=ideal if kept.size else np.full(m, np.nan),
        anti_ideal=anti_ideal if kept.size else np.full(m, np.nan),
        distances=parts.transpose(0, 2, 1),
        missing=missing,
        infinite=infinite,
        excluded=excluded,
        constant=constant,
        clipped=clipped,
        degenerate=bool(constant[w > 0].all()),
        kept=kept,
        _given=given,
        _frame=frame,
        _ids=ids,
    )


def scores(
    values: npt.ArrayLike,
    weights: npt.ArrayLike,
    maximize: npt.ArrayLike,
    *,
    normalization: Normalization = Normalization.VECTOR,
    bounds: npt.ArrayLike | None = None,
) -> Floats:
    """The closeness[n] alone, bit for bit that of `rank`, in little more memory than its own.

    Arguments, exclusions (NaN) and errors are those of `rank`.
    """
    given = _checked(values, weights, maximize, normalization, bounds)
    low, high = columns.extremes(given.values)
    if _finite(low, high):
        return _closeness(given.values, _frame(given, given.values, low, high))
    kept = np.isfinite(given.values).all(axis=1)
    included = given.values[kept]
    score = np.full(kept.size, np.nan)
    score[kept] = _closeness(included, _frame(given, included, *columns.extremes(included)))
    return score


@dataclass(frozen=True, eq=False)
class _Given:
    """The arguments as arrays that fit together."""

    values: Floats  # [n, m]
    weights: Floats  # [m]
    maximize: Bools  # [m]
    normalization: Normalization
    bounds: Floats | None  # [m, 2], for FIXED_BOUNDS only


@dataclass(frozen=True, eq=False)
class _Frame:
    """What places a cell between the ideal and the anti-ideal; all [m, 1], in scaled units."""

    scale: Floats  # the power of two that brings a column's magnitude below 1
    clip: tuple[Floats, Floats] | None
    ideal: Floats
    anti: Floats
    factor: Floats  # 1 / size, and 0 for a column that is constant
    origin: Floats  # normalized = (scaled - origin) / size
    size: Floats  # 0 for a column that is zero (VECTOR) or constant (MIN_MAX)
    weights_sq: list[float]  # of those with a part in C, the largest of which is 1; else 0
    defined: bool  # whether C is not 0/0


def _checked(
    values: npt.ArrayLike,
    weights: npt.ArrayLike,
    maximize: npt.ArrayLike,
    normalization: Normalization,
    bounds: npt.ArrayLike | None,
) -> _Given:
    w = np.asarray(weights, dtype=np.float64)
    up = np.asarray(maximize, dtype=np.bool_)
    matrix = np.asarray(values, dtype=np.float64)
    if w.ndim != 1 or up.shape != w.shape:
        raise ValueError(f"weights {w.shape} and maximize {up.shape} need one entry per criterion")
    if matrix.shape == (0,):  # what numpy makes of an empty list of rows
        matrix = matrix.reshape(0, w.size)
    if matrix.ndim != 2 or matrix.shape[1] != w.size:
        raise ValueError(f"values {matrix.shape} need {w.size} columns, one per criterion")
    for index in np.flatnonzero(~np.isfinite(w) | (w < 0)):
        raise WeightError(f"weight {index} is {w[index]}, not a finite number ≥ 0", int(index))
    if not (w > 0).any():
        raise WeightError("no weight is above zero")
    if (normalization is Normalization.FIXED_BOUNDS) != (bounds is not None):
        raise BoundsError(f"bounds go with FIXED_BOUNDS and only with it, not {normalization.name}")
    if bounds is None:
        return _Given(matrix, w, up, normalization, None)
    limits = np.asarray(bounds, dtype=np.float64)
    if limits.shape != (w.size, 2):
        raise ValueError(f"bounds {limits.shape} need a low and a high per criterion")
    for index in np.flatnonzero(~(np.isfinite(limits).all(axis=1) & (limits[:, 0] < limits[:, 1]))):
        low, high = limits[index]
        raise BoundsError(f"bounds {index} are {low} to {high}, not finite low < high", int(index))
    return _Given(matrix, w, up, normalization, limits)


def _finite(low: Floats, high: Floats) -> bool:
    """Whether columns with these extremes have no NaN and no infinity.

    So the usual case, a complete matrix, is recognised without a mask of its size.
    """
    return bool(np.isfinite(low).all() and np.isfinite(high).all())


def _frame(given: _Given, included: Floats, low: Floats, high: Floats) -> _Frame:
    """The frame of the rows that take part, whose columns run from low[m] to high[m]."""
    if given.bounds is not None:
        low, high = given.bounds.T
    magnitude = np.maximum(np.abs(low), np.abs(high))
    # A factor above 2^1023 would be infinite: columns of subnormal values stay as small as 2^-74.
    exponent = np.maximum(np.frexp(magnitude)[1], -1000)
    scale = np.ldexp(1.0, -exponent)[:, None]
    low, high = low[:, None] * scale, high[:, None] * scale
    size, origin = high - low, low
    if given.normalization is Normalization.VECTOR:
        size = columns.norms(included, scale, magnitude[:, None] * scale)
        origin = np.zeros_like(low)
    differs = low < high
    factor = np.zeros_like(low)
    np.divide(1.0, size, where=differs, out=factor)
    # Only columns with a distance between their ends have a part in C. The largest weight of these
    # is the unit, lest a huge weight on a constant column push what decides below the least float.
    active = np.where(differs[:, 0], given.weights, 0.0)
    top = float(active.max(initial=0.0))
    up = given.maximize[:, None]
    return _Frame(
        scale=scale,
        clip=None if given.bounds is None else (low, high),
        ideal=np.where(up, high, low),
        anti=np.where(up, low, high),
        factor=factor,
        origin=origin,
        size=size,
        weights_sq=np.square(active / (top or 1.0)).tolist(),
        defined=top > 0,
    )


def _closeness(values: Floats, frame: _Frame, parts: Floats | None = None) -> Floats:
    """C[n], and into parts[2, m, n] the squared distances before they are weighted."""
    score = np.empty(values.shape[0])
    if not frame.defined:
        score.fill(DEGENERATE_SCORE)
        if parts is None:
            return score
    room = parts
    if room is None:
        room = np.empty((2, values.shape[1], columns.block_rows(values)))
    # Values far beyond fixed bounds may scale to infinity before they are clipped, and D+²/D-² is
    # infinite at the anti-ideal, where C is 0.
    with np.errstate(over="ignore", divide="ignore"):
        for rows, cells in columns.blocks(values, frame.scale):
            plus, minus = room[:, :, rows if parts is not None else slice(cells.shape[1])]
            _parts(cells, frame, plus, minus)
            if frame.defined:
                ratio = _weighted(plus, frame.weights_sq)
                ratio /= _weighted(minus, frame.weights_sq)
                np.sqrt(ratio, out=ratio)
                ratio += 1.0
                np.divide(1.0, ratio, out=score[rows])
    return score


def _parts(cells: Floats, frame: _Frame, plus: Floats, minus: Floats) -> None:
    """Writes the squared distances[m, b] of a block's cells, which are clipped in place."""
    if frame.clip is not None:
        np.clip(cells, *frame.clip, out=cells)
    for parts, end in ((plus, frame.ideal), (minus, frame.anti)):
        np.subtract(cells, end, out=parts)
        np.multiply(parts, frame.factor, out=parts)
        np.multiply(parts, parts, out=parts)


def _weighted(parts: Floats, weights_sq: list[float]) -> Floats:
    """The sum of each column's weighted parts[m, b], criterion by criterion: np.sum may pair them
    up differently in a block of one row, and a row would no longer score the same in every place.
    """
    total, one = np.zeros(parts.shape[1]), np.empty(parts.shape[1])
    for part, weight in zip(parts, weights_sq, strict=True):
        if weight > 0:
            total += np.multiply(part, weight, out=one)
    return total


def _best_first(score: Floats, kept: Ints, ids: npt.NDArray[Any] | None) -> Ints:
    """The kept rows by falling score, equal ones by rising id."""
    if ids is not None:
        kept = kept[np.argsort(ids[kept], kind="stable")]
    falling = -score[kept]
    # The quicker sort gives the same order unless scores are equal.
    order = np.argsort(falling)
    rising = falling[order]
    if np.any(rising[1:] == rising[:-1]):
        order = np.argsort(falling, kind="stable")
    return kept[order]


def competition_ranks(falling: Floats) -> Ints:
    """1 + the number of better ones [k], of scores that never rise.

    >>> competition_ranks(np.array([0.9, 0.5, 0.5, 0.1])).tolist()
    [1, 2, 2, 4]
    """
    ranks = np.arange(1, falling.size + 1)
    ranks[1:][falling[1:] == falling[:-1]] = 0
    return np.maximum.accumulate(ranks)
