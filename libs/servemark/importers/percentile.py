"""Percentiles of samples, without numpy."""

import math
from collections.abc import Sequence


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The percentile of samples in rising order, exactly as numpy's default (linear) gives it.

    Hyndman and Fan's type 7: the value at position (n - 1) x percent / 100, interpolated between
    its neighbours. percent: 0 to 100. Raises ValueError without samples.
    """
    if not ordered:
        raise ValueError("no samples")
    position = (len(ordered) - 1) * (percent / 100)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    share = position - below
    step = ordered[above] - ordered[below]
    # numpy interpolates from the nearer end; the other way round differs in the last bit.
    if share >= 0.5:
        return ordered[above] - step * (1 - share)
    return ordered[below] + step * share
