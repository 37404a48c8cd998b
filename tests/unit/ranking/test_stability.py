"""How far weights may move: by hand, and by scoring again inside and outside of each interval."""

import doctest
import math
from itertools import permutations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ranking import stability
from services.ranking.stability import NOBODY, Stability, intervals
from services.ranking.topsis import Normalization, TopsisResult, rank
from tests.unit.ranking.problems import ANY, GRID, HOLES, Problem, problems

# A warning from numpy is arithmetic gone wrong unnoticed.
pytestmark = pytest.mark.filterwarnings("error")

NAN = math.nan
often = settings(max_examples=150, deadline=None)
Floats = npt.NDArray[np.float64]

# Each of the first two is all of one criterion and nothing of the other, and scores its weight. The
# third has 6/10 of both, and scores that.
CORNERS = [[1.0, 0.0], [0.0, 1.0], [0.6, 0.6]]


def scored(problem: Problem, weights: npt.ArrayLike) -> TopsisResult:
    return rank(
        problem.values,
        weights,
        problem.maximize,
        normalization=problem.normalization,
        bounds=problem.bounds,
    )


def found(problem: Problem, winner: int) -> Stability:
    ranked = scored(problem, problem.weights)
    return intervals(ranked.distances, problem.weights, winner)


def of(values: list[list[float]], weights: list[float], winner: int) -> Stability:
    """The intervals of criteria to maximise in min-max normalization."""
    up = np.ones(len(weights), dtype=np.bool_)
    return found(
        Problem(np.array(values), np.array(weights), up, Normalization.MIN_MAX, None), winner
    )


def moved(weights: Floats, j: int, u: float) -> Floats:
    """The weights with u for criterion j, where the others share the rest as before."""
    others = np.delete(weights, j)
    return np.insert(others / others.sum() * (1 - u), j, u)


def test_the_example_in_the_manual_is_true() -> None:
    results = doctest.testmod(stability)
    assert results.attempted > 0
    assert results.failed == 0


def test_a_winner_of_one_criterion_needs_its_weight() -> None:
    result = of(CORNERS, [3, 1], winner=0)
    assert result.weights.tolist() == [0.75, 0.25]
    np.testing.assert_allclose(result.low, [0.6, 0], rtol=0, atol=1e-15)
    np.testing.assert_allclose(result.high, [1, 0.4], rtol=0, atol=1e-15)
    assert result.below.tolist() == [2, NOBODY]
    assert result.above.tolist() == [NOBODY, 2]


def test_the_others_keep_their_proportions() -> None:
    # The second and third criterion are one in two halves: their alternatives come out as above
    # for (u, 1 - u) in distances of sqrt(1/2) of its size: u against (1 - u) / sqrt(2).
    values = [[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]]
    result = of(values, [0.6, 0.2, 0.2], winner=0)
    assert result.low[0] == pytest.approx(1 / (1 + math.sqrt(2)), abs=1e-15)
    assert result.high[0] == 1
    # u² of the second and ((1 - u) / 4)² of the third against ((1 - u) 3/4)² of the first.
    assert result.high[1] == pytest.approx(1 / (1 + math.sqrt(2)), abs=1e-15)
    assert result.above.tolist() == [NOBODY, 1, 1]


def test_a_tie_ends_the_interval_at_the_weight_as_it_is() -> None:
    result = of(CORNERS[:2], [1, 1], winner=0)
    assert result.low.tolist() == [0.5, 0]
    assert result.high.tolist() == [1, 0.5]
    assert result.below.tolist() == [1, NOBODY]
    assert result.above.tolist() == [NOBODY, 1]


def test_a_tie_on_both_sides_leaves_no_width() -> None:
    # At 6 to 4 the first and the third are level; the second gets no say.
    result = of(CORNERS, [0.6, 0.4], winner=2)
    np.testing.assert_allclose(result.low, [0.4, 0.4], rtol=0, atol=1e-15)
    assert result.high.tolist() == [0.6, pytest.approx(0.6)]
    assert of([*CORNERS[:2], [0.5, 0.5]], [1, 1], winner=2).low.tolist() == [0.5, 0.5]
    assert of([*CORNERS[:2], [0.5, 0.5]], [1, 1], winner=2).high.tolist() == [0.5, 0.5]


