"""What each criterion adds to a TOPSIS score, so that the parts sum to the whole.

D+² and D-² are sums over the criteria, and `topsis.rank` gives their parts exactly. The score
C = D- / (D+ + D-) is no sum: what a criterion adds depends on which others are counted already. Its
Shapley value is the mean of what it adds over all orders of counting, the only division that is
complete, treats equal criteria equally and gives nothing to one without effect: L. S. Shapley, "A
Value for n-Person Games", Contributions to the Theory of Games II, Princeton, 1953.

    v(S)     the score if the criteria in S are as they are and each of the others lies midway
             between its best and its worst, where its parts of D+² and D-² are equal
    phi[j]   the mean of v(S and j) - v(S) over all orders of the m criteria; S are those before j

    C = BASELINE + sum_j phi[j],   BASELINE = v(nothing) = 1/2

The midpoint is the baseline because it gives each sign a meaning: phi[j] is above 0 exactly if the
alternative is nearer to the best than to the worst value of j, whatever the rest. It needs nobody
else's values but the two ends, and a criterion that tells none apart gets 0. To leave a criterion
out instead would make scores of 0 and 1 out of every single criterion at its best or worst. The
difference of two alternatives' contributions tells why their scores differ.

What people are shown is `of_score`: its parts sum to the number they see, are always finite, and
are at most 1/2 in sum. `of_logit` divides ln(C / (1 - C)) = ln(D- / D+) likewise. It is the scale
on which near the ends a step counts as much as in the middle; but it is infinite at a C of 0 or 1.
"""

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

BASELINE = 0.5
"""The score midway between the ideal and the anti-ideal, from which contributions count."""

MAX_CRITERIA = 15
"""As many as there are metrics. The time doubles with each criterion."""

BLOCK_CELLS = 1 << 13
"""Coalition values that are worked on together: 64 KiB stay in the cache, and the matrix products
are too small for BLAS to start threads, which takes longer than they do where cores are busy."""


class TooManyCriteriaError(ValueError):
    """There are too many coalitions to go through; the parts of D+² and D-² are all there is."""


def of_score(ideal_sq: npt.ArrayLike, anti_ideal_sq: npt.ArrayLike) -> Floats:
    """The contributions[n, m] to each score C: a row's sum is C - BASELINE.

    ideal_sq[n, m] and anti_ideal_sq[n, m] are the parts of D+² and D-² from `topsis.rank`. NaN for
    an excluded alternative. If all parts of a row are zero, as with one alternative, all
    contributions are: C is 0.5 there.

    Raises TooManyCriteriaError for more than MAX_CRITERIA, and ValueError for shapes that differ.

    Two criteria of equal weight, 2 from the worst to the best. At the best of both, each adds 1/4.
    At the best of one and the worst of the other, they make up for each other: with one midway, D
    are 1 and sqrt(4 + 1), so v is √5 / (1 + √5) = 0.691 or 1 minus that, and half of what is above
    and below 1/2, before and after the other, is (0.191 + 0.191) / 2.

    >>> of_score([[0, 0], [0, 4]], [[4, 4], [4, 0]]).round(3).tolist()
    [[0.25, 0.25], [0.191, -0.191]]
    """
    return _shapley(ideal_sq, anti_ideal_sq, _closeness)


def of_logit(ideal_sq: npt.ArrayLike, anti_ideal_sq: npt.ArrayLike) -> Floats:
    """The contributions[n, m] to each ln(C / (1 - C)): a row's sum is that, as BASELINE's is 0.

    Arguments, exclusions and errors are those of `of_score`. Where C is 1, each criterion adds
    infinity, as it does whenever it is the last to be counted; where C is 0, minus infinity. A
    criterion that tells none apart adds 0 even then.

    At 1/4 of the way by one criterion, which is all that counts, C is 1/4 and the odds 1 to 3:

    >>> of_logit([[9, 0]], [[1, 0]]).round(12).tolist(), round(-math.log(3), 12)
    ([[-1.098612288668, 0.0]], -1.098612288668)
    """
    plus, minus = _checked(ideal_sq, anti_ideal_sq)
    apart: Bools = np.logical_or(plus > 0, minus > 0)
    to_ideal: Bools = np.any(plus, axis=1)  # an excluded row too: NaN is not zero
    to_anti: Bools = np.any(minus, axis=1)
    result = np.zeros(plus.shape)
    result[apart & ~to_ideal[:, None]] = np.inf
    result[apart & ~to_anti[:, None]] = -np.inf
    inside = to_ideal & to_anti
    result[inside] = _shapley(plus[inside], minus[inside], _logit)
    return result


def _closeness(plus: Floats, minus: Floats) -> Floats:
    # D+²/D-² is infinite at the anti-ideal, where C is 0, and may be too large for a float nearby.
    with np.errstate(divide="ignore", over="ignore"):
        score: Floats = 1 / (1 + np.sqrt(plus / minus))
    return score


def _logit(plus: Floats, minus: Floats) -> Floats:
    logit: Floats = 0.5 * (np.log(minus) - np.log(plus))
    return logit


def _shapley(
    ideal_sq: npt.ArrayLike,
    anti_ideal_sq: npt.ArrayLike,
    worth: Callable[[Floats, Floats], Floats],
) -> Floats:
    """The Shapley values[n, m] of worth(D+², D-²)."""
    plus, minus = _checked(ideal_sq, anti_ideal_sq)
    n, m = plus.shape
    # What is left out lies midway: the whole way of a criterion is D+ and D- of it together.
    middle = np.square((np.sqrt(plus) + np.sqrt(minus)) / 2)
    members, shares = _coalitions(m)
    # Sums of what is inside and what is outside, never differences: what is 0 has to stay 0, for a
    # rounding of 1e-16 in D-² would be one of 1e-8 in C.
    either = np.vstack([members, 1 - members])
    result = np.zeros((n, m))
    step = max(1, BLOCK_CELLS >> m)
    apart = np.flatnonzero(middle.any(axis=1))  # or else C is 0/0 for every coalition
    for start in range(0, apart.size, step):
        rows = apart[start : start + step]
        values = worth(
            np.hstack([plus[rows], middle[rows]]) @ either,
            np.hstack([minus[rows], middle[rows]]) @ either,
        )
        result[rows] = values @ shares
    result[plus == minus] = 0  # what changes no coalition's value, but for rounding
    return result


@lru_cache(maxsize=4)
def _coalitions(m: int) -> tuple[Floats, Floats]:
    """Who is in each coalition [m, 2^m], and its share in each Shapley value [2^m, m].

    A coalition of s comes before a given other in s! (m-s-1)! of m! orders.
    """
    members = (np.arange(1 << m) >> np.arange(m)[:, None] & 1).astype(np.float64)
    before = np.array([1 / (m * math.comb(m - 1, s)) for s in range(m)] + [0.0])
    size = members.sum(axis=0).astype(np.int64)
    shares = np.where(members.T > 0, before[size - 1, None], -before[size, None])
    return members, shares


def _checked(ideal_sq: npt.ArrayLike, anti_ideal_sq: npt.ArrayLike) -> tuple[Floats, Floats]:
    plus = np.asarray(ideal_sq, dtype=np.float64)
    minus = np.asarray(anti_ideal_sq, dtype=np.float64)
    if plus.ndim != 2 or plus.shape != minus.shape:
        raise ValueError(f"ideal_sq {plus.shape} and anti_ideal_sq {minus.shape} have to fit")
    if plus.shape[1] > MAX_CRITERIA:
        raise TooManyCriteriaError(f"{plus.shape[1]} criteria are more than {MAX_CRITERIA}")
    return plus, minus
