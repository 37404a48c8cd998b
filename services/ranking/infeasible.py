"""Where no alternative keeps all limits: which limits to drop, or how far to relax them.

An alternative breaks a set of limits. To drop a superset of what it breaks is to let it in, so the
smallest sets to drop are those broken sets that contain no other: the minimal correction sets of an
infeasible problem (M. H. Liffiton and K. A. Sakallah, "Algorithms for Computing Minimal
Unsatisfiable Subsets of Constraints", J. Autom. Reason. 40 (2008)). Sets are bit masks, of which
few differ, however many alternatives there are.

To relax a limit is to move its bound to an alternative's figure. The change is given in percent of
the bound as it was:

    relax_pct = 100 |needed - bound| / |bound|

0 for a limit that is kept; infinite where the bound is 0, as no percentage of it gets anywhere. One
alternative is nearer than another if no bound has to move as far for it, and one less far: what is
shown are alternatives to which none is nearer.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

MAX_LIMITS = 32
MOST = 10
"""How many sets to drop and how many relaxations are found, unless the caller says otherwise."""


@dataclass(frozen=True, eq=False)
class Nearest:
    """What has to give so that something fits; l limits in the caller's order."""

    pass_count: Ints
    """[l] how many alternatives keep each limit."""
    drops: Bools
    """[d, l] sets of limits to drop, none of which contains another: the fewest limits first, then
    those that free most, then those with the first limits. Fewer than asked for: they are all."""
    freed: Ints
    """[d] how many alternatives keep everything else."""
    alternatives: Ints
    """[k] rows that fit after the least relaxation: the smallest largest percentage first, then the
    smallest sum, then who needs less of the first limit, of the second and so on, then by row."""
    needed: Floats
    """[k, l] the bounds which let each of them in, in the caller's units."""
    relax_pct: Floats
    """[k, l] how far each bound has to move."""


def nearest(
    violated: npt.ArrayLike,
    actual: npt.ArrayLike,
    bounds: npt.ArrayLike,
    maximize: npt.ArrayLike,
    *,
    most: int = MOST,
) -> Nearest:
    """The smallest sets of limits to drop, and the smallest relaxations, `most` of each.

    violated[n, l] says whether limit l keeps alternative n out, for whatever reason; actual[n, l]
    is the figure its bound would have to be, NaN where none is known; bounds[l] are the limits as
    they are: the least allowed where maximize[l], else the most. A budget is a limit like others.
    Alternatives which no limit helps, say for want of a criterion, are not to be among them.

    - A violated limit whose figure is unknown, or not beyond the bound, can be dropped but not
      relaxed: such an alternative is offered by no relaxation.
    - If something fits, the only set to drop is the empty one, and no bound has to move.
    - No alternatives: nothing to drop helps, so there is no set, not even the empty one.

    Raises ValueError for more than 32 limits, a bound that is not finite, and shapes that do not
    fit together.

    At most 300 ms and 2 dollars. The first is too slow by 10 %, the second too dear by half, the
    third both, and by more than either:

    >>> actual = [[330, 1.5], [200, 3], [400, 4]]
    >>> found = nearest([[True, False], [False, True], [True, True]], actual, [300, 2], [False] * 2)
    >>> found.drops.tolist(), found.freed.tolist(), found.pass_count.tolist()
    ([[True, False], [False, True]], [1, 1], [1, 1])
    >>> found.alternatives.tolist(), found.relax_pct.tolist(), found.needed.tolist()
    ([0, 1], [[10.0, 0.0], [0.0, 50.0]], [[330.0, 2.0], [300.0, 3.0]])
    """
    broken = np.asarray(violated, dtype=np.bool_)
    limit, up = np.asarray(bounds, dtype=np.float64), np.asarray(maximize, dtype=np.bool_)
    figures = np.asarray(actual, dtype=np.float64)
    if limit.ndim != 1 or up.shape != limit.shape:
        raise ValueError(f"bounds {limit.shape} and maximize {up.shape} need one entry per limit")
    if broken.shape == (0,):  # what numpy makes of an empty list of rows
        broken, figures = broken.reshape(0, limit.size), figures.reshape(0, limit.size)
    if broken.ndim != 2 or broken.shape[1] != limit.size or figures.shape != broken.shape:
        raise ValueError(
            f"violated {broken.shape} and actual {figures.shape} need {limit.size} columns, one "
            "per limit"
        )
    if limit.size > MAX_LIMITS:
        raise ValueError(f"{limit.size} limits are more than {MAX_LIMITS}")
    if not np.isfinite(limit).all():
        raise ValueError(f"bounds {limit.tolist()} are not all finite")
    drops, freed = _minimal_drops(broken, most)
    rows, needed, relax_pct = _least_relaxations(broken, figures, limit, up, most)
    return Nearest(
        pass_count=np.sum(~broken, axis=0),
        drops=drops,
        freed=freed,
        alternatives=rows,
        needed=needed,
        relax_pct=relax_pct,
    )


