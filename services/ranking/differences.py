"""How two configurations differ, criterion by criterion, and whether runs differ by as much anyway.

The logarithm of b / a is off by the errors of both together. Where the 90 % interval holds 0, runs
of one and the same configuration could have differed like this: the difference is not above the
noise. Each criterion is judged by itself, so of ten that do not differ, one seems to.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.ranking.columns import Floats
from services.ranking.spread import QUANTILE
from services.ranking.topsis import Bools


@dataclass(frozen=True, eq=False, slots=True)
class Differences:
    """The change[m] from a to b as a share of a: 0.1 is 10 % more."""

    change: Floats
    """[m] b / a - 1; NaN where either is missing or not above 0."""
    low: Floats
    """[m] lower end of the 90 % interval; NaN where the spread of either is not known."""
    high: Floats
    """[m] its upper end."""
    above_noise: Bools
    """[m] whether the interval leaves 0 out; False where there is none."""
    known: Bools
    """[m] whether there is an interval."""


def differences(
    a: npt.ArrayLike, a_error: npt.ArrayLike, b: npt.ArrayLike, b_error: npt.ArrayLike
) -> Differences:
    """The differences of b from a, both values[m], with their errors[m] from `spread_of`.

    Without an error in either, as with prices, any difference is above the noise.

    5 % more with an error of 3 % in each, which makes 4.2 % together:

    >>> found = differences([100], [0.03], [105], [0.03])
    >>> found.change.round(3).tolist(), found.low.round(3).tolist(), found.high.round(3).tolist()
    ([0.05], [-0.021], [0.126])
    >>> found.above_noise.tolist()
    [False]
    """
    from_, to = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        log = np.where((from_ > 0) & (to > 0), np.log(to) - np.log(from_), np.nan)
    reach = QUANTILE * np.hypot(a_error, b_error)
    known: Bools = np.isfinite(log) & np.isfinite(reach)
    reach = np.where(known, reach, np.nan)
    with np.errstate(over="ignore"):
        change, low, high = np.expm1(log), np.expm1(log - reach), np.expm1(log + reach)
    # Comparisons with NaN are false.
    return Differences(change, low, high, np.abs(log) > reach, known)
