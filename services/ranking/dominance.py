"""Who beats a dominated alternative most clearly, and by how much in each criterion.

Many on the Pareto front may dominate it. The one named is the one whose smallest margin is the
largest: it leaves the least doubt.

The margin of a over b in one criterion, where a is at least as good, is relative to the larger:

    margin = min(1, |a - b| / max(|a|, |b|))        0 if a = b

For values of one sign it says by what share the smaller lies below the larger: 200 ms against
300 ms, or 300 requests/s against 200, are 1/3 each. If only one of them is zero, or their signs
differ, no share can be told and it is 1, the most there is. So it is always in 0 … 1, does not
change with units, never falls as a gets better, and treats benefits and costs alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

BLOCK_PAIRS = 1 << 16
"""Pairs of an alternative and a front member that are looked at together."""

_LEAST = 5e-324


@dataclass(frozen=True, eq=False)
class Dominance:
    """By whom d alternatives are dominated most clearly; m criteria."""

    rows: Ints
    """[d] the dominated alternatives, rising."""
    by: Ints
    """[d] the front member that dominates each."""
    margins: Floats
    """[d, m] its margins, 0 … 1."""


def dominated_by(
    values: npt.ArrayLike,
    maximize: npt.ArrayLike,
    pareto_rank: npt.ArrayLike,
    rows: npt.ArrayLike | None = None,
) -> Dominance:
    """The front member with the largest smallest margin over each dominated alternative.

    values[n, m] in any units; maximize[m] is True where more is better; pareto_rank[n] is 1 for the
    front and 0 for an incomplete row, as `pareto.pareto_rank` gives it; `pareto.ranks_of` is enough
    for those in rows. rows[k] says about whom to ask; without it, about all. Those who are on the
    front or incomplete get no entry.

    Of several with the same smallest margin, often 0, the one with the largest sum of margins is
    named, then the first by row. Raises ValueError for shapes that do not fit together, and for
    ranks that are not those of the values.

    Throughput to maximise, latency to minimise. Both of the first two dominate the third: the first
    has twice the throughput at 9/10 of the latency, the second 4/5 of the latency only.

    >>> found = dominated_by([[800, 90], [400, 80], [400, 100]], [True, False], [1, 1, 2])
    >>> found.rows.tolist(), found.by.tolist(), found.margins.tolist()
    ([2], [0], [[0.5, 0.1]])
    """
    matrix, up = np.asarray(values, dtype=np.float64), np.asarray(maximize, dtype=np.bool_)
    ranks = np.asarray(pareto_rank, dtype=np.int64)
    if matrix.ndim != 2 or up.shape != matrix.shape[1:] or ranks.shape != matrix.shape[:1]:
        raise ValueError(
            f"values {matrix.shape} need as many ranks {ranks.shape} and directions {up.shape}"
        )
    asked = np.arange(ranks.size) if rows is None else np.unique(np.asarray(rows, dtype=np.int64))
    dominated, front = asked[ranks[asked] > 1], np.flatnonzero(ranks == 1)
    # Transposed, as numpy works faster down whole columns than along rows of a few cells.
    better, worse = (np.where(up, matrix[who], -matrix[who]).T for who in (front, dominated))
    by = np.empty(dominated.size, dtype=np.int64)
    margins = np.empty((dominated.size, up.size))
    step = max(1, BLOCK_PAIRS // max(1, front.size))
    for start in range(0, dominated.size, step):
        block = slice(start, start + step)
        member, its = _clearest(better, worse[:, block])
        by[block], margins[block] = front[member], its.T
    return Dominance(dominated, by, margins)


def _clearest(better: Floats, worse: Floats) -> tuple[Ints, Floats]:
    """Which of better[m, f], the front, is over each of worse[m, b], and its margins[m, b]; of both
    more is better."""
    at_least: Bools = np.ones((worse.shape[1], better.shape[1]), dtype=np.bool_)
    for column, floor in zip(better, worse[..., None], strict=True):
        at_least &= column >= floor
    # At least as good everywhere is enough: one equal to a front member is on the front itself.
    place, member = np.nonzero(at_least)
    margins = _margins(better[:, member], worse[:, place])
    # Added up criterion by criterion, for np.sum may pair them up differently in a small block.
    total = np.zeros(place.size)
    for row in margins:
        total += row
    best = _first_of_each(place, (margins.min(axis=0, initial=1), total))
    if best.size < worse.shape[1]:
        raise ValueError("the ranks are not those of the values: nobody on the front dominates")
    return member[best], margins[:, best]


def _margins(better: Floats, worse: Floats) -> Floats:
    """The margins[m, p] of p pairs of alternatives."""
    larger = np.maximum(np.abs(better), np.abs(worse))
    np.maximum(larger, _LEAST, out=larger)  # two zeros have no difference to divide by zero
    with np.errstate(over="ignore"):  # it may where the signs differ, and counts 1 there
        margins: Floats = (better - worse) / larger
    return np.minimum(margins, 1, out=margins)


def _first_of_each(group: Ints, keys: Sequence[Floats]) -> Ints:
    """The place of the greatest of each group by the keys in turn, then the first; group rises."""
    left = np.arange(group.size)
    for key in keys:
        begins = _begins(group[left])
        greatest = np.maximum.reduceat(key[left], np.flatnonzero(begins))
        left = left[key[left] == greatest[np.cumsum(begins) - 1]]
    return left[_begins(group[left])]


def _begins(group: Ints) -> Bools:
    """Which[p] are the first of their group."""
    first: Bools = np.ones(group.size, dtype=np.bool_)
    np.not_equal(group[1:], group[:-1], out=first[1:])
    return first
