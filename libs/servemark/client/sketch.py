"""Latency samples in a few hundred numbers that can be added up, without numpy.

DDSketch: C. Masson, J. E. Rim and H. K. Lee, "DDSketch: a fast and fully-mergeable quantile sketch
with relative-error guarantees", PVLDB 12 (2019). With a = 1 % and gamma = (1 + a) / (1 - a) =
101 / 99, bucket b counts the samples in (gamma^(b-1), gamma^b] ms. Whatever lies there is within
1 % of (1 - a) * gamma^b. So the percentiles of many runs together come from the sum of their
sketches, each within 1 % of the exact one; percentiles themselves cannot be averaged.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from functools import cache
from typing import Final

from servemark.ingest.v1.latency_sketch_pb2 import LatencySketch

SMALLEST_MS: Final = 1e-6
"""A nanosecond. What is shorter counts as zero: no clock of a benchmark tells the two apart."""
LARGEST_MS: Final = 1e9
"""Eleven and a half days. What is longer is a mistake, most often of the unit."""

_FIRST: Final = -690  # the bucket of SMALLEST_MS
_LAST: Final = 1037  # the bucket of LARGEST_MS


def sketch_of(samples: Iterable[float]) -> LatencySketch:
    """The sketch of latencies in milliseconds, in any order.

    Takes 0 and 1e-6 to 1e9 ms; below 1e-6 ms a sample counts as zero. Without samples the sketch is
    empty: leave the field unset then. Raises ValueError for a sample that is negative, NaN,
    infinite or above 1e9 ms, saying which one it is and what to do.

    Three samples of 100 ms lie in bucket ceil(ln 100 / ln gamma) = ceil(230.25) = 231, one of 104
    ms in ceil(232.21) = 233:

    >>> sketch = sketch_of([100, 104, 0, 100, 100])
    >>> sketch.first_bucket, sketch.zero_count, list(sketch.counts)
    (231, 1, [3, 0, 1])
    """
    borders = _borders()
    zero_count = 0
    found: Counter[int] = Counter()
    for index, sample in enumerate(samples):
        if not 0 <= sample <= LARGEST_MS:
            raise ValueError(f"sample {index} is {sample!r} ms: {_advice(sample)}")
        if sample < SMALLEST_MS:
            zero_count += 1
        else:
            found[bisect_left(borders, sample)] += 1
    if not found:
        return LatencySketch(zero_count=zero_count)
    first, last = min(found), max(found)
    return LatencySketch(
        first_bucket=_FIRST + first,
        zero_count=zero_count,
        counts=[found[bucket] for bucket in range(first, last + 1)],
    )


def _advice(sample: float) -> str:
    """What to do about a sample that no sketch can hold."""
    if sample < 0:
        return "no latency is negative. Measure with a monotonic clock, and leave this one out."
    if LARGEST_MS < sample < float("inf"):
        return "that is more than 11 days. Give milliseconds, not micro- or nanoseconds."
    return "not a latency. Leave out the requests that have none."


@cache
def _borders() -> list[float]:
    """gamma^b for each bucket that a sample may be in: a bucket's upper border belongs to it.

    Samples are compared with these because ceil(ln x / ln gamma) puts half of all borders into the
    bucket above, and which half depends on the machine's logarithm. Python divides integers of any
    size with one rounding, so these are the same everywhere.
    """
    above, below = [1.0], []
    up, down = 1, 1
    for bucket in range(1, max(_LAST, -_FIRST) + 1):
        up, down = up * 101, down * 99
        if bucket <= _LAST:
            above.append(up / down)
        if bucket <= -_FIRST:
            below.append(down / up)
    return below[::-1] + above