def _minimal_drops(broken: Bools, most: int) -> tuple[Bools, Ints]:
    """The sets to drop [d, l] and what each frees [d].

    A set that contains no other broken set frees exactly those who break that set itself.
    """
    bits = 1 << np.arange(broken.shape[1], dtype=np.int64)[::-1]  # the first limit is the highest
    masks, counts = np.unique(broken @ bits, return_counts=True)
    # Sets of one size do not contain each other, so those of the smallest size left are minimal.
    by_size = np.lexsort((-masks, -counts, np.bitwise_count(masks)))
    masks, counts = masks[by_size], counts[by_size]
    left, sizes = np.arange(masks.size), np.bitwise_count(masks)
    chosen = left[:0]
    while left.size and chosen.size < most:
        same_size = sizes[left] == sizes[left[0]]
        found, left = left[same_size][: most - chosen.size], left[~same_size]
        for mask in masks[found]:
            left = left[masks[left] & mask != mask]
        chosen = np.concatenate([chosen, found])
    drops: Bools = (masks[chosen, None] & bits) != 0
    return drops, counts[chosen]


def _least_relaxations(
    broken: Bools, figures: Floats, limit: Floats, up: Bools, most: int
) -> tuple[Ints, Floats, Floats]:
    """The rows[k], and the needed bounds and the percentages [k, l]."""
    # Transposed, as numpy works faster down whole columns than along rows of a few cells.
    out, figure, bound = broken.T.copy(), figures.T.copy(), limit[:, None]
    sign = np.where(up, -1.0, 1.0)[:, None]
    # Comparisons with NaN are false, so an unknown figure is no way out.
    beyond = (figure * sign > bound * sign) & np.isfinite(figure)
    left: Bools = ~np.any(out & ~beyond, axis=0)
    needed = np.where(out & left, figure, bound)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        relax_pct = np.abs(needed - bound) / np.abs(bound) * 100
    relax_pct[needed == bound] = 0  # of a bound of 0 too
    keys = [relax_pct.max(axis=0, initial=0), relax_pct.sum(axis=0)]
    # Nearness is judged by the bounds, not by percentages: they are neither rounded nor infinite.
    costs = needed * sign
    # By these keys the nearer of two always comes first; where the percentages are equal as
    # rounded, by its bounds. So the first of those left has none nearer, and who it is nearer than
    # is left no longer.
    keys += list(costs)
    chosen: list[int] = []
    while len(chosen) < most and left.any():
        best = np.flatnonzero(left)
        for key in keys:
            values = key[best]
            best = best[values == values.min()]
        first = int(best[0])
        chosen.append(first)
        farther, equal = left.copy(), left.copy()
        for cost in costs:
            farther &= cost >= cost[first]
            equal &= cost == cost[first]
        left &= ~farther | equal
        left[first] = False
    return np.array(chosen, dtype=np.int64), needed[:, chosen].T, relax_pct[:, chosen].T