def test_equals_of_the_winner_and_of_the_next_change_nothing() -> None:
    result = of([*CORNERS, *CORNERS], [1, 1], winner=2)
    np.testing.assert_allclose([result.low, result.high], [[0.4] * 2, [0.6] * 2], atol=1e-15)
    assert result.below.tolist() == [1, 0]
    assert result.above.tolist() == [0, 1]


def test_of_several_at_one_place_the_best_beyond_is_next() -> None:
    # By a third criterion that weighs nothing, the fourth is better than the first, which it equals
    # else: both get ahead at 0.6. By the first two criteria they stay level, so the first is named.
    values = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.6, 0.6, 0.0], [1.0, 0.0, 1.0]]
    result = of(values, [1, 1, 0], winner=2)
    assert result.above.tolist() == [0, 1, 3]
    # The first scores 0.6 at 0.6 too, by solving 9/4 D+² = D-² for the second value, but rises less
    # beyond, as it is not as good by the criterion that then counts more.
    level = [0.9, (0.72 - math.sqrt(0.72**2 - 0.0612)) / 0.4]
    result = of([level, *CORNERS], [1, 1], winner=3)
    assert result.above.tolist() == [1, 2]
    assert result.below.tolist() == [2, 1]


def test_what_is_level_whatever_the_weight_ends_no_interval() -> None:
    # Sums of the same parts in another order differ in the last bits.
    values = [[*some, 1.0] for some in permutations([0.0, 0.13, 0.7, 1.0])]
    result = of(values, [1, 1, 1, 1, 2], winner=5)
    assert (result.low[4], result.high[4]) == (0, 1)
    assert (result.below[4], result.above[4]) == (NOBODY, NOBODY)


@pytest.mark.parametrize("normalization", list(Normalization))
def test_one_alternative_wins_with_any_weights(normalization: Normalization) -> None:
    bounds = np.array([[0, 4], [0, 4]]) if normalization is Normalization.FIXED_BOUNDS else None
    one = Problem(
        np.array([[1, 3]]), np.array([2, 1]), np.array([True, False]), normalization, bounds
    )
    result = found(one, 0)
    assert result.low.tolist() == [0, 0]
    assert result.high.tolist() == [1, 1]
    assert result.below.tolist() == result.above.tolist() == [NOBODY, NOBODY]


def test_a_criterion_that_tells_none_apart_never_matters() -> None:
    result = of([[1.0, 5.0], [0.0, 5.0]], [1, 9], winner=0)
    assert result.low.tolist() == [0, 0]
    assert result.high.tolist() == [1, 1]


def test_a_criterion_without_weight_starts_at_zero() -> None:
    result = of(CORNERS, [1, 0], winner=0)
    # The first has all the weight, and no other to share the rest.
    assert result.weights.tolist() == [1, 0]
    np.testing.assert_allclose(result.low, [0, 0], rtol=0, atol=1e-15)
    np.testing.assert_allclose(result.high, [1, 0.4], rtol=0, atol=1e-15)
    assert result.above.tolist() == [NOBODY, 2]


def test_incomplete_alternatives_take_no_part() -> None:
    result = of([[NAN, 9.0], *CORNERS], [1, 1], winner=3)
    np.testing.assert_allclose(result.high, [0.6, 0.6], rtol=0, atol=1e-15)
    assert result.above.tolist() == [1, 2]


def test_what_does_not_fit_together_is_refused() -> None:
    square = [[1, 2], [3, 4]]
    for distances, weights in (([square] * 2, [1]), ([square], [1, 1]), ([[1, 2]] * 2, [1, 1])):
        with pytest.raises(ValueError, match="two parts for each weight"):
            intervals(distances, weights, 0)
    for bad in ([0.0, 0.0], [1.0, -1.0], [1.0, NAN], [1.0, math.inf]):
        with pytest.raises(ValueError, match="finite and ≥ 0"):
            intervals([square] * 2, bad, 0)
    parts = [[NAN, NAN], [1.0, 2.0]]
    with pytest.raises(ValueError, match="takes no part"):
        intervals([parts] * 2, [1, 1], 0)


