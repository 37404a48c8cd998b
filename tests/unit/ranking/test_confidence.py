"""Confidence from the runs: small cases by hand, everything else against a loop over the draws."""

import math
import tracemalloc
from dataclasses import replace
from statistics import NormalDist
from typing import Any
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ranking import chance, draws, topsis
from services.ranking.confidence import Confidence, confidence
from services.ranking.spread import Spread, spread_of
from services.ranking.topsis import Normalization, WeightError
from tests.unit.ranking.problems import GRID, HOLES, Problem, problems

pytestmark = pytest.mark.filterwarnings("error")

NAN, INF = math.nan, math.inf
often = settings(max_examples=100, deadline=None)
Floats = npt.NDArray[np.float64]


def known(error: npt.ArrayLike) -> Spread:
    """A spread of which the errors[n, m] are all that matters."""
    cells = np.asarray(error, dtype=np.float64)
    m = cells.shape[1]
    return Spread(cells, np.zeros(cells.shape, dtype=bool), np.full(m, NAN), np.zeros(m, dtype=int))


def of(problem: Problem, error: Floats, **options: Any) -> Confidence:
    return confidence(
        options.pop("values", problem.values),
        known(error),
        problem.weights,
        problem.maximize,
        normalization=problem.normalization,
        bounds=problem.bounds,
        **{"seed": 5, "samples": 30, **options},
    )


def naive(
    problem: Problem, error: Floats, samples: int, price: tuple[int, int] | None = None
) -> tuple[Floats, Floats]:
    """Scores[s, n] and shares[n] from a TOPSIS for each draw; price: (column, its base)."""
    n, m = problem.values.shape
    normal = np.stack([chance.generator(5, j).standard_normal((samples, n)) for j in range(m)], 2)
    drawn = problem.values * np.exp(normal * error)
    if price is not None:
        column, base = price
        constant = problem.values[:, column] * problem.values[:, base]
        drawn[:, :, column] = constant / drawn[:, :, base]
    score = np.array(
        [
            topsis.scores(
                matrix,
                problem.weights,
                problem.maximize,
                normalization=problem.normalization,
                bounds=problem.bounds,
            )
            for matrix in drawn
        ]
    )
    first = score >= score.max(axis=1, keepdims=True) - 1e-12
    return score, (first / first.sum(axis=1, keepdims=True)).mean(axis=0)


def test_two_that_differ_by_as_much_as_they_are_off() -> None:
    # ln(110 / 100) over sqrt(2) times an error of 10 % is 0.674, and a normal is below with 75 %.
    expected = NormalDist().cdf(math.log(1.1) / math.hypot(0.1, 0.1))
    found = confidence([[110], [100]], known([[0.1], [0.1]]), [1], [True], seed=1, samples=20_000)
    assert abs(found.p_best[0] - expected) < 4 * found.error[0]
    np.testing.assert_allclose(found.p_best.sum(), 1)
    np.testing.assert_allclose(found.error, math.sqrt(0.25 * 0.75 / 20_000), rtol=0.02)
    # Of two by one criterion, the better scores 1 and the other 0.
    assert found.low.tolist() == [0, 0]
    assert found.high.tolist() == [1, 1]
    assert found.tied_with(0).tolist() == [True, True]


def test_two_that_differ_by_more_than_noise_are_not_tied() -> None:
    found = confidence([[150], [100]], known([[0.05], [0.05]]), [1], [True], seed=1)
    assert found.p_best.tolist() == [1, 0]
    assert found.error[1] > 0  # a thousand draws are not all there could be
    assert found.tied_with(0).tolist() == [True, False]
    assert found.tied_with(1).tolist() == [False, True]


def test_a_tie_is_judged_by_paired_scores() -> None:
    # Both scores swing with the third, which moves the norm; their difference hardly does.
    values = [[10.0, 9.0], [9.9, 8.9], [3.0, 30.0]]
    error = [[1e-4, 0.0], [1e-4, 0.0], [0.5, 0.5]]
    found = confidence(values, known(error), [1, 1], [True, True], seed=1)
    assert found.high[1] > found.low[0]
    assert found.tied_with(0).tolist() == [True, False, True]


