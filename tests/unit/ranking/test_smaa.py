"""Rank acceptability: small cases by hand, everything else against a loop over the draws."""

import doctest
import math
from collections import Counter
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from services.ranking import chance, pareto, smaa, topsis
from services.ranking.smaa import Acceptability, acceptability
from services.ranking.topsis import Normalization, WeightError
from tests.unit.ranking.problems import ANY, GRID, HOLES, Problem, problems

pytestmark = pytest.mark.filterwarnings("error")

NAN, INF = math.nan, math.inf
often = settings(max_examples=100, deadline=None)


def of(problem: Problem, **options: Any) -> Acceptability:
    values = options.pop("values", problem.values)
    return acceptability(
        values,
        options.pop("weights", problem.weights),
        problem.maximize,
        normalization=problem.normalization,
        bounds=problem.bounds,
        **{"seed": 5, "samples": 40, **options},
    )


def naive(
    values: npt.NDArray[np.float64], problem: Problem, kappa: float, samples: int, ranks: int
) -> npt.NDArray[np.float64]:
    """The shares by ranking all the alternatives anew with the weights of each draw."""
    given = topsis.rank(
        values,
        problem.weights,
        problem.maximize,
        normalization=problem.normalization,
        bounds=problem.bounds,
    )
    active = np.flatnonzero(~given.constant | (problem.bounds is not None))
    found = np.zeros((len(values), ranks))
    if not active.size:
        found[:, : len(values)] = 1 / len(values)
        return found
    draws = chance.generator(5).dirichlet(kappa * given.weights[active], samples)
    for draw in draws:
        weights = np.zeros(values.shape[1])
        weights[active] = draw
        score = topsis.scores(
            values,
            weights,
            problem.maximize,
            normalization=problem.normalization,
            bounds=problem.bounds,
        ).tolist()
        held = Counter(score)
        place = 0
        for level in sorted(held, reverse=True):
            for alternative in [i for i, s in enumerate(score) if s == level]:
                found[alternative, place : place + held[level]] += 1 / held[level] / samples
            place += held[level]
    return found


def test_the_example_in_the_manual_is_true() -> None:
    results = doctest.testmod(smaa)
    assert results.attempted > 0
    assert results.failed == 0


@pytest.mark.parametrize(
    ("kappa", "weights", "share"),
    [
        (3, [2, 1], 0.75),  # Beta(2, 1) is above 1/2 with 1 - (1/2)²
        (2, [1, 1], 0.5),
        (4, [3, 1], 0.875),  # Beta(3, 1): 1 - (1/2)³
    ],
)
def test_two_opposites_share_the_first_place_as_the_beta_distribution_says(
    kappa: float, weights: list[float], share: float
) -> None:
    # The first wins wherever its criterion weighs more than the other.
    found = acceptability(
        [[2, 1], [1, 2]], weights, [True, True], seed=1, kappa=kappa, samples=20_000, ranks=2
    )
    assert abs(found.first[0] - share) < 4 * found.error[0, 0]
    np.testing.assert_allclose(found.share[:, 1], found.share[::-1, 0])
    np.testing.assert_allclose(found.error[0, 0], math.sqrt(share * (1 - share) / 20_000), rtol=0.1)


def test_who_is_best_of_all_is_first_whatever_the_weights() -> None:
    found = acceptability([[3, 1], [2, 2], [1, 3]], [1, 1], [True, False], seed=1, samples=50)
    assert found.share[:, 0].tolist() == [1, 0, 0]
    assert found.error[:, 0].tolist() == [0, 0, 0]


def test_who_never_came_first_but_could_have_is_not_called_certain() -> None:
    # The weights stay within a thousandth of 9 to 1, and the second needs more than 1/2.
    found = acceptability([[2, 1], [1, 2]], [9, 1], [True, True], seed=1, kappa=1e5, samples=100)
    assert found.first.tolist() == [1, 0]
    # Half a count in 101: sqrt(0.00495 * 0.99505 / 102)
    np.testing.assert_allclose(found.error[:, 0], [0.00695] * 2, rtol=1e-3)


def test_the_second_may_be_on_the_second_front() -> None:
    # The second alternative is dominated by the first alone, and beats the third while the first
    # criterion counts for more; a look at the first front alone would always have the third there.
    values = [[10.0, 5.0], [9.9, 4.9], [1.0, 6.0]]
    assert pareto.pareto_rank(values, [True, True]).tolist() == [1, 2, 1]
    found = acceptability(values, [1, 1], [True, True], seed=1, samples=500, ranks=2)
    assert found.share[1, 0] == 0
    assert found.share[1, 1] > 0.9
    assert found.error[1, 0] == 0
    assert found.error[1, 1] > 0


