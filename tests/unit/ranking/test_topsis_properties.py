"""What holds for every ranking problem, whatever its numbers."""

from typing import Any
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ranking import columns
from services.ranking.pareto import front
from services.ranking.topsis import Normalization, TopsisResult, rank, scores
from tests.unit.ranking import oracles
from tests.unit.ranking.problems import GRID, HOLES, Problem, problems

# A warning from numpy is arithmetic gone wrong unnoticed.
pytestmark = pytest.mark.filterwarnings("error")

often = settings(max_examples=150, deadline=None)
RELATIVE = (Normalization.VECTOR, Normalization.MIN_MAX)


def ranked(problem: Problem, **changes: Any) -> TopsisResult:
    given_values = {
        "values": problem.values,
        "weights": problem.weights,
        "maximize": problem.maximize,
    }
    arguments = {**given_values, "bounds": problem.bounds, **changes}
    return rank(normalization=problem.normalization, **arguments)


def same(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> bool:
    return np.array_equal(a, b, equal_nan=True)


@often
@given(problems())
def test_scores_are_those_of_a_naive_computation_with_sixty_digits(problem: Problem) -> None:
    expected = oracles.closeness(
        problem.values.tolist(),
        problem.weights.tolist(),
        problem.maximize.tolist(),
        problem.normalization,
        None if problem.bounds is None else problem.bounds.tolist(),
    )
    np.testing.assert_allclose(ranked(problem).score, expected, rtol=0, atol=1e-13)


@often
@given(problems())
def test_a_dominator_never_scores_below_the_dominated(problem: Problem) -> None:
    score = ranked(problem).score
    for i, a in enumerate(problem.values):
        for k, b in enumerate(problem.values):
            if oracles.dominates(a.tolist(), b.tolist(), problem.maximize.tolist()):
                assert score[i] >= score[k]  # without a tolerance


@often
@given(problems())
def test_one_of_the_first_is_on_the_front(problem: Problem) -> None:
    # One of them: values may differ by less than a float64 score can tell.
    result = ranked(problem)
    assert front(problem.values, problem.maximize)[result.rank == 1].any()


@often
@given(problems(GRID, RELATIVE))
def test_every_first_is_on_the_front_where_values_differ_visibly(problem: Problem) -> None:
    result = ranked(problem)
    assert front(problem.values, problem.maximize)[result.rank == 1].all()


@often
@given(problems(), st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_no_bit_of_a_score(problem: Problem, random: Any) -> None:
    shuffled = list(range(len(problem.values)))
    random.shuffle(shuffled)
    before, after = ranked(problem), ranked(problem, values=problem.values[shuffled])
    assert same(after.score, before.score[shuffled])
    assert same(after.rank, before.rank[shuffled])


def test_the_order_of_many_rows_changes_no_bit_of_a_score() -> None:
    rng = np.random.default_rng(7)
    values, weights = rng.lognormal(0, 5, (50_000, 4)), rng.random(4)
    shuffled = rng.permutation(len(values))
    before = scores(values, weights, [True, False, True, False])
    assert same(scores(values[shuffled], weights, [True, False, True, False]), before[shuffled])


@often
@given(problems(GRID), st.data())
def test_units_do_not_matter(problem: Problem, data: st.DataObject) -> None:
    m = len(problem.weights)
    units = np.array(data.draw(st.lists(st.floats(1e-9, 1e9), min_size=m, max_size=m)))
    bounds = None if problem.bounds is None else problem.bounds * units[:, None]
    after = ranked(problem, values=problem.values * units, bounds=bounds)
    np.testing.assert_allclose(after.score, ranked(problem).score, rtol=0, atol=1e-13)


@often
@given(problems(GRID), st.integers(-900, 900))
def test_a_unit_that_is_a_power_of_two_changes_no_bit(problem: Problem, power: int) -> None:
    bounds = None if problem.bounds is None else np.ldexp(problem.bounds, power)
    after = ranked(problem, values=np.ldexp(problem.values, power), bounds=bounds)
    assert same(after.score, ranked(problem).score)


@often
@given(problems(), st.floats(1e-300, 1e300))
def test_the_scale_of_the_weights_does_not_matter(problem: Problem, scale: float) -> None:
    before, after = ranked(problem), ranked(problem, weights=problem.weights * scale)
    np.testing.assert_allclose(after.score, before.score, rtol=0, atol=1e-13)
    np.testing.assert_allclose(after.weights, before.weights, rtol=1e-14)
    assert abs(after.weights.sum() - 1) < 1e-14


@often
@given(problems(HOLES, max_rows=20))
def test_incomplete_rows_change_nothing_for_the_others(problem: Problem) -> None:
    result = ranked(problem)
    kept: npt.NDArray[np.bool_] = np.all(np.isfinite(problem.values), axis=1)
    assert same(result.excluded, ~kept)
    assert same(result.missing, np.isnan(problem.values))
    assert same(result.infinite, np.isinf(problem.values))
    alone = ranked(problem, values=problem.values[kept])
    for whole, part in (
        (result.score, alone.score),
        (result.rank, alone.rank),
        (result.normalized, alone.normalized),
        (result.ideal_sq, alone.ideal_sq),
        (result.anti_ideal_sq, alone.anti_ideal_sq),
        (result.clipped, alone.clipped),
    ):
        assert same(whole[kept], part)
    assert np.isnan(result.score[~kept]).all()
    assert np.isnan(result.ideal_sq[~kept]).all()
    assert np.isnan(result.normalized[~kept]).all()
    assert not result.rank[~kept].any()
    assert same(result.order, np.flatnonzero(kept)[alone.order])


@often
@given(problems(HOLES, max_rows=20))
def test_ranks_count_the_better_scores_and_order_lists_them(problem: Problem) -> None:
    result = ranked(problem)
    assert result.rank.tolist() == oracles.competition_ranks(result.score)
    listed = [(-result.score[row], row) for row in result.order]
    assert listed == sorted(listed)
    assert sorted(result.order) == np.flatnonzero(~result.excluded).tolist()


@often
@given(problems(HOLES, max_rows=20))
def test_ties_are_ordered_by_the_callers_ids(problem: Problem) -> None:
    ids = [f"alternative-{-row % 7}{row:02}" for row in range(len(problem.values))]
    result = ranked(problem, tie_break=ids)
    listed = [(-result.score[row], ids[row]) for row in result.order]
    assert listed == sorted(listed)


@often
@given(problems(st.one_of(GRID, HOLES), max_rows=20))
def test_equal_rows_share_score_and_rank(problem: Problem) -> None:
    result = ranked(problem, values=np.vstack([problem.values, problem.values]))
    first, second = np.split(result.score, 2)
    assert same(first, second)
    assert same(*np.split(result.rank, 2))


@often
@given(problems(st.one_of(GRID, HOLES), max_rows=20), st.integers(1, 40))
def test_neither_blocks_nor_the_missing_breakdown_change_a_bit(
    problem: Problem, cells: int
) -> None:
    arguments = (problem.values, problem.weights, problem.maximize)
    options: Any = {"normalization": problem.normalization, "bounds": problem.bounds}
    whole = rank(*arguments, **options)
    assert same(scores(*arguments, **options), whole.score)
    with patch.object(columns, "BLOCK_CELLS", cells):
        assert same(scores(*arguments, **options), whole.score)
        in_blocks = rank(*arguments, **options)
    assert same(in_blocks.score, whole.score)
    assert same(in_blocks.ideal_sq, whole.ideal_sq)
    assert same(in_blocks.normalized, whole.normalized)


def test_a_row_scores_the_same_in_a_block_of_its_own() -> None:
    # numpy adds up a matrix of one column in another order than one of several.
    values = np.random.default_rng(3).random((200, 33))
    together = scores(values, np.ones(33), np.ones(33, dtype=bool))
    with patch.object(columns, "BLOCK_CELLS", 1):
        assert same(scores(values, np.ones(33), np.ones(33, dtype=bool)), together)


@often
@given(problems())
def test_the_parts_of_the_criteria_add_up_to_the_score(problem: Problem) -> None:
    result = ranked(problem)
    to_ideal = np.sqrt(result.ideal_sq.sum(axis=1))
    to_anti = np.sqrt(result.anti_ideal_sq.sum(axis=1))
    apart = to_ideal + to_anti > 0
    assert apart.all() or (result.degenerate and not apart.any())
    np.testing.assert_allclose(
        (to_anti / np.where(apart, to_ideal + to_anti, 1))[apart], result.score[apart], atol=1e-13
    )


@often
@given(problems(normalizations=(Normalization.FIXED_BOUNDS,)), st.data())
def test_with_fixed_bounds_leaving_some_out_changes_no_score(
    problem: Problem, data: st.DataObject
) -> None:
    n = len(problem.values)
    some = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    assert same(ranked(problem, values=problem.values[some]).score, ranked(problem).score[some])
