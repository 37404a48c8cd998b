"""Sketches of latencies, for runners that have every sample. Standard library only."""

import math
from collections import Counter
from collections.abc import Iterable
from typing import Final

from servemark.ingest.v1.latency_sketch_pb2 import LatencySketch

MAX_LATENCY_MS: Final = 1e9

_LOG_GAMMA: Final = math.log(1.01 / 0.99)
_LOWEST_BUCKET: Final = -1100


def sketch_of(samples: Iterable[float]) -> LatencySketch:
    """The sketch of one run's latencies in milliseconds, each 0 to 10^9.

    A sample of x > 0 is counted in bucket ceil(ln x / ln gamma), gamma = 1.01 / 0.99: see the
    contract's LatencySketch. Raises ValueError for a sample that is negative or not finite.
    """
    buckets: Counter[int] = Counter()
    zeros = 0
    for value in samples:
        if not 0 <= value <= MAX_LATENCY_MS:
            raise ValueError(
                f"a latency of {value} ms: it must be from 0 to {MAX_LATENCY_MS:g}; leave out what "
                "was not measured"
            )
        bucket = math.ceil(math.log(value) / _LOG_GAMMA) if value else _LOWEST_BUCKET - 1
        if bucket < _LOWEST_BUCKET:
            zeros += 1
        else:
            buckets[bucket] += 1
    if not buckets:
        return LatencySketch(zero_count=zeros)
    first, last = min(buckets), max(buckets)
    return LatencySketch(
        first_bucket=first,
        counts=[buckets[bucket] for bucket in range(first, last + 1)],
        zero_count=zeros,
    )