def test_no_rounding_puts_anybody_ahead_of_who_dominates_it() -> None:
    # Values a rounding or two apart: a product of matrices rounds rows differently by their place.
    rng = np.random.default_rng(1)
    for seed in range(400):
        values = rng.lognormal(0, 1, (20, 4))
        values[1:-1] = values[0] * (1 + rng.integers(0, 3, (18, 4)) * 2.0**-52)
        found = acceptability(values, [1] * 4, [True] * 4, seed=seed, samples=100, ranks=3)
        front = pareto.pareto_rank(values, [True] * 4)
        for place in range(3):
            assert not found.share[front > place + 1, place].any()


def test_equal_alternatives_share_their_places() -> None:
    found = acceptability([[3], [7], [7], [1]], [1], [True], seed=1, samples=10, ranks=3)
    assert found.share.tolist() == [[0, 0, 1], [0.5, 0.5, 0], [0.5, 0.5, 0], [0, 0, 0]]


def test_alternatives_that_nothing_tells_apart_share_everything() -> None:
    found = acceptability([[3, 1], [3, 2]], [1, 0], [True, True], seed=1, ranks=3)
    assert found.share.tolist() == [[0.5, 0.5, 0]] * 2
    assert not found.error.any()


@pytest.mark.parametrize("normalization", [Normalization.VECTOR, Normalization.MIN_MAX])
def test_a_heavy_constant_criterion_takes_nothing_from_the_others(
    normalization: Normalization,
) -> None:
    found = acceptability(
        [[5, 1], [5, 2], [5, 3]], [1, 1e-300], [True, True], seed=1, normalization=normalization
    )
    assert found.first.tolist() == [0, 0, 1]


def test_beyond_the_bounds_nobody_is_better() -> None:
    found = acceptability(
        [[120, 1], [110, 1], [50, 2]],
        [1, 1],
        [True, True],
        seed=1,
        normalization=Normalization.FIXED_BOUNDS,
        bounds=[[0, 100], [0, 2]],
        samples=200,
        kappa=4,
    )
    assert found.first[0] == found.first[1] > 0.1
    np.testing.assert_allclose(found.first.sum(), 1)


@pytest.mark.parametrize("kappa", [1e-9, 1e-3, 1e12])
@pytest.mark.parametrize("weights", [[1, 1e-200, 3], [1, 5e-324, 1e300], [1, 1, 1]])
def test_extreme_weights_and_kappas_are_drawn_all_the_same(
    kappa: float, weights: list[float]
) -> None:
    values = [[3, 1, 2], [1, 3, 1], [2, 2, 3]]
    found = acceptability(values, weights, [True] * 3, seed=1, kappa=kappa, samples=500)
    np.testing.assert_allclose(found.first.sum(), 1)


def test_nobody_to_rank_is_an_empty_answer() -> None:
    assert acceptability([], [1], [True], seed=1).share.shape == (0, 1)
    found = acceptability([[NAN], [INF]], [1], [True], seed=1, ranks=2)
    assert np.isnan(found.share).all()
    assert np.isnan(found.error).all()


@pytest.mark.parametrize(
    "options",
    [{"kappa": 0}, {"kappa": -1}, {"kappa": INF}, {"kappa": NAN}, {"samples": 0}, {"ranks": 0}],
)
def test_options_without_a_meaning_are_refused(options: Any) -> None:
    with pytest.raises(ValueError, match="has to be above 0"):
        acceptability([[1, 2]], [1, 1], [True, True], seed=1, **options)


def test_bad_weights_are_refused_as_by_topsis() -> None:
    with pytest.raises(WeightError) as refused:
        acceptability([[1, 2]], [1, -1], [True, True], seed=1)
    assert refused.value.index == 1


@often
@given(problems(GRID, max_rows=12), st.floats(5, 100), st.integers(1, 4), st.data())
def test_the_shares_are_those_of_a_loop_over_the_draws(
    problem: Problem, kappa: float, ranks: int, data: st.DataObject
) -> None:
    m = len(problem.weights)
    # Weights that vanish beside others, and bounds next to a value, would leave ties to rounding.
    weights = np.array(data.draw(st.lists(st.floats(0.3, 1), min_size=m, max_size=m)))
    bounds = None if problem.bounds is None else problem.bounds.round(3)
    problem = replace(problem, weights=weights, bounds=bounds)
    expected = naive(problem.values, problem, kappa, 40, ranks)
    found = of(problem, kappa=kappa, ranks=ranks)
    np.testing.assert_allclose(found.share, expected, atol=1e-12)