def test_without_any_spread_the_first_is_certain() -> None:
    values = [[3, 1], [5, 2], [4, 9]]
    found = confidence(values, known(np.zeros((3, 2))), [1, 1], [True, False], seed=1)
    expected = topsis.scores(values, [1, 1], [True, False])
    assert found.samples == 1
    assert found.p_best.tolist() == [0, 1, 0]
    assert found.error.tolist() == [0, 0, 0]
    assert found.low.tolist() == found.high.tolist() == expected.tolist()
    assert found.tied_with(1).tolist() == [False, True, False]


def test_without_any_spread_equal_ones_share_the_first_place() -> None:
    found = confidence([[5], [7], [7]], known(np.zeros((3, 1))), [1], [True], seed=1)
    assert found.p_best.tolist() == [0, 0.5, 0.5]
    assert found.tied_with(1).tolist() == [False, True, True]


def test_equal_cells_are_tied_and_equally_likely_to_be_best() -> None:
    found = confidence([[100, 20]] * 4, known(np.full((4, 2), 0.03)), [2, 1], [True, False], seed=1)
    assert found.tied_with(2).all()
    assert (np.abs(found.p_best - 0.25) < 4 * found.error).all()


def test_where_a_spread_is_not_known_nothing_is_said() -> None:
    spread = known([[0.1, NAN], [0.1, 0.1]])
    found = confidence([[1, 2], [2, 1]], spread, [1, 1], [True, True], seed=1, chosen=[1])
    assert found.samples == 0
    assert found.unknown.tolist() == [False, True]
    assert np.isnan(found.p_best).all()
    assert np.isnan(found.error).all()
    assert np.isnan([found.low, found.high]).all()
    assert found.low.shape == (1,)
    assert not found.tied_with(0).any()


def test_a_spread_that_is_not_known_can_be_held_to_be_none_and_is_named() -> None:
    values, weights = [[1.0, 2.0], [2.0, 1.0]], [1, 1]
    held, exact = (
        confidence(values, known(error), weights, [True, True], seed=1, hold_unknown=True)
        for error in ([[0.1, NAN], [0.1, NAN]], [[0.1, 0], [0.1, 0]])
    )
    assert held.unknown.tolist() == [False, True]
    assert held.scores.tobytes() == exact.scores.tobytes()


def test_what_weighs_nothing_may_be_unknown() -> None:
    found = confidence([[1, 2], [2, 1]], known([[0, NAN]] * 2), [1, 0], [True, True], seed=1)
    assert not found.unknown.any()
    assert found.p_best.tolist() == [0, 1]


def test_an_unknown_cell_of_an_excluded_row_does_not_matter() -> None:
    found = confidence(
        [[1.0, 2.0], [2.0, 1.0], [3.0, NAN]],
        known([[0.1, 0.1]] * 2 + [[0.1, NAN]]),
        [1, 1],
        [True] * 2,
        seed=1,
    )
    assert not found.unknown.any()
    assert np.isnan(found.p_best).tolist() == [False, False, True]
    assert np.isnan(found.low).tolist() == [False, False, True]
    assert not found.tied_with(0)[2]


def test_a_ceiling_cuts_draws_off() -> None:
    # Accuracies of 1 that are off by 20 %: half of all draws would be above it, and so one first.
    values, error = [[1.0], [1.0]], known([[0.2], [0.2]])
    found = confidence(values, error, [1], [True], seed=1, ceiling=[1.0])
    both: npt.NDArray[np.bool_] = np.all(found.scores == 0.5, axis=1)
    assert 0.2 < both.mean() < 0.3
    assert not (confidence(values, error, [1], [True], seed=1).scores == 0.5).any()


def test_a_price_per_token_moves_against_the_throughput() -> None:
    # Cheap and slow against dear and fast: with noise of the price's own, either could lead by it.
    values = np.array([[100.0, 5.0], [200.0, 4.9]])
    problem = Problem(
        values, np.array([0.001, 1]), np.array([True, False]), Normalization.VECTOR, None
    )
    error = np.full((2, 2), 0.1)
    found = of(problem, error, samples=200, inverse_of={1: 0})
    score, share = naive(problem, error, 200, price=(1, 0))
    np.testing.assert_allclose(found.scores, score, atol=1e-12)
    np.testing.assert_allclose(found.p_best, share, atol=1e-12)


