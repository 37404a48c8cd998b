"""What to drop or relax where nothing fits: by hand, and against trying everything."""

import doctest
import math
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ranking import infeasible
from services.ranking.infeasible import MAX_LIMITS, Nearest, nearest
from tests.unit.ranking import oracles

# A warning from numpy is arithmetic gone wrong unnoticed.
pytestmark = pytest.mark.filterwarnings("error")

NAN, INF = math.nan, math.inf
often = settings(max_examples=150, deadline=None)

Case = tuple[list[list[bool]], list[list[float]], list[float], list[bool]]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Up to 12 alternatives and 5 limits, of few figures, so that many are level."""
    limits = draw(st.integers(1, 5))
    figure = st.sampled_from([-3.0, -1.0, 0.0, 1.0, 2.0, 2.5, 7.0, 1e300, NAN, INF])
    # A limit may be violated for other reasons than its figure.
    cell = st.tuples(figure, st.sampled_from([False, False, False, True]))
    rows = draw(st.lists(st.lists(cell, min_size=limits, max_size=limits), max_size=12))
    bound = st.tuples(st.sampled_from([-2.0, 0.0, 1.0, 2.0]), st.booleans())
    bounds, maximize = map(
        list, zip(*draw(st.lists(bound, min_size=limits, max_size=limits)), strict=True)
    )
    violated = [
        [
            other or not (x >= bound if up else x <= bound)
            for (x, other), bound, up in zip(row, bounds, maximize, strict=True)
        ]
        for row in rows
    ]
    actual = [[x for x, _ in row] for row in rows]
    return violated, actual, bounds, maximize


def found(case: Case, **options: Any) -> Nearest:
    return nearest(*case, **options)


def sets_of(drops: npt.NDArray[np.bool_]) -> list[list[int]]:
    return [np.flatnonzero(row).tolist() for row in drops]


def test_the_example_in_the_manual_is_true() -> None:
    results = doctest.testmod(infeasible)
    assert results.attempted > 0
    assert results.failed == 0


def test_latency_accuracy_and_price_by_hand() -> None:
    # At most 100 ms, at least 0.8, at most 4 dollars.
    case: Case = (
        [
            [True, False, False],
            [True, False, False],
            [False, True, True],
            [True, True, False],
            [False, False, True],
        ],
        [[150, 0.9, 1], [120, 0.8, 4], [90, 0.6, 5], [110, 0.72, 1], [80, 0.9, 5]],
        [100, 0.8, 4],
        [False, True, False],
    )
    result = found(case)
    assert result.pass_count.tolist() == [2, 3, 3]
    # To drop the latency frees two, the price one; the price and the accuracy contain the price.
    assert sets_of(result.drops) == [[0], [2]]
    assert result.freed.tolist() == [2, 1]
    assert sets_of(found(case, most=1).drops) == [[0]]
    # The first needs more than the second, the third more than the last. Largest: 10, 20, 25 %.
    assert result.alternatives.tolist() == [3, 1, 4]
    np.testing.assert_allclose(
        result.relax_pct, [[10, 10, 0], [20, 0, 0], [0, 0, 25]], rtol=0, atol=1e-12
    )
    assert result.needed.tolist() == [[110, 0.72, 4], [120, 0.8, 4], [100, 0.8, 5]]


def test_an_unknown_figure_can_be_dropped_but_not_relaxed() -> None:
    for figure in (NAN, INF, 90.0):  # 90 is within the bound: something else keeps it out
        result = nearest([[True, False]], [[figure, 1]], [100, 2], [False, False])
        assert sets_of(result.drops) == [[0]]
        assert result.alternatives.size == 0
        assert result.needed.shape == result.relax_pct.shape == (0, 2)


def test_no_percentage_leads_away_from_a_bound_of_zero() -> None:
    result = nearest([[True], [True]], [[2], [1]], [0], [False])
    assert result.alternatives.tolist() == [1]  # it is nearer all the same
    assert result.relax_pct.tolist() == [[INF]]
    assert result.needed.tolist() == [[1]]


def test_a_kept_limit_of_zero_needs_nothing() -> None:
    result = nearest([[False, True]], [[-1, 3]], [0, 2], [False, False])
    assert result.relax_pct.tolist() == [[0, 50]]


def test_negative_bounds_are_relaxed_in_percent_of_their_size() -> None:
    result = nearest([[True, True]], [[-1, -5]], [-2, -4], [False, True])
    assert result.relax_pct.tolist() == [[50, 25]]


def test_figures_too_large_for_a_percentage_do_no_harm() -> None:
    result = nearest([[True], [True]], [[1.7e308], [1.6e308]], [-1e-300], [False])
    assert result.alternatives.tolist() == [1]
    assert result.relax_pct.tolist() == [[INF]]


def test_those_as_near_as_each_other_come_in_their_order() -> None:
    result = nearest([[True]] * 3, [[30], [20], [20]], [10], [False])
    assert result.alternatives.tolist() == [1, 2]


def test_if_something_fits_nothing_has_to_give() -> None:
    result = nearest([[True, True], [False, False]], [[9, 9], [1, 1]], [2, 2], [False, False])
    assert sets_of(result.drops) == [[]]
    assert result.freed.tolist() == [1]
    assert result.alternatives.tolist() == [1]
    assert not result.relax_pct.any()


def test_without_alternatives_nothing_helps() -> None:
    nothing: tuple[Any, ...] = ([], np.empty((0, 2)))
    for none in nothing:
        result = nearest(none, none, [1, 2], [True, False])
        assert result.pass_count.tolist() == [0, 0]
        assert result.drops.shape == (0, 2)
        assert result.alternatives.size == 0


def test_without_limits_everything_fits() -> None:
    result = nearest(np.empty((2, 0)), np.empty((2, 0)), [], [])
    assert sets_of(result.drops) == [[]]
    assert result.freed.tolist() == [2]
    assert result.alternatives.tolist() == [0, 1]


def test_what_does_not_fit_together_is_refused() -> None:
    for arguments in (
        ([[True]], [[1]], [1, 2], [True, True]),
        ([[True]], [[1, 2]], [1], [True]),
        ([[True]], [[1]], [1], [True, False]),
        ([True], [1], [1], [True]),
    ):
        with pytest.raises(ValueError, match="per limit"):
            nearest(*arguments)
    for bound in (NAN, INF):
        with pytest.raises(ValueError, match="finite"):
            nearest([[True]], [[1]], [bound], [True])
    many = MAX_LIMITS + 1
    with pytest.raises(ValueError, match="more than 32"):
        nearest([[True] * many], [[1] * many], [2] * many, [True] * many)


@often
@given(cases())
def test_all_smallest_sets_to_drop_are_found(case: Case) -> None:
    result, limits = found(case, most=1000), len(case[2])
    expected = oracles.minimal_drops(case[0], limits)
    listed = sorted(expected, key=lambda some: (len(some), -expected[some], sorted(some)))
    assert sets_of(result.drops) == [sorted(some) for some in listed]
    assert result.freed.tolist() == [expected[some] for some in listed]
    assert result.pass_count.tolist() == [sum(not row[j] for row in case[0]) for j in range(limits)]


@often
@given(cases())
def test_the_relaxations_are_all_those_to_which_none_is_nearer(case: Case) -> None:
    result = found(case, most=1000)
    expected = oracles.relaxations(*case)
    assert result.alternatives.tolist() == [row for row, _ in expected]
    for shares, (_, wanted) in zip(result.relax_pct, expected, strict=True):
        np.testing.assert_allclose(shares, wanted, rtol=1e-14)


@often
@given(cases())
def test_with_the_bounds_needed_an_alternative_keeps_every_limit(case: Case) -> None:
    violated, actual, bounds, maximize = case
    result = found(case)
    for row, needed, shares in zip(
        result.alternatives, result.needed, result.relax_pct, strict=True
    ):
        for j, up in enumerate(maximize):
            if violated[row][j]:
                assert actual[row][j] >= needed[j] if up else actual[row][j] <= needed[j]
                assert shares[j] > 0
            else:
                assert needed[j] == bounds[j]
                assert shares[j] == 0


@often
@given(cases(), st.integers(0, 4))
def test_asking_for_fewer_gives_the_first(case: Case, most: int) -> None:
    whole, part = found(case, most=1000), found(case, most=most)
    assert part.drops.tolist() == whole.drops[:most].tolist()
    assert part.freed.tolist() == whole.freed[:most].tolist()
    assert part.alternatives.tolist() == whole.alternatives[:most].tolist()
    assert part.relax_pct.tolist() == whole.relax_pct[:most].tolist()


def test_many_limits_are_gone_through_exactly() -> None:
    rng = np.random.default_rng(5)
    violated = rng.random((3000, MAX_LIMITS)) < 0.15
    violated[:, -1] |= ~violated.any(axis=1)
    result = nearest(violated, np.full(violated.shape, NAN), np.ones(32), [False] * 32, most=10_000)
    broken = {frozenset(np.flatnonzero(row).tolist()) for row in violated}
    minimal = {some for some in broken if not any(other < some for other in broken)}
    assert {frozenset(some) for some in sets_of(result.drops)} == minimal
    assert not any(a <= b or b <= a for a, b in combinations(minimal, 2))


def test_the_callers_arrays_are_left_as_they_were() -> None:
    actual, bounds = np.array([[3.0, 4.0]]), np.array([2.0, 2.0])
    nearest([[True, True]], actual, bounds, [False, False])
    assert actual.tolist() == [[3, 4]]
    assert bounds.tolist() == [2, 2]
