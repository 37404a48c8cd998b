"""Latency sketches: samples counted in logarithmic buckets, which can be added up over runs.

Source: C. Masson, J. E. Rim and H. K. Lee, "DDSketch: a fast and fully-mergeable quantile sketch
with relative-error guarantees", PVLDB 12 (2019), with the relative error a = 1 %:

    gamma       = (1 + a) / (1 - a) = 101 / 99
    bucket of x = ceil(ln x / ln gamma): bucket b stands for (gamma^(b-1), gamma^b] ms
    value of b  = 2 gamma^b / (gamma + 1) = (1 - a) gamma^b, within a of everything in the bucket
    quantile q  = value of the first bucket up to which max(1, ceil(q n)) of the n samples lie

A sketch is one array of integers, in Python as in PostgreSQL: [first bucket, zero count, counts of
consecutive buckets from the first on]. Zeros have no logarithm, hence a count of their own, and the
value 0. `[0, 0]` is the empty sketch. A run without a sketch has none (NULL), not an empty one.
"""

from collections.abc import Sequence
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

RELATIVE_ERROR: Final = 0.01
FIRST_BUCKET: Final = -1100
"""The lowest bucket a sketch may hold; its values are below 3e-10 ms."""
LAST_BUCKET: Final = 1100
"""The highest bucket a sketch may hold; its values are above 3e9 ms."""
SMALLEST_MS: Final = 1e-6
"""What is shorter than a nanosecond is encoded as zero."""
LARGEST_MS: Final = 1e9
"""The longest sample that is encoded: eleven and a half days."""


def encode(samples: npt.ArrayLike) -> Ints:
    """The sketch[2 + k] of samples[n] in ms, with no empty bucket at either end.

    Takes 0 and 1e-6 to 1e9 ms; below 1e-6 ms a sample counts as zero. Without samples the sketch is
    empty. Raises ValueError for a negative, NaN, infinite or longer sample, and for more than one
    dimension.

    Three samples of 100 ms lie in bucket ceil(ln 100 / ln gamma) = ceil(230.25) = 231, one of 104
    ms in ceil(232.21) = 233:

    >>> encode([100, 104, 0, 100, 100]).tolist()
    [231, 1, 3, 0, 1]
    """
    values = np.asarray(samples, dtype=np.float64)
    if values.ndim != 1:
        raise ValueError(f"samples {values.shape} need one dimension")
    wrong = np.flatnonzero(~((values >= 0) & (values <= LARGEST_MS)))
    if wrong.size:
        raise ValueError(
            f"sample {wrong[0]} is {values[wrong[0]]} ms; a latency is 0 to {LARGEST_MS:.0f} ms"
        )
    counted = values[values >= SMALLEST_MS]
    zeros = values.size - counted.size
    if not counted.size:
        return np.array([0, zeros], dtype=np.int64)
    buckets = FIRST_BUCKET + np.searchsorted(_borders(), counted)
    first = buckets.min()
    return np.concatenate(([first, zeros], np.bincount(buckets - first))).astype(np.int64)


def merge(sketches: Sequence[npt.ArrayLike]) -> Ints:
    """The sketch of all samples of the sketches together; the empty one if there are none.

    It is the same, element by element, in whatever order and groups they are merged. It reaches
    from the first bucket that any of them names to the last, empty or not. Raises ValueError for
    what `checked` refuses, and for counts that add up to 2^63 or more.

    >>> merge([[231, 1, 3, 0, 1], [230, 0, 2, 5], [0, 4]]).tolist()
    [230, 5, 2, 8, 0, 1]
    """
    each = [checked(sketch) for sketch in sketches]
    _add_up([int(sketch[1:].sum()) for sketch in each])
    zeros = sum(int(sketch[1]) for sketch in each)
    ranges = [sketch for sketch in each if sketch.size > 2]
    if not ranges:
        return np.array([0, zeros], dtype=np.int64)
    first = min(int(sketch[0]) for sketch in ranges)
    last = max(int(sketch[0]) + sketch.size - 3 for sketch in ranges)
    merged = np.zeros(2 + last - first + 1, dtype=np.int64)
    for sketch in ranges:
        start = 2 + int(sketch[0]) - first
        merged[start : start + sketch.size - 2] += sketch[2:]
    merged[:2] = first, zeros
    return merged