def test_a_price_per_token_alone_has_its_own_noise() -> None:
    error = known(np.full((2, 2), 0.1))
    found, own = (
        confidence([[1, 5.0], [1, 4.9]], error, [0, 1], [True, False], seed=1, inverse_of=inverse)
        for inverse in ({1: 0}, None)
    )
    assert found.scores.tobytes() == own.scores.tobytes()
    assert 0.3 < found.p_best[0] < 0.5


def test_a_price_over_an_exact_throughput_has_its_own_noise() -> None:
    error = known([[0, 0.1], [0, 0.1]])
    values = [[1.0, 5.0], [1.01, 4.9]]
    found, own = (
        confidence(values, error, [1, 1], [True, False], seed=1, inverse_of=inverse)
        for inverse in ({1: 0}, None)
    )
    assert found.scores.tobytes() == own.scores.tobytes()


def test_the_chosen_have_the_scores_they_have_among_all() -> None:
    rng = np.random.default_rng(1)
    values, error = rng.random((30, 3)), known(np.full((30, 3), 0.05))
    values[4, 1] = NAN
    arguments: Any = (values, error, [1, 2, 3], [True, False, True])
    everyone = confidence(*arguments, seed=3)
    chosen = confidence(*arguments, seed=3, chosen=[20, 4, 7])
    np.testing.assert_array_equal(chosen.scores, everyone.scores[:, [20, 4, 7]])
    np.testing.assert_array_equal(chosen.p_best, everyone.p_best)
    np.testing.assert_array_equal(chosen.tied_with(0), everyone.tied_with(20)[[20, 4, 7]])


def test_the_same_seed_gives_the_same_bytes_and_another_one_others() -> None:
    values, error = np.random.default_rng(1).random((30, 4)), known(np.full((30, 4), 0.1))
    first, again, other = (
        confidence(values, error, [1, 2, 3, 4], [True] * 4, seed=seed).p_best for seed in (1, 1, 2)
    )
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()


@pytest.mark.parametrize("values", [[], [[NAN]], [[INF], [NAN]]])
def test_nobody_to_rank_is_an_empty_answer(values: list[list[float]]) -> None:
    found = confidence(values, known(np.zeros((len(values), 1))), [1], [True], seed=1)
    assert np.isnan(found.p_best).all()
    assert np.isnan(found.low).all()
    assert found.p_best.shape == (len(values),)


def test_arguments_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="a spread of"):
        confidence([[1, 2]], known([[0.1]]), [1, 1], [True, True], seed=1)
    with pytest.raises(ValueError, match="0 samples"):
        confidence([[1]], known([[0.1]]), [1], [True], seed=1, samples=0)
    with pytest.raises(ValueError, match="over one that is over another"):
        confidence(
            [[1, 2, 3]], known([[0.1] * 3]), [1] * 3, [True] * 3, seed=1, inverse_of={0: 1, 1: 2}
        )
    with pytest.raises(WeightError) as refused:
        confidence([[1, 2]], known([[0.1, 0.1]]), [1, -1], [True, True], seed=1)
    assert refused.value.index == 1


@often
@given(problems(GRID, max_rows=7), st.data())
def test_scores_and_shares_are_those_of_a_loop_over_the_draws(
    problem: Problem, data: st.DataObject
) -> None:
    size = problem.values.size
    numbers = st.sampled_from([0.0, 0.0, 0.02, 0.3])
    error = np.reshape(
        data.draw(st.lists(numbers, min_size=size, max_size=size)), problem.values.shape
    )
    found = of(problem, error)
    score, share = naive(problem, error, found.samples)
    np.testing.assert_allclose(found.scores, score, atol=1e-9)
    # Who is first by less than rounding is not the same in both.
    if np.ptp(np.sort(score)[:, -2:], axis=1).min() > 1e-9:
        np.testing.assert_allclose(found.p_best, share, atol=1e-9)


def test_many_alternatives_have_the_shares_of_the_loop() -> None:
    rng = np.random.default_rng(3)
    problem = Problem(
        rng.lognormal(0, 0.2, (150, 5)),
        np.array([3.0, 1, 2, 2, 1]),
        np.arange(5) % 2 == 0,
        Normalization.VECTOR,
        None,
    )
    error = rng.uniform(0, 0.2, (150, 5))
    error[:, 3] = 0
    found = of(problem, error, samples=700)
    score, share = naive(problem, error, 700)
    np.testing.assert_allclose(found.scores, score, atol=1e-12)
    np.testing.assert_allclose(found.p_best, share, atol=1e-12)
    np.testing.assert_allclose([found.low, found.high], np.quantile(score, [0.05, 0.95], axis=0))
    assert (found.p_best > 0).sum() > 3


