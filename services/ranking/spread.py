"""How far a cell may be off, from no more than its smallest and largest run and their number.

A cell is the median over n runs. If the runs are independent and each is off by a factor that is
lognormal with the deviation s, as latencies and rates are, the median is off by about c(n) * s, on
the logarithmic scale: less than a single run. s is not known, but the range of the runs tells:

    own      s² = (ln(largest / smallest) / d(n))²     d(n)² = mean of the squared range at s = 1
    typical  s0 = median of ln(largest / smallest) / e(n) over the cells of the same metric
                                                       e(n) = median of the range at s = 1
    used     s² = (3 s0² + v(n) own²) / (3 + v(n))     v(n) = degrees of freedom of a range

so a range of two runs, which chance makes small or large, counts for little, and a single run has
what is typical: that is an assumption, and `assumed` says where it was made. Where nobody has
several runs nothing is known, and no certainty is made up. As s is an estimate itself, errors are
widened as Student's t is against the normal, so that ± 1.645 errors are a 90 % interval: tried on
20 configurations of 1, 2, 3, 3 and 5 runs it held the true value 95 % of the time where s was the
same for all, 92 % where it differed by a factor of 1.6 or so, 88 % where it differed by one of 2.7.

[smallest, largest] itself would not do as an interval. It holds the median of all the runs there
could be with the probability 1 - 2^(1 - n), so with two runs it does not half of the time.

Sources: d and v are those of P. B. Patnaik, "The use of mean range as an estimator of variance in
statistical tests", Biometrika 37 (1950); the weighing of the own and the typical variance is that
of G. K. Smyth, "Linear models and empirical Bayes methods", Stat. Appl. Genet. Mol. Biol. 3 (2004),
with 3 prior degrees of freedom, chosen by the intervals' coverage; the widening is equation 26.7.5
of M. Abramowitz and I. A. Stegun, "Handbook of Mathematical Functions" (1964).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.ranking.columns import Floats
from services.ranking.topsis import Bools, Ints

LEVEL = 0.9
"""Probability of the intervals: from 5 % to 95 %."""

QUANTILE = 1.6449
"""The normal distribution's at 95 %."""

PRIOR_DEGREES = 3.0

MOST = 50.0
"""Largest error: nothing is known of a cell that may be off by a factor of e^50, and larger ones
would overflow where they are drawn."""

# n, d(n), e(n) and v(n) of the normal distribution. Between two rows, linear in the logarithm of n;
# beyond the last, the last, by which the own deviation comes out a little too large.
# fmt: off
_OF_RANGE = (
    (2, 1.414, 0.954, 1.00),
    (3, 1.912, 1.588, 1.99),
    (4, 2.239, 1.978, 2.93),
    (5, 2.481, 2.257, 3.83),
    (6, 2.672, 2.472, 4.68),
    (7, 2.830, 2.646, 5.48),
    (8, 2.963, 2.791, 6.25),
    (9, 3.078, 2.915, 6.98),
    (10, 3.179, 3.024, 7.68),
    (15, 3.553, 3.422, 10.77),
    (20, 3.805, 3.686, 13.37),
    (30, 4.144, 4.037, 17.63),
    (50, 4.545, 4.451, 24.03),
    (100, 5.052, 4.968, 34.58),
)
# fmt: on
_RUNS, _ROOT_MEAN_SQUARE_RANGE, _MEDIAN_RANGE, _DEGREES = zip(*_OF_RANGE, strict=True)
# Deviation of the median of 1 to 10 runs; of n more runs it is sqrt(pi / (2 n)).
_MEDIAN_ERROR = np.array([1, 0.707, 0.670, 0.546, 0.536, 0.464, 0.459, 0.410, 0.408, 0.372])