def test_many_alternatives_and_draws_have_the_counts_of_the_loop() -> None:
    rng = np.random.default_rng(3)
    values = rng.lognormal(0, 1, (200, 5))
    values[rng.random(200) < 0.1] = values[7]
    problem = Problem(
        values, np.array([3.0, 1, 2, 2, 1]), np.arange(5) % 2 == 0, Normalization.VECTOR, None
    )
    found = of(problem, kappa=20, samples=1000, ranks=3)
    np.testing.assert_allclose(found.share, naive(values, problem, 20, 1000, 3), atol=1e-12)
    assert (found.share > 0).sum(axis=0).min() >= 4


@often
@given(problems(st.one_of(GRID, HOLES, ANY), max_rows=12))
def test_each_place_is_held_once_and_the_first_only_on_the_front(problem: Problem) -> None:
    found = of(problem, ranks=3)
    kept: npt.NDArray[np.bool_] = np.all(np.isfinite(problem.values), axis=1)
    assert np.array_equal(np.isnan(found.share[:, 0]), ~kept)
    held = np.nansum(found.share, axis=0)
    np.testing.assert_allclose(held, np.arange(3) < kept.sum(), atol=1e-12)
    values = problem.values
    if problem.bounds is not None:
        values = np.clip(values, problem.bounds[:, 0], problem.bounds[:, 1])
    rank = pareto.pareto_rank(np.where(kept[:, None], values, NAN), problem.maximize)
    for place in range(3):
        assert not found.share[kept & (rank > place + 1), place].any()
        assert not found.error[kept & (rank > place + 1), place].any()


@often
@given(problems(st.one_of(GRID, HOLES), max_rows=12), st.randoms(use_true_random=False))
def test_the_order_of_rows_and_the_incomplete_ones_change_no_bit(
    problem: Problem, random: Any
) -> None:
    shuffled = list(range(len(problem.values)))
    random.shuffle(shuffled)
    before, after = of(problem, ranks=2), of(problem, ranks=2, values=problem.values[shuffled])
    np.testing.assert_array_equal(after.share, before.share[shuffled])
    np.testing.assert_array_equal(after.error, before.error[shuffled])
    kept: npt.NDArray[np.bool_] = np.all(np.isfinite(problem.values), axis=1)
    alone = of(problem, ranks=2, values=problem.values[kept])
    np.testing.assert_array_equal(alone.share, before.share[kept])


@often
@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(1, 8), st.integers(1, 50))
def test_how_the_work_is_cut_into_blocks_changes_nothing(
    seed: int, alternatives: int, criteria: int, products: int
) -> None:
    # Values at random: of two that are equal but for their last bit, one block may see one ahead
    # and another block the other, for a matrix product rounds by its shape.
    values = np.random.default_rng(seed).random((alternatives, criteria))

    def share() -> Any:
        return acceptability(
            values, [1.0] * criteria, [True] * criteria, seed=seed, samples=200, ranks=2
        ).share

    before = share()
    with patch.object(smaa, "BLOCK_PRODUCTS", products):
        np.testing.assert_array_equal(share(), before)


@often
@given(problems(GRID))
def test_a_power_of_two_in_the_weights_does_not_change_a_bit(problem: Problem) -> None:
    before = of(problem, ranks=2)
    scaled = of(problem, ranks=2, weights=problem.weights * 4)
    np.testing.assert_array_equal(scaled.share, before.share)


def test_the_same_seed_gives_the_same_bytes_and_another_one_others() -> None:
    values = np.random.default_rng(1).random((30, 4))
    first, again, other = (
        acceptability(values, [1, 2, 3, 4], [True] * 4, seed=seed).share for seed in (1, 1, 2)
    )
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()


@often
@given(problems(GRID))
def test_weights_that_hardly_vary_give_the_ranking_itself(problem: Problem) -> None:
    # Scores that differ by less than the weights let them are no matter of this test.
    given = topsis.rank(
        problem.values,
        problem.weights,
        problem.maximize,
        normalization=problem.normalization,
        bounds=problem.bounds,
    )
    best, *others = sorted(given.score, reverse=True)
    assume(not others or best - others[0] > 1e-3)
    np.testing.assert_array_equal(of(problem, kappa=1e13).first, given.rank == 1)


def test_a_criterion_that_weighs_nothing_has_no_say() -> None:
    values = np.random.default_rng(1).random((20, 3))
    found = acceptability(values, [1, 2, 0], [True] * 3, seed=1)
    alone = acceptability(values[:, :2], [1, 2], [True] * 2, seed=1)
    np.testing.assert_array_equal(found.share, alone.share)


def test_the_callers_arrays_are_left_as_they_were() -> None:
    values = np.random.default_rng(1).random((20, 3))
    before = values.copy()
    acceptability(values, [1, 2, 3], [True] * 3, seed=1)
    np.testing.assert_array_equal(values, before)