@often
@given(problems(st.one_of(GRID, HOLES), max_rows=9), st.integers(1, 40))
def test_shares_add_up_and_neither_blocks_nor_incomplete_rows_change_a_score(
    problem: Problem, cells: int
) -> None:
    error = np.full(problem.values.shape, 0.1)
    found = of(problem, error)
    kept: npt.NDArray[np.bool_] = np.all(np.isfinite(problem.values), axis=1)
    np.testing.assert_array_equal(np.isnan(found.p_best), ~kept)
    np.testing.assert_allclose(np.nansum(found.p_best), kept.any())
    with patch.object(draws, "BLOCK_CELLS", cells):
        np.testing.assert_array_equal(of(problem, error).scores, found.scores)
    alone = of(problem, error[kept], values=problem.values[kept])
    np.testing.assert_array_equal(alone.scores, found.scores[:, kept])
    np.testing.assert_array_equal(alone.p_best, found.p_best[kept])


@often
@given(problems(GRID), st.integers(-30, 30))
def test_a_unit_that_is_a_power_of_two_changes_no_bit(problem: Problem, power: int) -> None:
    error = np.full(problem.values.shape, 0.1)
    bounds = None if problem.bounds is None else np.ldexp(problem.bounds, power)
    scaled = replace(problem, values=np.ldexp(problem.values, power), bounds=bounds)
    np.testing.assert_array_equal(of(scaled, error).scores, of(problem, error).scores)


def test_wide_spreads_and_huge_values_overflow_nowhere() -> None:
    values = np.array([[1e300, 1e-300], [2e300, 3e-300], [1.7e308, 5e-324]])
    found = confidence(values, known(np.full((3, 2), 50.0)), [1, 1], [True, False], seed=1)
    assert np.isfinite(found.scores).all()
    np.testing.assert_allclose(found.p_best.sum(), 1)


def test_memory_does_not_grow_with_the_draws() -> None:
    values = np.random.default_rng(1).random((20_000, 4))
    error = known(np.full((20_000, 4), 0.1))

    def peak(samples: int) -> int:
        tracemalloc.start()
        try:
            confidence(values, error, [1] * 4, [True] * 4, seed=1, samples=samples, chosen=[0, 1])
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(1)
    assert peak(60) < 1.05 * peak(6)


def test_more_runs_make_the_better_one_surer() -> None:
    value, weights = np.array([[105.0], [100.0]]), [1]
    few, many = (
        confidence(
            value,
            spread_of(value, value * 0.97, value * 1.03, [[runs], [runs]]),
            weights,
            [True],
            seed=1,
        )
        for runs in (2, 10)
    )
    assert 0.6 < few.p_best[0] < many.p_best[0]


def test_the_callers_arrays_are_left_as_they_were() -> None:
    values, error = np.random.default_rng(1).random((20, 3)), np.full((20, 3), 0.1)
    error[:, 1] = 0
    before = values.copy(), error.copy()
    confidence(
        values,
        known(error),
        [1, 2, 3],
        [True] * 3,
        seed=1,
        normalization=Normalization.FIXED_BOUNDS,
        bounds=[[0.2, 0.8]] * 3,
        ceiling=[0.9, 0.9, INF],
    )
    np.testing.assert_array_equal(values, before[0])
    np.testing.assert_array_equal(error, before[1])


def test_drawing_leaves_the_cells_as_they_were() -> None:
    values = [[1.0, 3.0], [2.0, 4.0]]
    cells = draws.noisy(
        topsis.rank(values, [1, 1], [True, True]),
        values,
        [[0.1, 0], [0.1, 0]],
        [True, True],
        Normalization.VECTOR,
        None,
        [1.5, 3.5],
        {},
    )
    before = cells.values.copy()
    for _ in draws.scores(cells, 5, seed=1):
        pass
    np.testing.assert_array_equal(cells.values, before)
