"""Latency sketches: counts of samples in logarithmic buckets, which can be added up.

Percentiles of different runs cannot be averaged; the sketches of runs can be merged, and what is
read from the sum is within 1 % of the exact percentile of all samples together. The mapping is the
logarithmic one of DDSketch (Masson, Rim, Lee: "DDSketch: a fast and fully-mergeable quantile sketch
with relative-error guarantees", VLDB 2019) with a relative accuracy of a = 1 %:

    gamma = (1 + a) / (1 - a),  bucket of x > 0: b = ceil(ln x / ln gamma),
    value of b: 2 gamma^b / (gamma + 1),  which is within a of every x in (gamma^(b-1), gamma^b].

A sketch is an array of integers, as the database keeps it: the first bucket, the samples of 0, then
the counts of the buckets from the first on. Example: of the samples 0, 1, 1 and 1.02 ms, 1 lies in
bucket 0 and 1.02 in bucket 1 (ln 1.02 / ln gamma = 0.99): the sketch is [0, 1, 2, 1].
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

ACCURACY: Final = 0.01
GAMMA: Final = (1 + ACCURACY) / (1 - ACCURACY)
# Buckets from 0.3 nanoseconds to 41 days, in milliseconds.
MAX_BUCKET: Final = 1100

_LOG_GAMMA: Final = np.log(GAMMA)
_HEAD: Final = 2

Sketch = NDArray[np.int64]


def sketch_of(samples: ArrayLike) -> Sketch:
    """The sketch of latencies, shape (n,), in ms.

    Raises ValueError for a sample that is negative, not finite, or above 10^9. One too small for a
    bucket (below 3·10^-10 ms) counts as 0.
    """
    values = np.asarray(samples, np.float64)
    if not bool(np.all((values >= 0) & (values <= 1e9))):
        raise ValueError("latencies are finite numbers from 0 to 10^9 ms")
    with np.errstate(divide="ignore"):
        buckets = np.ceil(np.log(values) / _LOG_GAMMA)
    counted = buckets[buckets >= -MAX_BUCKET].astype(np.int64)
    zeros = len(values) - len(counted)
    if not len(counted):
        return np.array([0, zeros], np.int64)
    first = int(counted.min())
    return np.concatenate(([first, zeros], np.bincount(counted - first)))


def merge(sketches: Sequence[Sketch]) -> Sketch:
    """The sketch of all samples of the given sketches together."""
    filled = [sketch for sketch in sketches if len(sketch) > _HEAD]
    zeros = sum(int(sketch[1]) for sketch in sketches)
    if not filled:
        return np.array([0, zeros], np.int64)
    first = min(int(sketch[0]) for sketch in filled)
    last = max(int(sketch[0]) + len(sketch) - _HEAD for sketch in filled)
    counts = np.zeros(last - first, np.int64)
    for sketch in filled:
        start = int(sketch[0]) - first
        counts[start : start + len(sketch) - _HEAD] += sketch[_HEAD:]
    return np.concatenate(([first, zeros], counts))


def count(sketch: Sketch) -> int:
    """How many samples the sketch counts."""
    return int(sketch[1:].sum())


def quantiles(sketch: Sketch, wanted: Sequence[float]) -> NDArray[np.float64]:
    """The wanted quantiles, each from 0 to 1, in ms: the value of the first bucket up to which at
    least ceil(q n) samples, and at least one, are counted. NaN for a sketch without samples.

    Example: of [0, 1, 2, 1] (see above) q = 0.25 is 0, q = 0.5 is 2 / (gamma + 1) = 0.99.
    """
    total = count(sketch)
    if not total:
        return np.full(len(wanted), np.nan)
    ranks = np.maximum(np.ceil(np.asarray(wanted) * total), 1)
    seen = sketch[1] + np.cumsum(sketch[_HEAD:])
    exponents = sketch[0] + np.searchsorted(seen, ranks)
    values = 2 * GAMMA ** exponents.astype(np.float64) / (GAMMA + 1)
    return np.where(ranks <= sketch[1], 0.0, values)
