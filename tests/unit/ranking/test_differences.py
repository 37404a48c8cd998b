"""Differences of two configurations by hand, and what holds whatever the numbers."""

import doctest
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ranking import differences as module
from services.ranking.differences import differences
from services.ranking.spread import spread_of

pytestmark = pytest.mark.filterwarnings("error")

NAN = math.nan
values, errors = st.floats(1, 1e3), st.floats(0, 0.5)


def test_the_example_in_the_manual_is_true() -> None:
    results = doctest.testmod(module)
    assert results.attempted > 0
    assert results.failed == 0


def test_a_difference_beyond_the_errors_by_hand() -> None:
    # Errors of 3 % and 4 % make 5 %: ln 1.2 = 0.182, and 1.645 * 0.05 = 0.082.
    found = differences([100], [0.03], [120], [0.04])
    assert found.change.tolist() == pytest.approx([0.2])
    assert found.low.tolist() == pytest.approx([math.exp(0.1823 - 0.0822) - 1], abs=1e-3)
    assert found.high.tolist() == pytest.approx([math.exp(0.1823 + 0.0822) - 1], abs=1e-3)
    assert found.above_noise.tolist() == [True]
    assert found.known.tolist() == [True]


def test_exact_values_differ_by_any_difference() -> None:
    found = differences([2.5, 2.5], [0, 0], [2.5, 2.51], [0, 0])
    assert found.above_noise.tolist() == [False, True]
    assert found.low.tolist() == found.high.tolist() == found.change.tolist()


@pytest.mark.parametrize(
    ("a", "a_error", "b", "b_error", "change"),
    [
        (NAN, 0.1, 5, 0.1, NAN),
        (5, 0.1, NAN, 0.1, NAN),
        (0, 0.1, 5, 0.1, NAN),
        (5, 0.1, 0, 0.1, NAN),
        (4, NAN, 5, 0.1, 0.25),
        (4, 0.1, 5, NAN, 0.25),
    ],
)
def test_what_is_not_known_is_not_above_the_noise(
    a: float, a_error: float, b: float, b_error: float, change: float
) -> None:
    found = differences([a], [a_error], [b], [b_error])
    np.testing.assert_allclose(found.change, [change])
    assert np.isnan(found.low).all()
    assert np.isnan(found.high).all()
    assert found.above_noise.tolist() == found.known.tolist() == [False]


@given(values, errors, values, errors)
def test_the_way_back_is_judged_alike(a: float, a_error: float, b: float, b_error: float) -> None:
    there, back = (
        differences([a], [a_error], [b], [b_error]),
        differences([b], [b_error], [a], [a_error]),
    )
    assert there.above_noise.tolist() == back.above_noise.tolist()
    np.testing.assert_allclose((1 + there.low) * (1 + back.high), 1, rtol=1e-6)
    assert there.low[0] <= there.change[0] <= there.high[0]
    assert there.above_noise[0] == (not there.low[0] <= 0 <= there.high[0])


def test_of_ten_that_do_not_differ_one_seems_to() -> None:
    rng, above = np.random.default_rng(1), []
    for _ in range(500):
        runs = 100 * np.exp(0.05 * rng.standard_normal((20, 4)))
        value, low, high = np.median(runs, 1), runs.min(1), runs.max(1)
        cells = (cell[:, None] for cell in (value, low, high, np.full(20, 4)))
        error = spread_of(*cells).error[:, 0]
        above.append(differences(value[:10], error[:10], value[10:], error[10:]).above_noise)
    assert 0.04 < np.mean(above) < 0.12
