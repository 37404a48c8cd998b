"""Contributions that sum to the score: by hand, and against the mean over all orders."""

import doctest
import math
from collections.abc import Callable
from functools import partial
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servemark.type.v1.metric_pb2 import Metric
from services.ranking import contributions
from services.ranking.contributions import (
    BASELINE,
    MAX_CRITERIA,
    TooManyCriteriaError,
    of_logit,
    of_score,
)
from services.ranking.metrics import METRICS
from services.ranking.topsis import Normalization, TopsisResult, rank
from tests.unit.ranking import oracles
from tests.unit.ranking.problems import GRID, HOLES, Problem, problems

# A warning from numpy is arithmetic gone wrong unnoticed.
pytestmark = pytest.mark.filterwarnings("error")

NAN, INF = math.nan, math.inf
often = settings(max_examples=150, deadline=None)
Floats = npt.NDArray[np.float64]
Distances = Callable[[frozenset[int]], tuple[float, float]]


def ranked(problem: Problem) -> TopsisResult:
    return rank(
        problem.values,
        problem.weights,
        problem.maximize,
        normalization=problem.normalization,
        bounds=problem.bounds,
    )


def score_of(result: TopsisResult) -> Floats:
    return of_score(result.ideal_sq, result.anti_ideal_sq)


def test_the_examples_in_the_manual_are_true() -> None:
    results = doctest.testmod(contributions)
    assert results.attempted > 0
    assert results.failed == 0


def test_two_criteria_by_hand() -> None:
    # The first criterion is 3 from its best and 1 from its worst: 2 midway. The second the reverse
    # in half of the size: .5 and 1.5, 1 midway.
    def v(first: tuple[float, float], second: tuple[float, float]) -> float:
        to_ideal, to_anti = math.hypot(first[0], second[0]), math.hypot(first[1], second[1])
        return to_anti / (to_ideal + to_anti)

    first, second, middle, half = (3, 1), (0.5, 1.5), (2, 2), (1, 1)
    both, alone, other = v(first, second), v(first, half), v(middle, second)
    expected = [
        ((alone - 0.5) + (both - other)) / 2,
        ((other - 0.5) + (both - alone)) / 2,
    ]
    found = of_score([[9, 0.25]], [[1, 2.25]])
    np.testing.assert_allclose(found, [expected], rtol=1e-14)
    assert found[0, 0] < 0 < found[0, 1]
    assert BASELINE + found.sum() == pytest.approx(both, abs=1e-15)


def test_the_best_and_the_worst_of_everything() -> None:
    plus, minus = np.array([[0, 0, 0], [4, 1, 0]]), np.array([[4, 1, 0], [0, 0, 0]])
    found = of_score(plus, minus)
    np.testing.assert_allclose(found.sum(axis=1), [0.5, -0.5], rtol=0, atol=1e-15)
    np.testing.assert_allclose(found[0], -found[1], rtol=0, atol=1e-15)
    assert (found[0, :2] > 0).all()
    # The score's logit is infinite; the third criterion tells none apart.
    assert of_logit(plus, minus).tolist() == [[INF, INF, 0], [-INF, -INF, 0]]


def test_where_none_differ_nothing_contributes() -> None:
    result = rank([[3, 0], [3, 0]], [1, 2], [True, False])
    assert result.score.tolist() == [BASELINE, BASELINE]
    for function in (of_score, of_logit):
        assert not function(result.ideal_sq, result.anti_ideal_sq).any()


def test_an_excluded_alternative_has_none() -> None:
    result = rank([[1.0, 2.0], [NAN, 1.0], [2.0, 1.0], [1.5, 1.2]], [1, 1], [True, True])
    for function in (of_score, of_logit):
        found = function(result.ideal_sq, result.anti_ideal_sq)
        assert np.isnan(found).any(axis=1).tolist() == [False, True, False, False]
        assert np.isnan(found[1]).all()


@pytest.mark.parametrize("shape", [(0, 3), (2, 0)])
def test_nothing_has_no_contributions(shape: tuple[int, int]) -> None:
    for function in (of_score, of_logit):
        assert function(np.zeros(shape), np.zeros(shape)).shape == shape


def test_every_metric_of_the_contract_can_be_a_criterion() -> None:
    assert len(METRICS) == len(Metric.values()) - 1 <= MAX_CRITERIA


def test_too_many_criteria_are_refused() -> None:
    parts = np.ones((1, MAX_CRITERIA + 1))
    for function in (of_score, of_logit):
        with pytest.raises(TooManyCriteriaError, match=f"{MAX_CRITERIA + 1} criteria are more"):
            function(parts, parts)
        with pytest.raises(ValueError, match="have to fit"):
            function([[1, 2]], [[1]])
    assert of_score(parts[:, 1:], parts[:, 1:]).tolist() == [[0] * MAX_CRITERIA]


