"""TOPSIS scores of matrices whose cells are drawn anew, many at a time.

Each cell is drawn lognormal around its value, and each drawn matrix is ranked by the formulas of
`topsis`, with norms, ideal and anti-ideal of its own. Criteria are worked on one after the other
for a block of draws at once: the memory is that of a block, however many draws there are, and small
problems, as most are, do not pay for a call per draw.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.ranking import chance, topsis
from services.ranking.columns import Floats
from services.ranking.topsis import Bools, Ints, Normalization

BLOCK_CELLS = 32_768
"""Draws times alternatives: 256 KiB for each of a block's matrices, which stay in the cache."""


@dataclass(frozen=True, eq=False, slots=True)
class Noisy:
    """The k alternatives that take part, by the a criteria that can tell them apart.

    Columns are scaled by powers of two to a magnitude of at most 1.
    """

    criteria: Ints  # [a] the caller's columns
    values: Floats  # [a, k]
    error: Floats  # [a, k]
    weights: Floats  # [a] the largest is 1
    maximize: Bools  # [a]
    normalization: Normalization
    bounds: Floats | None  # [a, 2], for FIXED_BOUNDS only
    ceiling: Floats  # [a]
    inverse_of: dict[int, int]  # places in a: the first is a constant over the second, a noisy one


def noisy(
    given: topsis.TopsisResult,
    values: npt.ArrayLike,
    error: npt.ArrayLike,
    maximize: npt.ArrayLike,
    normalization: Normalization,
    bounds: npt.ArrayLike | None,
    ceiling: npt.ArrayLike | None,
    inverse_of: Mapping[int, int],
) -> Noisy:
    """The cells of those that take part in `given`, the ranking of values[n, m], as they are drawn.

    error[n, m] is that of a value's logarithm; where it is NaN, the value is taken as exact. The
    others are the arguments of `confidence`.
    """
    kept = np.flatnonzero(~given.excluded)
    off = np.nan_to_num(np.asarray(error, dtype=np.float64)[kept], nan=0.0)
    active = given.weights > 0
    if bounds is None:
        # What is constant and exact has no say, and its weight must not dwarf that of the others.
        active &= ~given.constant | off.any(axis=0)
    criteria = np.flatnonzero(active)
    cells = np.asarray(values, dtype=np.float64)[np.ix_(kept, criteria)].T
    ends = None if bounds is None else np.asarray(bounds, dtype=np.float64)[criteria]
    magnitude = np.abs(cells).max(axis=1, initial=0.0)
    if ends is not None:
        magnitude = np.maximum(magnitude, np.abs(ends).max(axis=1))
    scale = np.ldexp(1.0, -np.maximum(np.frexp(magnitude)[1], -1000))[:, None]
    most = np.full(given.weights.size, np.inf) if ceiling is None else np.asarray(ceiling)
    place = {int(column): index for index, column in enumerate(criteria)}
    off = off[:, criteria].T
    return Noisy(
        criteria=criteria,
        values=cells * scale,
        error=off,
        weights=given.weights[criteria] / given.weights[criteria].max(initial=0.0),
        maximize=np.asarray(maximize, dtype=np.bool_)[criteria],
        normalization=normalization,
        bounds=None if ends is None else ends * scale,
        ceiling=most[criteria] * scale[:, 0],
        inverse_of={
            place[column]: place[base]
            for column, base in inverse_of.items()
            if column in place and base in place and off[place[base]].any()
        },
    )


def scores(cells: Noisy, samples: int, seed: int) -> Iterator[Floats]:
    """The TOPSIS scores[b, k] of all draws, in blocks, each of which the next one overwrites."""
    a, k = cells.values.shape
    step = min(samples, max(1, BLOCK_CELLS // k))
    # Each criterion has a stream of its own: where a block ends then changes no draw.
    streams = [chance.generator(seed, int(column)) for column in cells.criteria]
    exact = [j for j in range(a) if not cells.error[j].any() and j not in cells.inverse_of]
    drawn = [j for j in range(a) if j not in exact and j not in cells.inverse_of]
    ideal_fixed, anti_fixed = np.zeros((2, 1, k))
    for j in exact:
        _add(cells.values[j, None].copy(), cells, j, ideal_fixed, anti_fixed, np.empty((1, k)))
    room = np.empty((4, step, k))
    factors = {j: np.empty((step, k)) for j in cells.inverse_of.values()}
    for start in range(0, samples, step):
        x, to_ideal, to_anti, part = room[:, : min(step, samples - start)]
        to_ideal[:], to_anti[:] = ideal_fixed, anti_fixed
        for j in drawn:
            streams[j].standard_normal(out=x)
            np.exp(np.multiply(x, cells.error[j], out=x), out=x)
            if j in factors:
                factors[j][: len(x)] = x
            x *= cells.values[j]
            _add(x, cells, j, to_ideal, to_anti, part)
        for j, base in cells.inverse_of.items():
            np.divide(cells.values[j], factors[base][: len(x)], out=x)
            _add(x, cells, j, to_ideal, to_anti, part)
        # At the anti-ideal the quotient is infinite and C is 0; where nobody differs it is 0/0.
        with np.errstate(divide="ignore", invalid="ignore"):
            np.sqrt(np.divide(to_ideal, to_anti, out=part), out=part)
        np.divide(1.0, np.add(part, 1.0, out=part), out=part)
        part[np.isnan(part)] = topsis.DEGENERATE_SCORE
        yield part


def _add(x: Floats, cells: Noisy, j: int, to_ideal: Floats, to_anti: Floats, part: Floats) -> None:
    """Adds criterion j's part of D+² and D-² for its values x[b, k], which may be cut off."""
    if cells.ceiling[j] < np.inf:
        np.minimum(x, cells.ceiling[j], out=x)
    if cells.bounds is not None:
        low, high = cells.bounds[j]
        np.clip(x, low, high, out=x)
        size = high - low
    else:
        low, high = x.min(axis=1, keepdims=True), x.max(axis=1, keepdims=True)
        size = high - low
        if cells.normalization is Normalization.VECTOR:
            size = np.sqrt(np.multiply(x, x, out=part).sum(axis=1, keepdims=True))
    factor = np.divide(cells.weights[j], size, out=np.zeros_like(size), where=size > 0)
    ideal, anti = (high, low) if cells.maximize[j] else (low, high)
    for total, end in ((to_ideal, ideal), (to_anti, anti)):
        np.subtract(x, end, out=part)
        part *= factor
        part *= part
        total += part
