"""Pareto fronts and ranks: small cases by hand, everything else against the definition."""

import doctest
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ranking import pareto
from services.ranking.pareto import dominators, front, pareto_rank, ranks_of
from tests.unit.ranking import oracles
from tests.unit.ranking.problems import ANY, GRID, HOLES, Problem, problems

NAN, INF = math.nan, math.inf
often = settings(max_examples=150, deadline=None)


def test_the_examples_in_the_manual_are_true() -> None:
    results = doctest.testmod(pareto)
    assert results.attempted > 0
    assert results.failed == 0


def test_throughput_against_latency_by_hand() -> None:
    # (throughput, latency): the second beats the third, and all beat the fourth: it comes third.
    values = [[900, 80], [500, 40], [500, 60], [400, 90]]
    assert front(values, [True, False]).tolist() == [True, True, False, False]
    assert pareto_rank(values, [True, False]).tolist() == [1, 1, 2, 3]
    assert dominators(values, [True, False], 2).tolist() == [1]
    assert dominators(values, [True, False], 3).tolist() == [0, 1, 2]
    assert dominators(values, [True, False], 0).tolist() == []


def test_equal_alternatives_stand_on_the_front_together() -> None:
    values = [[1, 1], [2, 0], [1, 1], [0, 0], [0, 0]]
    assert front(values, [True, True]).tolist() == [True, True, True, False, False]
    assert pareto_rank(values, [True, True]).tolist() == [1, 1, 1, 2, 2]


@pytest.mark.parametrize(("maximize", "ranks"), [(True, [2, 1, 1, 3, 0]), (False, [2, 3, 3, 1, 0])])
def test_with_one_criterion_the_best_are_the_front(maximize: bool, ranks: list[int]) -> None:
    values = np.array([[5], [7], [7], [1], [NAN]])
    assert pareto_rank(values, [maximize]).tolist() == ranks
    assert front(values, [maximize]).tolist() == [r == 1 for r in ranks]


@pytest.mark.parametrize("hole", [NAN, INF, -INF])
def test_an_incomplete_row_takes_no_part(hole: float) -> None:
    values = np.array([[1, 1], [hole, 9], [2, 2], [9, hole]])
    assert front(values, [True, True]).tolist() == [False, False, True, False]
    assert pareto_rank(values, [True, True]).tolist() == [2, 0, 1, 0]
    assert dominators(values, [True, True], 0).tolist() == [2]
    assert dominators(values, [True, True], 1).tolist() == []


@pytest.mark.parametrize("values", [[], np.empty((0, 2)), [[NAN, 1], [2, INF]]])
def test_nobody_complete_is_an_empty_front(values: Any) -> None:
    assert front(values, [True, False]).tolist() == [False] * len(values)
    assert pareto_rank(values, [True, False]).tolist() == [0] * len(values)


def test_one_alternative_is_the_front() -> None:
    assert front([[1, 2, 3]], [True, False, True]).tolist() == [True]
    assert pareto_rank([[1, 2, 3]], [True, False, True]).tolist() == [1]


def test_shapes_that_do_not_fit_are_refused() -> None:
    for values, maximize in (([[1, 2]], [True]), ([1, 2], [True, True]), ([[]], []), ([[1]], True)):
        for function in (front, pareto_rank):
            with pytest.raises(ValueError, match="per criterion"):
                function(values, maximize)


@often
@given(problems(st.one_of(GRID, HOLES, ANY), max_rows=25))
def test_ranks_fronts_and_dominators_are_those_of_the_definition(problem: Problem) -> None:
    rows, maximize = problem.values.tolist(), problem.maximize.tolist()
    expected = oracles.pareto_ranks(rows, maximize)
    assert pareto_rank(problem.values, problem.maximize).tolist() == expected
    assert front(problem.values, problem.maximize).tolist() == [r == 1 for r in expected]
    for i, row in enumerate(rows):
        dominating = [k for k, other in enumerate(rows) if oracles.dominates(other, row, maximize)]
        assert dominators(problem.values, problem.maximize, i).tolist() == dominating


@pytest.mark.parametrize("criteria", [2, 3, 4, 5, 6])
def test_many_alternatives_with_ties_are_sorted_as_by_the_definition(criteria: int) -> None:
    # More rows than moocore's threshold for divide and conquer, few values: equal rows and cells.
    rng = np.random.default_rng(criteria)
    values = rng.integers(0, 6, (300, criteria)).astype(float)
    values[rng.random(values.shape) < 0.01] = NAN
    maximize = [bool(flag) for flag in rng.random(criteria) < 0.5]
    expected = oracles.pareto_ranks(values.tolist(), maximize)
    assert pareto_rank(values, maximize).tolist() == expected
    assert front(values, maximize).tolist() == [r == 1 for r in expected]


@pytest.mark.parametrize("criteria", [1, 2, 5])
def test_the_ranks_of_a_few_among_many_are_those_that_sorting_all_gives(criteria: int) -> None:
    rng = np.random.default_rng(criteria)
    values = rng.integers(0, 12, (600, criteria)).astype(np.float64)
    values[rng.random(values.shape) < 0.02] = NAN
    maximize = rng.random(criteria) < 0.5
    whole = pareto_rank(values, maximize)
    for some in rng.permutation(600)[:300].reshape(-1, 10):
        ranks = ranks_of(values, maximize, some)
        over = np.concatenate([some, *(dominators(values, maximize, int(row)) for row in some)])
        assert ranks[over].tolist() == whole[over].tolist()
        assert set(ranks[ranks != whole]) <= {0}
    everybody = ranks_of(values, maximize, np.arange(600))
    assert everybody.tolist() == whole.tolist()


def test_the_callers_array_is_left_as_it_was() -> None:
    values = np.array([[1.0, 2.0], [2.0, 1.0]])
    before = values.copy()
    front(values, [True, False])
    pareto_rank(values, [True, False])
    np.testing.assert_array_equal(values, before)
