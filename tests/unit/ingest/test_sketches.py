"""Sketches add up, and their quantiles are those of all samples together, within 1 %."""

import doctest
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from servemark.client.sketch import sketch_of
from services.ingest import sketches
from services.ingest.sketches import checked, count, encode, merge, quantiles

# A warning from numpy is arithmetic gone wrong unnoticed.
pytestmark = pytest.mark.filterwarnings("error")

often = settings(max_examples=200, deadline=None)


def border(bucket: int) -> float:
    """The greatest value of a bucket, rounded once."""
    return float(Fraction(101, 99) ** bucket)


SAMPLES = st.one_of(
    st.just(0.0),
    st.floats(1e-6, 1e9),
    st.floats(50, 200),
    # Where a bucket ends a sample may fall into the wrong one.
    st.integers(-690, 1036).map(border),
)
RUN = st.lists(SAMPLES, max_size=30)
POOL = st.lists(RUN, max_size=8)
QUANTILE = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.5, 0.9, 0.95, 0.99, 1.0]))


def test_the_examples_in_the_manual_are_true() -> None:
    results = doctest.testmod(sketches)
    assert results.attempted > 0
    assert results.failed == 0


def test_every_step_of_a_small_example_by_hand() -> None:
    # ln gamma = ln (101 / 99) = 0.0200007. ln 1 = 0, ln 2 = .6931, ln 3 = 1.0986: divided by it
    # 0, 34.66 and 54.93, so buckets 0, 35 and 55.
    first = encode([1, 2, 2])
    second = encode([3, 1, 0])
    assert first.tolist() == [0, 0, 1] + [0] * 34 + [2]
    assert second.tolist() == [0, 1, 1] + [0] * 54 + [1]
    merged = merge([first, second])
    assert merged.tolist() == [0, 1, 2] + [0] * 34 + [2] + [0] * 19 + [1]
    assert count(merged) == 6
    # Ranks ceil(.1 * 6) = 1: the zero. ceil(.5 * 6) = 3: the second 1. 4: a 2. 6: the 3. The value
    # of a bucket is 2 gamma^b / (gamma + 1), and 2 / (gamma + 1) = 198 / 200.
    gamma = 101 / 99
    np.testing.assert_allclose(
        quantiles(merged, [0.1, 0.5, 0.6, 0.9]),
        [0, 0.99, 0.99 * gamma**35, 0.99 * gamma**55],
        rtol=1e-13,
    )
    np.testing.assert_allclose(0.99 * gamma**35, 2, rtol=0.01)
    np.testing.assert_allclose(0.99 * gamma**55, 3, rtol=0.01)


@often
@given(POOL, st.lists(QUANTILE, min_size=1))
def test_a_pooled_quantile_is_within_one_percent_of_the_exact_one(
    pool: list[list[float]], wanted: list[float]
) -> None:
    samples = sorted(sample for run in pool for sample in run)
    values = quantiles(merge([encode(run) for run in pool]), wanted)
    if not samples:
        assert np.isnan(values).all()
        return
    for q, value in zip(wanted, values, strict=True):
        exact = samples[max(1, math.ceil(q * len(samples))) - 1]
        # A border lies exactly 1 % from its bucket's value; the last bits are rounding.
        assert abs(value - exact) <= 0.01 * exact * (1 + 1e-12)


@often
@given(POOL, st.randoms(use_true_random=False))
def test_any_order_and_grouping_of_merges_gives_the_sketch_of_all_samples(
    pool: list[list[float]], random: Any
) -> None:
    expected = encode([sample for run in pool for sample in run]).tolist()
    left = [encode(run) for run in pool] or [encode([])]
    while len(left) > 1:
        random.shuffle(left)
        left = [merge(left[:2]), *left[2:]]
    assert left[0].tolist() == expected
    assert merge([encode(run) for run in pool]).tolist() == expected


@often
@given(RUN)
@example([math.nextafter(1e-6, 0), 1e-6, 1e9, 5e-324])
def test_the_sdk_counts_as_numpy_does(samples: list[float]) -> None:
    made = sketch_of(samples)
    assert [made.first_bucket, made.zero_count, *made.counts] == encode(samples).tolist()