@pytest.mark.parametrize("normalization", list(Normalization))
@pytest.mark.parametrize("seed", range(12))
def test_the_winner_changes_at_each_end_and_not_before(
    seed: int, normalization: Normalization
) -> None:
    rng = np.random.default_rng(seed)
    m = int(rng.integers(2, 8))
    bounds = np.array([[0.2, 5.0]] * m) if normalization is Normalization.FIXED_BOUNDS else None
    problem = Problem(
        rng.lognormal(0, 1, (60, m)), rng.uniform(0.05, 1, m), rng.random(m) < 0.5,
        normalization, bounds,
    )  # fmt: skip
    winner = int(scored(problem, problem.weights).order[0])
    result = found(problem, winner)

    def first(j: int, u: float) -> int:
        return int(scored(problem, moved(problem.weights, j, u)).order[0])

    changes = 0
    for j in range(m):
        low, high = result.low[j], result.high[j]
        assert low < result.weights[j] < high
        for u in [*np.linspace(low, high, 17)[1:-1], low + 1e-9, high - 1e-9]:
            assert first(j, u) == winner
        for end, outside, after in (
            (low, low - 1e-9, result.below[j]),
            (high, high + 1e-9, result.above[j]),
        ):
            assert (end in (0, 1)) == (after == NOBODY)
            if after != NOBODY:
                assert first(j, outside) == after
                changes += 1
    assert changes


@often
@given(problems(st.one_of(GRID, HOLES, ANY), max_rows=12), st.data())
def test_scoring_again_confirms_each_interval(problem: Problem, data: st.DataObject) -> None:
    m = problem.weights.size
    # Often equal, so that ties abound, and often zero.
    some = st.lists(st.sampled_from([0.0, 1.0, 1.0, 2.0]), min_size=m, max_size=m)
    weights = data.draw(st.one_of(some.filter(any).map(np.array), st.just(problem.weights)))
    problem = Problem(
        problem.values, weights, problem.maximize, problem.normalization, problem.bounds
    )
    before = scored(problem, weights)
    if not before.order.size:
        return
    winner = int(before.order[0])
    result = found(problem, winner)
    # Scores closer than this are level: so a winner may be behind by as much.
    level = 1e-12
    for j in range(m):
        low, high = result.low[j], result.high[j]
        assert 0 <= low <= result.weights[j] <= high <= 1
        if not np.delete(weights, j).any():
            assert (low, high, result.below[j], result.above[j]) == (0, 1, NOBODY, NOBODY)
            continue
        for u in np.linspace(low, high, 9):
            score = scored(problem, moved(weights, j, u)).score
            assert score[winner] >= np.nanmax(score) - level
        for end, side, after in ((low, -1e-7, result.below[j]), (high, 1e-7, result.above[j])):
            assert (after == NOBODY) == (end == (0 if side < 0 else 1))
            if after != NOBODY and 0 < end + side < 1:
                score = scored(problem, moved(weights, j, end + side)).score
                assert score[after] >= np.nanmax(score) - level


@pytest.mark.parametrize("normalization", [Normalization.VECTOR, Normalization.MIN_MAX])
def test_of_many_alternatives_those_that_are_not_solved_for_change_nothing(
    normalization: Normalization, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1)
    for case in range(60):
        m = int(rng.integers(1, 7))
        values = np.abs(rng.standard_normal((int(rng.integers(130, 1500)), m)))
        if case % 3 == 0:  # trade-offs: most of them may win
            values /= np.linalg.norm(values, axis=1, keepdims=True)
        if case % 3 == 1:  # ties
            values = np.ceil(values * 4)
        values[rng.random(values.shape) < 0.01] = np.nan
        weights, maximize = rng.uniform(0, 1, m) ** 3 + 1e-3, rng.random(m) < 0.5
        ranked = rank(values, weights, maximize, normalization=normalization)
        arguments = ranked.distances, weights
        some = intervals(*arguments, ranked.best((1, 5, 64)[case % 3]))
        with monkeypatch.context() as patch:
            patch.setattr(stability, "_FEW", values.size)
            everybody = intervals(*arguments, int(ranked.order[0]))
        for name in ("low", "high", "below", "above"):
            assert getattr(some, name).tolist() == getattr(everybody, name).tolist()