@often
@given(problems())
def test_contributions_sum_to_the_score(problem: Problem) -> None:
    result = ranked(problem)
    np.testing.assert_allclose(
        BASELINE + score_of(result).sum(axis=1), result.score, rtol=0, atol=1e-9
    )


@pytest.mark.parametrize("criteria", [1, 2, 8, MAX_CRITERIA])
@pytest.mark.parametrize("normalization", list(Normalization))
def test_contributions_of_many_alternatives_sum_to_the_score(
    criteria: int, normalization: Normalization
) -> None:
    rng = np.random.default_rng(criteria)
    result = rank(
        rng.lognormal(0, 3, (100, criteria)),
        rng.uniform(0.01, 1, criteria),
        rng.random(criteria) < 0.5,
        normalization=normalization,
        bounds=[[0.1, 3]] * criteria if normalization is Normalization.FIXED_BOUNDS else None,
    )
    np.testing.assert_allclose(
        BASELINE + score_of(result).sum(axis=1), result.score, rtol=0, atol=1e-13
    )


@often
@given(problems(GRID))
def test_contributions_to_the_logit_sum_to_it(problem: Problem) -> None:
    result = ranked(problem)
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = 0.5 * np.log(result.anti_ideal_sq.sum(axis=1) / result.ideal_sq.sum(axis=1))
    found = of_logit(result.ideal_sq, result.anti_ideal_sq).sum(axis=1)
    np.testing.assert_allclose(found, np.nan_to_num(expected, posinf=INF, neginf=-INF), atol=1e-9)


def distances(plus: list[float], minus: list[float], some: frozenset[int]) -> tuple[float, float]:
    """D+ and D- where the criteria in some are as they are, and the others lie midway."""
    squares = [0.0, 0.0]
    for j, (near, far) in enumerate(zip(plus, minus, strict=True)):
        midway = ((math.sqrt(near) + math.sqrt(far)) / 2) ** 2
        squares[0] += near if j in some else midway
        squares[1] += far if j in some else midway
    return math.sqrt(squares[0]), math.sqrt(squares[1])


@settings(max_examples=40, deadline=None)
@given(problems(GRID, max_rows=3))
def test_a_contribution_is_the_mean_over_all_orders(problem: Problem) -> None:
    result = ranked(problem)
    plus, minus = result.ideal_sq[:, :5], result.anti_ideal_sq[:, :5]
    found, logit = of_score(plus, minus), of_logit(plus, minus)
    for i, (near, far) in enumerate(zip(plus.tolist(), minus.tolist(), strict=True)):
        those = partial(distances, near, far)

        def closeness(some: frozenset[int], of: Distances = those) -> float:
            to_ideal, to_anti = of(some)
            return to_anti / (to_ideal + to_anti) if to_ideal + to_anti else 0.5

        def odds(some: frozenset[int], of: Distances = those) -> float:
            to_ideal, to_anti = of(some)
            return math.log(to_anti) - math.log(to_ideal)

        expected = oracles.shapley(len(near), closeness)
        np.testing.assert_allclose(found[i], expected, rtol=0, atol=1e-13)
        if any(near) and any(far):
            expected = oracles.shapley(len(near), odds)
            np.testing.assert_allclose(logit[i], expected, rtol=0, atol=1e-12)


@often
@given(problems(GRID))
def test_a_criterion_lifts_the_score_if_it_is_nearer_to_its_best(problem: Problem) -> None:
    result = ranked(problem)
    found, logit = score_of(result), of_logit(result.ideal_sq, result.anti_ideal_sq)
    nearer = np.sqrt(result.anti_ideal_sq) - np.sqrt(result.ideal_sq)
    clear = np.abs(nearer) > 1e-9
    assert (np.sign(found) == np.sign(nearer))[clear].all()
    assert (np.sign(logit) == np.sign(nearer))[clear].all()
    assert (np.abs(found) < 1e-8)[~clear].all()
    assert not found[result.ideal_sq == result.anti_ideal_sq].any()


@often
@given(problems(st.one_of(GRID, HOLES)))
def test_the_opposite_directions_give_the_opposite_contributions(problem: Problem) -> None:
    result = ranked(problem)
    np.testing.assert_allclose(
        of_score(result.anti_ideal_sq, result.ideal_sq), -score_of(result), rtol=0, atol=1e-14
    )


@often
@given(problems(st.one_of(GRID, HOLES)), st.integers(1, 40))
def test_blocks_change_nothing(problem: Problem, cells: int) -> None:
    result = ranked(problem)
    whole = score_of(result)
    with patch.object(contributions, "BLOCK_CELLS", cells):
        np.testing.assert_allclose(score_of(result), whole, rtol=0, atol=1e-15)
