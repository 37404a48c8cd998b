"""Whether new runs differ from earlier ones by more than runs differ anyway.

All figures are taken as logarithms, so that changes are relative. Of m earlier runs and n new ones

    U      = number of the m * n pairs in which the new run is the larger; a tie counts against
    p      = P(U or more), if every choice of n among the m + n runs is equally likely to be the new
             ones: exact, from the coefficients of the Gaussian binomial
             prod (1 - q^(m + i)) / (1 - q^i), i = 1 … n, of which the one of q^u counts the
             choices with U = u
    change = median of the m * n differences; its interval runs from the k-th smallest to the k-th
             largest of them, with the largest k that has P(U < k) ≤ 2.5 %
    z      = (median of new - median of earlier) / (s * sqrt(1 / w(m) + 1 / w(n)))
             s = 1.4826 * MAD of the earlier runs, w(n) = (2 n + pi - 2) / pi

and a direction of change is shown by those of a configuration's metrics that Holm's procedure finds
at a level of 1 %: the smallest p at most 1 % / k, the next at most 1 % / (k - 1), and so on. A
regression reported also changes by a smallest effect or more. So if nothing changed, at most 1 % of
configurations have one, however many metrics are judged, however these depend on each other, and
whatever the distribution of the noise: that is a theorem, where a threshold on z is not.

One run in which everything went wrong is left out first if it is alone: more than 5 s from the
median of all runs, and more than twice as far as any other. Which run that is does not depend on
which are new, so what was said of p still holds. Without this, 4 % of configurations would have
a false alarm where such a run is among 5 new ones, and some regressions would be missed where it is
among the earlier ones.

Why ranks, and not z. Tried with 20 earlier runs and 5 new ones at 5 % noise, 6 metrics each with
noise of its own, a change of 10 % and thresholds that give 1 % of false alarms: where all of the
metrics change, it is found in 99.7 % (ranks), 99.9 % (Student's t) and 87 % (z); where three do,
94 %, 97 % and 64 %; two, 85 %, 91 % and 50 %; one, 61 %, 70 % and 29 %. The threshold of z, 4.1
there, has to be 8.6 where noise is exponential; that of t, 3.3, has to be 3.9. With known noise and
one metric, no test at all finds more than 81 % (Neyman and Pearson: the normal distribution at
0.0953 / (0.05 * sqrt(1/20 + 1/5)) - 2.94). 8 new runs find 86 % of these, 10 find 93 %.

Metrics that share their noise count as one, nearly: where all six change and half of the variance
is common to a run, 96 % are found; with all of it, 73 %, and 0.1 % are false alarms.

Sources: H. B. Mann and D. R. Whitney, "On a test of whether one of two random variables is
stochastically larger than the other", Ann. Math. Stat. 18 (1947); J. L. Hodges and E. L. Lehmann,
"Estimates of location based on rank tests", Ann. Math. Stat. 34 (1963), for the change and its
interval; S. Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Stat. 6
(1979). w(n) is exact for n = 1 and right for many runs; it is up to 10 % off between.

By hand: new runs 4 and 5 against 1, 2 and 3. All 6 pairs rise, which 1 of the 10 choices of two
runs among five does: p = 0.1.

>>> found = compare(np.log([[1.0, 2.0, 3.0]]), np.log([[4.0, 5.0]]))
>>> found.p_higher.round(3).tolist(), found.p_lower.round(3).tolist()
([0.1], [1.0])
>>> np.exp(found.before).round(3).tolist(), np.exp(found.after).round(3).tolist()
([2.0], [4.472])
"""

from dataclasses import dataclass
from functools import lru_cache
from math import comb
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

LEVEL: Final = 0.01
"""Most configurations without a change that a regression may be reported of, as a share."""

_TAIL: Final = 0.025
_DEVIATIONS: Final = 5.0
_TIMES_AS_FAR: Final = 2.0
_DEVIATION_OF_MAD: Final = 1.4826


@dataclass(frozen=True, eq=False, slots=True)
class Comparison:
    """The rows[r] of earlier and new runs compared; all figures are logarithms."""

    earlier_count: Ints
    """[r] earlier runs compared, without an outlier."""
    new_count: Ints
    """[r] new runs compared, without an outlier."""
    outlier: Bools
    """[r] whether a run was left out."""
    before: Floats
    """[r] median of the earlier runs; NaN without any."""
    after: Floats
    """[r] median of the new runs; NaN without any."""
    change: Floats
    """[r] by how much new runs are above earlier ones; NaN if either has none."""
    low: Floats
    """[r] lower end of its 95 % interval: -infinity where runs are too few for one."""
    high: Floats
    """[r] upper end; infinity where runs are too few."""
    noise: Floats
    """[r] deviation of one earlier run."""
    z: Floats
    """[r] distance of the medians in standard errors; NaN where there is no noise."""
    p_higher: Floats
    """[r] chance that new runs lie so high; NaN if either side has none."""
    p_lower: Floats
    """[r] chance that they lie so low."""
    p_least: Floats
    """[r] the smallest chance that so many runs can show."""


