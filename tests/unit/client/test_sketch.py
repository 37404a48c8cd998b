"""A runner's samples become counts in buckets, or are refused with what to do about it."""

import doctest
import math
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from servemark.client import sketch
from servemark.client.sketch import LARGEST_MS, SMALLEST_MS, sketch_of
from servemark.ingest.v1.latency_sketch_pb2 import LatencySketch

GAMMA = Fraction(101, 99)
# The borders themselves are rounded once, to the nearest double.
ROUNDING = Fraction(1, 2**53)


def test_the_example_in_the_manual_is_true() -> None:
    results = doctest.testmod(sketch)
    assert results.attempted > 0
    assert results.failed == 0


@given(st.floats(SMALLEST_MS, LARGEST_MS))
@example(SMALLEST_MS)
@example(1.0)
@example(LARGEST_MS)
def test_a_sample_lies_between_the_borders_of_its_bucket(sample: float) -> None:
    made = sketch_of([sample])
    bucket, zero_count, counts = made.first_bucket, made.zero_count, list(made.counts)
    assert (zero_count, counts) == (0, [1])
    exact = Fraction(sample)
    assert GAMMA ** (bucket - 1) * (1 - ROUNDING) < exact <= GAMMA**bucket * (1 + ROUNDING)


@given(st.integers(-690, 1036))
def test_a_border_belongs_to_the_bucket_below_it(bucket: int) -> None:
    border = float(GAMMA**bucket)
    if border >= SMALLEST_MS:
        assert sketch_of([border]).first_bucket == bucket
    assert sketch_of([math.nextafter(border, math.inf)]).first_bucket == bucket + 1


@given(st.lists(st.floats(0, LARGEST_MS)))
def test_every_sample_is_counted_once_and_no_end_is_empty(samples: list[float]) -> None:
    made = sketch_of(samples)
    assert made.zero_count + sum(made.counts) == len(samples)
    assert 0 not in made.counts[:1] + made.counts[-1:]


def test_what_is_shorter_than_a_nanosecond_counts_as_zero() -> None:
    short = [0, -0.0, 5e-324, math.nextafter(SMALLEST_MS, 0)]
    assert sketch_of(short) == LatencySketch(zero_count=4)
    assert sketch_of([SMALLEST_MS]).zero_count == 0


def test_no_samples_make_an_empty_sketch() -> None:
    assert sketch_of([]) == LatencySketch()


def test_samples_may_come_one_by_one() -> None:
    assert sketch_of(sample for sample in (1, 1, 0)) == LatencySketch(zero_count=1, counts=[2])


@pytest.mark.parametrize(
    ("sample", "advice"),
    [
        (-0.5, "monotonic clock"),
        (-math.inf, "monotonic clock"),
        (math.nan, "Leave out the requests that have none"),
        (math.inf, "Leave out the requests that have none"),
        (math.nextafter(LARGEST_MS, math.inf), "Give milliseconds"),
    ],
)
def test_a_sample_that_is_no_latency_is_refused_with_what_to_do(sample: float, advice: str) -> None:
    with pytest.raises(ValueError, match=rf"^sample 2 is {sample!r} ms: .*{advice}"):
        sketch_of([1, 2, sample, 3])
