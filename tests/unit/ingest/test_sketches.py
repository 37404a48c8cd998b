"""A percentile read from merged sketches is within 1 % of the exact one."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servemark.client import sketch as client
from services.ingest.sketches import GAMMA, count, merge, quantiles, sketch_of

# What can be told from 0: the smallest bucket begins above 10^-10 ms.
SAMPLES = st.lists(st.just(0.0) | st.floats(1e-6, 1e9), min_size=1, max_size=60)
QUANTILES = (0.0, 0.01, 0.5, 0.9, 0.95, 0.99, 1.0)


def exact(samples: list[float], q: float) -> float:
    """The sample of rank ceil(q n), and at least 1."""
    return sorted(samples)[max(math.ceil(q * len(samples)), 1) - 1]


@given(st.lists(SAMPLES, min_size=1, max_size=6))
def test_a_pooled_percentile_is_within_one_percent(pools: list[list[float]]) -> None:
    merged = merge([sketch_of(samples) for samples in pools])
    together = [sample for samples in pools for sample in samples]
    assert count(merged) == len(together)
    for q, found in zip(QUANTILES, quantiles(merged, QUANTILES), strict=True):
        # A hair more than 1 %: logarithms are rounded, too.
        assert found == pytest.approx(exact(together, q), rel=0.010_001)


@given(SAMPLES, SAMPLES, SAMPLES)
def test_the_order_of_merging_does_not_matter(a: Any, b: Any, c: Any) -> None:
    one, two, three = (sketch_of(samples) for samples in (a, b, c))
    all_at_once = merge([one, two, three])
    assert np.array_equal(merge([merge([one, two]), three]), all_at_once)
    assert np.array_equal(merge([three, merge([two, one])]), all_at_once)


@given(SAMPLES)
def test_the_clients_sketch_is_the_servers(samples: list[float]) -> None:
    message = client.sketch_of(samples)
    sent = [message.first_bucket, message.zero_count, *message.counts]
    assert sent == sketch_of(samples).tolist()


def test_the_example_worked_by_hand() -> None:
    sketch = sketch_of([0.0, 1.0, 1.0, 1.02])
    assert sketch.tolist() == [0, 1, 2, 1]
    low, middle, high = quantiles(sketch, (0.25, 0.5, 1.0))
    assert low == 0.0
    assert middle == pytest.approx(2 / (GAMMA + 1))
    assert high == pytest.approx(2 * GAMMA / (GAMMA + 1))


def test_samples_of_zero_alone_have_no_bucket() -> None:
    sketch = sketch_of([0.0, 0.0])
    assert sketch.tolist() == [0, 2]
    assert quantiles(sketch, (0.5, 1.0)).tolist() == [0.0, 0.0]
    merged = merge([sketch, sketch_of([5.0])])
    assert count(merged) == 3
    assert quantiles(merged, (0.99,))[0] == pytest.approx(5.0, rel=0.01)


def test_a_sketch_without_samples_has_no_percentile() -> None:
    assert np.isnan(quantiles(sketch_of([]), (0.5,))).all()
    assert merge([]).tolist() == [0, 0]


@pytest.mark.parametrize("wrong", [-1.0, math.nan, math.inf, 1.1e9])
def test_a_sample_that_is_no_latency_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="latenc"):
        sketch_of([1.0, wrong])
    with pytest.raises(ValueError, match="leave out"):
        client.sketch_of([1.0, wrong])