def compare(earlier: npt.ArrayLike, new: npt.ArrayLike) -> Comparison:
    """Compares the runs new[r, n] with earlier[r, m], row by row; NaN where there is no run.

    Raises ValueError for shapes that do not fit together.
    """
    old, fresh = np.asarray(earlier, dtype=np.float64), np.asarray(new, dtype=np.float64)
    if old.ndim != 2 or fresh.ndim != 2 or len(old) != len(fresh):
        raise ValueError(
            f"rows of runs are needed, as many of both, not {old.shape}, {fresh.shape}"
        )
    outlier = _outliers(np.hstack((old, fresh)))
    old = np.where(outlier[:, : old.shape[1]], np.nan, old)
    fresh = np.where(outlier[:, old.shape[1] :], np.nan, fresh)
    m, n = _count(old), _count(fresh)

    differences = (fresh[:, :, None] - old[:, None, :]).reshape(len(old), -1)
    higher, lower = (differences > 0).sum(axis=1), (differences < 0).sum(axis=1)
    rows = len(old)
    p_higher, p_lower, p_least = (np.full(rows, np.nan) for _ in range(3))
    inner = np.full(rows, -1)
    for pair in {(int(a), int(b)) for a, b in zip(m, n, strict=True) if a and b}:
        of_pair = (m == pair[0]) & (n == pair[1])
        chances = _chances(*pair)
        p_higher[of_pair], p_lower[of_pair] = chances[higher[of_pair]], chances[lower[of_pair]]
        p_least[of_pair] = chances[-1]
        inner[of_pair] = np.count_nonzero(chances <= _TAIL) - 1

    differences.sort(axis=1)
    before, after = _median(old), _median(fresh)
    noise = _DEVIATION_OF_MAD * _median(np.abs(old - before[:, None]))
    with np.errstate(divide="ignore", invalid="ignore"):
        error = noise * np.sqrt(np.pi / (2 * m + np.pi - 2) + np.pi / (2 * n + np.pi - 2))
        z = np.where(error > 0, (after - before) / error, np.nan)
    return Comparison(
        earlier_count=m,
        new_count=n,
        outlier=np.any(outlier, axis=1),
        before=before,
        after=after,
        change=_median(differences),
        low=np.where(inner < 0, -np.inf, _at(differences, inner)),
        high=np.where(inner < 0, np.inf, _at(differences, m * n - 1 - inner)),
        noise=noise,
        z=z,
        p_higher=p_higher,
        p_lower=p_lower,
        p_least=p_least,
    )


def shown(p: npt.ArrayLike, level: float = LEVEL) -> Bools:
    """Which of p[..., k] Holm's procedure finds at the level; NaN is not a hypothesis.

    >>> shown([0.004, 0.2, 0.003, float("nan")]).tolist()
    [True, False, True, False]
    """
    chance = np.asarray(p, dtype=np.float64)
    order = np.argsort(chance, axis=-1)  # NaN comes last
    ordered = np.take_along_axis(chance, order, axis=-1)
    left = (~np.isnan(chance)).sum(axis=-1, keepdims=True) - np.arange(chance.shape[-1])
    # Comparisons with NaN are false.
    found = np.logical_and.accumulate(ordered <= level / np.maximum(left, 1), axis=-1)
    answer = np.empty(chance.shape, dtype=np.bool_)
    np.put_along_axis(answer, order, found, axis=-1)
    return answer


@lru_cache(maxsize=4096)
def _chances(m: int, n: int) -> Floats:
    """P(U ≥ u) for u = 0 … m * n, of m earlier and n new runs."""
    size = m * n + 1
    # The distribution is symmetric. Up to its middle each coefficient comes of smaller ones alone,
    # so that none is lost to rounding where they are few.
    half = size // 2 + 1
    ways = np.zeros(half)
    ways[0] = 1
    for i in range(1, n + 1):
        if m + i < half:
            ways[m + i :] -= ways[: -(m + i)].copy()
        folded = np.zeros(-(-half // i) * i)
        folded[:half] = ways
        ways = folded.reshape(-1, i).cumsum(axis=0).ravel()[:half]
    ways = np.concatenate((ways, ways[: size - half][::-1]))
    chances = np.minimum(ways.cumsum() / comb(m + n, n), 1.0)[::-1]
    chances.flags.writeable = False
    return chances


def _outliers(runs: Floats) -> Bools:
    """Where runs[r, t] have one that lies far from all others: one a row, or none."""
    distance = np.abs(runs - _median(runs)[:, None])
    found = np.zeros(runs.shape, dtype=np.bool_)
    count = _count(runs)
    distance_of = np.sort(distance, axis=1)
    farthest, next_one = _at(distance_of, count - 1), _at(distance_of, count - 2)
    deviation = _DEVIATION_OF_MAD * _median(distance)
    alone = (farthest > _DEVIATIONS * deviation) & (farthest > _TIMES_AS_FAR * next_one)
    found[alone] = distance[alone] == farthest[alone, None]
    return found


def _count(values: Floats) -> Ints:
    """How many of each row's values there are."""
    count: Ints = np.count_nonzero(~np.isnan(values), axis=1)
    return count


def _median(values: Floats) -> Floats:
    """The median of each row's values that are not NaN; NaN where there is none."""
    ordered = np.sort(values, axis=1)  # NaN comes last
    count = _count(values)
    return (_at(ordered, (count - 1) // 2) + _at(ordered, count // 2)) / 2


def _at(ordered: Floats, place: Ints) -> Floats:
    """The value at a place of each row; NaN where the row has no such place."""
    if ordered.shape[1] == 0:
        return np.full(len(ordered), np.nan)
    within = np.clip(place, 0, ordered.shape[1] - 1)
    values: Floats = np.take_along_axis(ordered, within[:, None], axis=1)[:, 0]
    return np.where(place < 0, np.nan, values)
