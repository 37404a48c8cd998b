"""Pareto dominance: what remains best whatever the weights are.

a dominates b if a is at least as good in every criterion and better in one. The front is what none
dominates. Its members have Pareto rank 1, the front of the rest rank 2, and so on: nondominated
sorting, K. Deb et al., "A fast and elitist multiobjective genetic algorithm: NSGA-II", IEEE Trans.
Evol. Comput. 6 (2002). moocore does the work; its documentation names the algorithms' sources.

A row with a missing (NaN) or infinite cell takes no part: compared as it is, a NaN would neither
dominate nor be dominated, and stand on the front.
"""

import moocore
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

# To look for the dominators of more than one in so many takes longer than to sort everybody.
_FEW = 20
# So many pairs of alternatives are compared together.
_BLOCK_PAIRS = 1 << 16


def front(values: npt.ArrayLike, maximize: npt.ArrayLike) -> Bools:
    """The alternatives[n] nobody dominates; all of several equal ones, none that is incomplete.

    values[n, m] in any units, m ≥ 1; maximize[m] is True where more is better. One alternative is
    the front; a constant column has no say. Raises ValueError for shapes that do not fit together.

    Throughput to maximise, latency to minimise; the last is slower than the second and not faster:

    >>> front([[900, 80], [500, 40], [500, 60]], [True, False]).tolist()
    [True, True, False]
    """
    matrix, up = _checked(values, maximize)
    on_front: Bools = np.all(np.isfinite(matrix), axis=1)
    if on_front.any():
        # Without keep_weakly, all but the first of several equal alternatives would be dropped.
        on_front[on_front] = moocore.is_nondominated(
            matrix if on_front.all() else matrix[on_front], maximise=up, keep_weakly=True
        )
    return on_front


def pareto_rank(values: npt.ArrayLike, maximize: npt.ArrayLike) -> Ints:
    """The Pareto rank[n] of each alternative: 1 for the front, 0 for an incomplete row.

    Equal alternatives share a rank. Arguments and errors are those of `front`.

    >>> pareto_rank([[900, 80], [500, 40], [500, 60], [400, 90]], [True, False]).tolist()
    [1, 1, 2, 3]
    """
    matrix, up = _checked(values, maximize)
    complete: Bools = np.all(np.isfinite(matrix), axis=1)
    ranks = np.zeros(matrix.shape[0], dtype=np.int64)
    if complete.any():
        ranks[complete] = moocore.pareto_rank(matrix[complete], maximise=up) + 1
    return ranks


def ranks_of(values: npt.ArrayLike, maximize: npt.ArrayLike, rows: npt.ArrayLike) -> Ints:
    """The Pareto ranks[n] of the alternatives in rows[k] and of all that dominate them.

    These are the ranks of `pareto_rank`: whoever dominates a dominator dominates, too, so nobody
    else has a say in them. The others have theirs or 0, whichever takes less time: of few among
    many the dominators are soon found, and to sort everybody is not. Arguments and errors are those
    of `front`, and IndexError for a row outside values.

    >>> ranks_of([[900, 80], [500, 40], [500, 60], [400, 90]], [True, False], [2])[:3].tolist()
    [1, 1, 2]
    """
    matrix, up = _checked(values, maximize)
    asked = np.asarray(rows, dtype=np.int64)
    if asked.size * _FEW > matrix.shape[0]:
        return pareto_rank(matrix, up)
    ranks = np.zeros(matrix.shape[0], dtype=np.int64)
    above = _at_least_as_good(matrix, up, asked)
    ranks[above] = pareto_rank(matrix[above], up)
    return ranks


def dominators(values: npt.ArrayLike, maximize: npt.ArrayLike, row: int) -> Ints:
    """The rows[k], rising, of the alternatives which dominate the one in `row`.

    An incomplete row neither dominates nor is dominated. Arguments and errors are those of `front`,
    and IndexError for a row outside values.

    >>> dominators([[900, 80], [500, 40], [500, 60], [400, 90]], [True, False], 3).tolist()
    [0, 1, 2]
    """
    matrix, up = _checked(values, maximize)
    signed = np.where(up, matrix, -matrix)
    complete: Bools = np.all(np.isfinite(matrix), axis=1)
    if not complete[row]:
        return np.empty(0, dtype=np.int64)
    at_least: Bools = np.all(signed >= signed[row], axis=1)
    better: Bools = np.any(signed > signed[row], axis=1)
    return np.flatnonzero(complete & at_least & better)


def _at_least_as_good(matrix: Floats, up: Bools, asked: Ints) -> Ints:
    """The alternatives, rising, that are nowhere worse than one of asked[k].

    Comparisons with NaN are false, so of the incomplete only those that are asked for.
    """
    found: Bools = np.zeros(matrix.shape[0], dtype=np.bool_)
    found[asked] = True
    # Most are worse somewhere than whoever is the worst there of those that are asked for.
    left = np.arange(matrix.shape[0])
    for column, more in zip(matrix.T, up.tolist(), strict=True):
        whose, theirs = column[left], column[asked]
        if more:
            left = left[whose >= np.fmin.reduce(theirs, initial=np.inf)]
        else:
            left = left[whose <= np.fmax.reduce(theirs, initial=-np.inf)]
    ours, theirs = (np.where(up, matrix[rows], -matrix[rows]).T for rows in (left, asked))
    step = max(1, _BLOCK_PAIRS // max(1, left.size))
    for start in range(0, asked.size, step):
        block = theirs[:, start : start + step, None]
        at_least: Bools = np.ones((block.shape[1], left.size), dtype=np.bool_)
        for column, floor in zip(ours, block, strict=True):
            at_least &= column >= floor
        found[left[at_least.any(axis=0)]] = True
    return np.flatnonzero(found)


def _checked(values: npt.ArrayLike, maximize: npt.ArrayLike) -> tuple[Floats, Bools]:
    """The arguments as arrays that fit together."""
    up = np.asarray(maximize, dtype=np.bool_)
    matrix = np.asarray(values, dtype=np.float64)
    if up.ndim != 1 or up.size == 0:
        raise ValueError(f"maximize {up.shape} needs one entry per criterion, and at least one")
    if matrix.shape == (0,):  # what numpy makes of an empty list of rows
        matrix = matrix.reshape(0, up.size)
    if matrix.ndim != 2 or matrix.shape[1] != up.size:
        raise ValueError(f"values {matrix.shape} need {up.size} columns, one per criterion")
    return matrix, up
