"""How often an alternative comes first if the weights are not quite those that were given.

Stochastic multicriteria acceptability analysis (R. Lahdelma and P. Salminen, "SMAA-2", Operations
Research 49, 2001) with TOPSIS as the way to rank. Weights are drawn from Dirichlet(kappa * w): they
are the given ones w on average, and the larger kappa, the closer they stay to them.

    w[j] ± sqrt(w[j] (1 - w[j]) / (kappa + 1))      at kappa = 50, a weight of 0.25 is ± 0.06

D² is A·w², where A are the squared distances by criterion before weighting: one matrix product for
a block of draws. And few alternatives have to be in it. Whoever dominates another scores above it
whatever the weights, so the first is on the Pareto front. Of the second no more is certain than
that it is on one of the first two fronts, and so on: the first r places take the first r fronts.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.ranking import chance, pareto, topsis
from services.ranking.columns import Floats
from services.ranking.topsis import Ints, Normalization

DEFAULT_KAPPA = 50.0
DEFAULT_SAMPLES = 10_000

BLOCK_PRODUCTS = 262_144
"""Draws times alternatives times criteria of a block. Its matrices stay in the cache, and OpenBLAS
starts no threads for a product of this size: where other work has the cores, a call that waits for
them takes a thousand times as long."""


@dataclass(frozen=True, eq=False, slots=True)
class Acceptability:
    """How often each of n alternatives takes each of the first r places."""

    samples: int
    kappa: float
    share: Floats
    """[n, r] of the draws, the share that gives an alternative the place; equal alternatives hold
    as many places together as they are, and share each evenly. NaN for an excluded alternative."""
    error: Floats
    """[n, r] standard error of the share; 0 for an alternative that no weights can give the place,
    and for the first place where only one can have it."""

    @property
    def first(self) -> Floats:
        """[n] the share of the draws in which an alternative comes first."""
        return self.share[:, 0]


def acceptability(
    values: npt.ArrayLike,
    weights: npt.ArrayLike,
    maximize: npt.ArrayLike,
    *,
    seed: int,
    normalization: Normalization = Normalization.VECTOR,
    bounds: npt.ArrayLike | None = None,
    kappa: float = DEFAULT_KAPPA,
    samples: int = DEFAULT_SAMPLES,
    ranks: int = 1,
) -> Acceptability:
    """How often each alternative takes each of the first `ranks` places, over `samples` draws.

    The other arguments, the exclusions and the errors are those of `topsis.rank`; ValueError too
    unless kappa > 0 and samples and ranks ≥ 1. A weight of 0 is 0 in every draw. The order of the
    rows does not matter, and neither do places that nobody can have: one alternative is first with
    share 1, and no alternatives are an empty answer.

    Two alternatives, each better in one of two criteria that weigh the same, share the first place:

    >>> found = acceptability([[2, 2], [1, 1]], [1, 1], [True, False], seed=1)
    >>> (abs(found.first - 0.5) < 3 * found.error[:, 0]).tolist()
    [True, True]
    """
    if not (0 < kappa < np.inf and samples >= 1 and ranks >= 1):
        raise ValueError(
            f"kappa {kappa} has to be above 0, samples {samples} and ranks {ranks} ≥ 1"
        )
    given = topsis.rank(values, weights, maximize, normalization=normalization, bounds=bounds)
    share = np.full((given.excluded.size, ranks), np.nan)
    share[~given.excluded] = 0.0
    error = share.copy()
    if given.kept.size:
        field = _field(given, values, maximize, normalization, bounds, ranks)
        counts = _counts(field, kappa, samples, ranks, seed)
        size = field.size[field.group, None]
        share[field.rows] = counts[field.group] / (samples * size)
        can_differ = field.front[:, None] <= np.arange(1, ranks + 1)
        can_differ[:, 0] &= (field.front == 1).sum() > 1
        can_differ &= field.front.size > 1
        errors = can_differ * chance.standard_error(counts, samples)
        error[field.rows] = errors[field.group] / size
    return Acceptability(samples, kappa, share, error)


@dataclass(frozen=True, eq=False, slots=True)
class _Field:
    """The c alternatives that can have a place, in f groups of equal ones, by a criteria.

    Groups are in the order of their fronts, then of their values: the order of the rows has no say.
    """

    rows: Ints  # [c] their rows in the caller's values
    group: Ints  # [c]
    size: Ints  # [f] members of a group
    front: Ints  # [f] the front it is on
    to_ideal: Floats  # [f, a] squared distances before weighting
    to_anti: Floats  # [f, a]
    weights: Floats  # [a], above 0


def _field(
    given: topsis.TopsisResult,
    values: npt.ArrayLike,
    maximize: npt.ArrayLike,
    normalization: Normalization,
    bounds: npt.ArrayLike | None,
    ranks: int,
) -> _Field:
    """Who can have one of the first places; somebody takes part in `given`."""
    up = np.asarray(maximize, dtype=np.bool_)
    # A constant criterion adds as much to all, which matters only where it is not 0. Left in, it
    # could draw so much of the weight that the squares of the others vanish.
    active = given.weights > 0
    if bounds is None:
        active &= ~given.constant
    kept = np.flatnonzero(~given.excluded)
    cells = np.asarray(values, dtype=np.float64)[np.ix_(kept, active)]
    if not active.any():
        alike = np.zeros(kept.size, dtype=np.int64)
        nothing = np.empty((1, 0))
        size, front = np.array([[kept.size], [1]])
        return _Field(kept, alike, size, front, nothing, nothing, np.empty(0))
    ends = None if bounds is None else np.asarray(bounds, dtype=np.float64)[active]
    if ends is not None:
        # Beyond the bounds nobody is better, so nobody dominates there.
        cells = np.clip(cells, ends[:, 0], ends[:, 1])
    # The first front alone takes less than the ranks of all.
    front = (
        pareto.front(cells, up[active]).astype(np.int64)
        if ranks == 1
        else pareto.pareto_rank(cells, up[active])
    )
    able = np.flatnonzero((front > 0) & (front <= ranks))
    _, first, group, size = np.unique(
        cells[able], axis=0, return_index=True, return_inverse=True, return_counts=True
    )
    order = np.argsort(front[able[first]], kind="stable")
    leaders = able[first[order]]
    return _Field(
        rows=kept[able],
        group=np.argsort(order)[group],
        size=size[order],
        front=front[leaders],
        to_ideal=given.distances[0][np.ix_(kept[leaders], active)],
        to_anti=given.distances[1][np.ix_(kept[leaders], active)],
        weights=given.weights[active],
    )


def _counts(field: _Field, kappa: float, samples: int, ranks: int, seed: int) -> Ints:
    """The draws[f, ranks] in which a group holds a place, alone or with the next ones."""
    groups = field.size.size
    counts = np.zeros((groups, ranks), dtype=np.int64)
    filled = min(ranks, int(field.size.sum()))
    if groups == 1:
        counts[0, :filled] = samples
        return counts
    drawn = chance.generator(seed).dirichlet(kappa * field.weights, samples)
    drawn *= drawn
    step = min(samples, max(1, BLOCK_PRODUCTS // field.to_ideal.size))
    room = np.empty((2, step, groups))
    best = np.empty((step, min(ranks, groups)), dtype=np.int64)
    able = np.searchsorted(field.front, np.arange(best.shape[1]) + 1, side="right")
    for start in range(0, samples, step):
        block = drawn[start : start + step]
        far, total = room[:, : len(block)]
        np.matmul(block, field.to_ideal.T, out=far)
        np.matmul(block, field.to_anti.T, out=total)
        # It falls as C rises, and is exact near the ideal, where places are decided.
        total += far
        far /= total
        ahead, every = best[: len(block)], np.arange(len(block))
        for place in range(best.shape[1]):
            np.argmin(far[:, : able[place]], axis=1, out=ahead[:, place])
            far[every, ahead[:, place]] = 2.0  # behind all that are left
        # A group of k takes k places: whose turn it is depends on how many were taken before.
        taken = np.cumsum(field.size[ahead], axis=1)
        for place in range(filled):
            turn = (taken <= place).sum(axis=1)
            counts[:, place] += np.bincount(ahead[every, turn], minlength=groups)
    return counts