def test_the_sdk_and_numpy_agree_on_every_border() -> None:
    for bucket in range(-689, 1037):
        end = border(bucket)
        for sample in (end, math.nextafter(end, 0), math.nextafter(end, math.inf)):
            assert sketch_of([sample]).first_bucket == encode([sample])[0]


@given(RUN.filter(bool), st.lists(QUANTILE, min_size=2))
def test_a_higher_quantile_is_never_lower(samples: list[float], wanted: list[float]) -> None:
    assert np.all(np.diff(quantiles(encode(samples), sorted(wanted))) >= 0)


def test_the_empty_sketch_has_no_quantiles() -> None:
    for empty in ([0, 0], [5, 0, 0, 0], merge([]), encode([])):
        assert count(empty) == 0
        assert np.isnan(quantiles(empty, [0, 0.5, 1])).all()


def test_zeros_alone_have_the_value_zero_and_no_buckets() -> None:
    zeros = encode([0, 0, 1e-7])
    assert zeros.tolist() == [0, 3]
    assert quantiles(zeros, [0, 0.5, 1]).tolist() == [0, 0, 0]
    # Merged, they do not pull the range down to bucket 0.
    assert merge([zeros, [700, 0, 2]]).tolist() == [700, 3, 2]


@pytest.mark.parametrize("bucket", [-1100, -690, 0, 1100])
def test_a_single_bucket_has_its_own_value_at_every_quantile(bucket: int) -> None:
    value = 0.99 * (101 / 99) ** bucket
    found = quantiles([bucket, 0, 7], [0, 0.5, 1])
    np.testing.assert_allclose(found, [value] * 3, rtol=1e-12)


def test_the_widest_sketch_holds_every_bucket_once() -> None:
    widest = merge([[-1100, 0, 1], [1100, 0, 1]])
    assert widest.size == 2 + 2201
    assert checked(widest).tolist() == widest.tolist()


def test_empty_buckets_at_the_ends_change_no_quantile() -> None:
    wanted = [0, 0.25, 0.5, 0.9, 1]
    padded = quantiles([229, 1, 0, 0, 3, 0, 1, 0], wanted)
    assert padded.tolist() == quantiles([231, 1, 3, 0, 1], wanted).tolist()


def test_counts_up_to_the_largest_integer_add_up() -> None:
    assert count(merge([[3, 0, 2**62], [3, 2**62 - 1, 0]])) == 2**63 - 1
    assert quantiles([3, 0, 2**62, 2**62 - 1], [1]).tolist() == quantiles([4, 0, 1], [1]).tolist()


@pytest.mark.parametrize(
    "pool", [[[3, 0, 2**62]] * 2, [[3, 0, 2**62]] * 5, [[3, 2**62, 2**62]], [[0, 2**62]] * 2]
)
def test_counts_do_not_wrap_round(pool: list[list[int]]) -> None:
    with pytest.raises(ValueError, match=r"2\^63"):
        merge(pool)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ([], "list of integers"),
        ([1], "list of integers"),
        ([1, 0, 0.5], "list of integers"),
        ([[1, 0, 2]], "list of integers"),
        ([1, 0, 2**70], "list of integers"),
        ([-1101, 0, 1], "-1101 to -1101"),
        ([1100, 0, 1, 0], "1100 to 1101"),
        ([5000, 3], "5000"),
        ([1, -1, 1], "negative"),
        ([1, 0, 1, -1], "negative"),
    ],
)
def test_what_is_no_sketch_is_refused(wrong: Any, why: str) -> None:
    for use in (checked, count, lambda sketch: merge([sketch]), lambda s: quantiles(s, [0.5])):
        with pytest.raises(ValueError, match=why):
            use(wrong)


@pytest.mark.parametrize("sample", [-0.5, math.nan, math.inf, -math.inf, 1.0000001e9])
def test_a_sample_that_is_no_latency_is_refused(sample: float) -> None:
    with pytest.raises(ValueError, match="sample 1 is"):
        encode([1, sample])


def test_samples_in_two_dimensions_are_refused() -> None:
    with pytest.raises(ValueError, match="one dimension"):
        encode([[1.0, 2.0]])


@pytest.mark.parametrize("q", [-0.01, 1.01, math.nan])
def test_a_quantile_outside_its_range_is_refused(q: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        quantiles([3, 0, 1], [0.5, q])