@dataclass(frozen=True, eq=False, slots=True)
class Spread:
    """How far the cells[n, m] may be off."""

    error: Floats
    """[n, m] standard error of a value's logarithm: 0.05 is about 5 %. 0 for an exact value, NaN
    where the spread is not known or there is no value."""
    assumed: Bools
    """[n, m] values of a single run, or of runs without a range, taken to spread as is typical."""
    typical: Floats
    """[m] the typical deviation of one run, on the logarithmic scale; NaN where nobody has several
    runs."""
    source_count: Ints
    """[m] cells that `typical` is the median of."""

    def take(self, rows: npt.ArrayLike, criteria: npt.ArrayLike) -> "Spread":
        """The spread of some of the cells; what is typical remains that of all."""
        places = np.ix_(np.asarray(rows), np.asarray(criteria))
        return Spread(
            self.error[places],
            self.assumed[places],
            self.typical[np.asarray(criteria)],
            self.source_count[np.asarray(criteria)],
        )


def spread_of(
    value: npt.ArrayLike,
    low: npt.ArrayLike,
    high: npt.ArrayLike,
    runs: npt.ArrayLike,
    *,
    deviation: npt.ArrayLike | None = None,
) -> Spread:
    """The spread of cells given by their median, smallest and largest run, and their runs[n, m].

    All are [n, m], and low ≤ value ≤ high where they are known. 0 runs make a value exact, as a
    price is. `deviation` is the standard deviation from run to run, in the metric's unit, NaN where
    it is not known; a known one is taken as it is. A value of 0 has no relative spread and stays 0.
    Raises ValueError for shapes that do not fit together.

    Two runs that differ by 1 % and by 3 %, and one whose spread is taken from them:

    >>> found = spread_of([[100], [100], [100]], [[99.5], [98.5], [100]],
    ...                   [[100.5], [101.5], [100]], [[2], [2], [1]])
    >>> found.typical.round(3).tolist(), found.source_count.tolist(), found.assumed.ravel().tolist()
    ([0.021], [2], [False, False, True])
    >>> found.error.ravel().round(3).tolist()
    [0.017, 0.019, 0.029]
    """
    center, least, most = (np.asarray(cells, dtype=np.float64) for cells in (value, low, high))
    count = np.asarray(runs, dtype=np.int64)
    known = np.full(center.shape, np.nan)
    if deviation is not None:
        known = np.asarray(deviation, dtype=np.float64)
    shapes = {cells.shape for cells in (center, least, most, count, known)}
    if center.ndim != 2 or len(shapes) > 1:
        raise ValueError(f"the cells need one shape, alternatives by criteria, not {shapes}")

    spanned = _log_range(center, least, most)
    several = (count >= 2) & np.isfinite(spanned)
    place = np.log(np.maximum(count, 2))
    at = np.log(_RUNS)
    typical = np.full(center.shape[1], np.nan)
    scaled = spanned / np.interp(place, at, _MEDIAN_RANGE)
    for column in np.flatnonzero(several.any(axis=0)):
        typical[column] = np.median(scaled[several[:, column], column])

    degrees = np.where(several, np.interp(place, at, _DEGREES), 0.0)
    own = np.where(several, spanned / np.interp(place, at, _ROOT_MEAN_SQUARE_RANGE), 0.0)
    total = PRIOR_DEGREES + degrees
    sigma = np.sqrt((PRIOR_DEGREES * typical**2 + degrees * own**2) / total)
    # What Student's t at 95 % is wider than the normal by.
    sigma *= 1 + 0.927 / total + 0.864 / total**2
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = known / np.abs(center)
    given = np.isfinite(relative)
    sigma = np.where(given, relative, sigma)
    error = np.minimum(sigma * _median_error(count), MOST)
    error[count == 0] = 0.0
    error[np.isnan(center)] = np.nan
    return Spread(
        error=error,
        assumed=(count >= 1) & ~several & ~given & ~np.isnan(error),
        typical=typical,
        source_count=several.sum(axis=0),
    )


def _log_range(value: Floats, low: Floats, high: Floats) -> Floats:
    """ln(high / low), or where low is not above 0 the range beside the value; not finite if 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        span = np.where(low > 0, np.log(high) - np.log(low), (high - low) / np.abs(value))
    return np.where(high == low, 0.0, span)


def _median_error(runs: Ints) -> Floats:
    """The deviation of the median of so many runs, each of which has the deviation 1."""
    few = _MEDIAN_ERROR[np.clip(runs, 1, 10) - 1]
    return np.where(runs <= 10, few, np.sqrt(np.pi / 2 / np.maximum(runs, 1)))