def count(sketch: npt.ArrayLike) -> int:
    """The number of samples in a sketch. Raises ValueError for what `checked` refuses."""
    return int(checked(sketch)[1:].sum())


def quantiles(sketch: npt.ArrayLike, q: npt.ArrayLike) -> Floats:
    """The values[m] in ms of the quantiles q[m], each 0 to 1; NaN from an empty sketch.

    A value is within 1 % of the sample of rank max(1, ceil(q n)) in rising order, the one meant by
    "q of the samples are not longer": q = 0 asks for the shortest sample, q = 1 for the longest. If
    that sample counts as zero, the value is 0. Raises ValueError for a q that is NaN or outside 0
    to 1, and for what `checked` refuses.

    Of the five samples 0, 100, 100, 100, 104, the median is the third, in bucket 231, and the 90th
    percentile the fifth, in bucket 233: 0.99 gamma^231 and 0.99 gamma^233.

    >>> quantiles([231, 1, 3, 0, 1], [0.2, 0.5, 0.9]).round(3).tolist()
    [0.0, 100.495, 104.596]
    """
    wanted = np.asarray(q, dtype=np.float64)
    if wanted.ndim != 1 or not np.all((wanted >= 0) & (wanted <= 1)):
        raise ValueError(f"quantiles {wanted.tolist()} must be a list of numbers from 0 to 1")
    numbers = checked(sketch)
    running = np.cumsum(numbers[1:]).astype(np.float64)
    if running[-1] == 0:
        return np.full(wanted.size, np.nan)
    place = np.searchsorted(running, np.maximum(1, np.ceil(wanted * running[-1])))
    exponent = numbers[0] + place - 1  # place 0 is that of the zeros
    values = (1 - RELATIVE_ERROR) * _borders()[np.clip(exponent - FIRST_BUCKET, 0, None)]
    return np.where(place == 0, 0.0, values)


def checked(sketch: npt.ArrayLike) -> Ints:
    """The sketch as an array[2 + k], once it is known to be one.

    Raises ValueError, with what is wrong, unless it has one dimension and at least two elements,
    all integers; its buckets lie in -1100 to 1100; its counts are not negative and add up to less
    than 2^63.
    """
    numbers = np.asarray(sketch)
    if numbers.ndim != 1 or numbers.size < 2 or numbers.dtype.kind not in "iu":
        raise ValueError("a sketch is a list of integers: first bucket, zero count, counts")
    first, last = int(numbers[0]), int(numbers[0]) + numbers.size - 3
    if not FIRST_BUCKET <= first <= LAST_BUCKET or last > LAST_BUCKET:
        raise ValueError(
            f"the buckets {first} to {max(first, last)} of a sketch must lie in "
            f"{FIRST_BUCKET} to {LAST_BUCKET}"
        )
    if np.any(numbers[1:] < 0):
        raise ValueError("a count of a sketch is negative")
    _add_up(numbers[1:].tolist())
    return numbers.astype(np.int64)


def _add_up(counts: Sequence[int]) -> None:
    """Raises ValueError if counts add up to what 64 bits cannot hold: numpy would wrap round."""
    if sum(counts) >= 2**63:
        raise ValueError("the counts add up to 2^63 or more; no benchmark has so many samples")


@cache
def _borders() -> Floats:
    """gamma^b for each bucket from FIRST_BUCKET on: a bucket's upper border belongs to it.

    Samples are compared with these because ceil(ln x / ln gamma) puts half of all borders into the
    bucket above, and which half depends on the machine's logarithm. Python divides integers of any
    size with one rounding, so these are the same everywhere, and those of servemark.client.sketch.
    """
    up, down, above, below = 1, 1, [1.0], []
    for _ in range(LAST_BUCKET):
        up, down = up * 101, down * 99
        above.append(up / down)
        below.append(down / up)
    return np.array(below[::-1] + above)
