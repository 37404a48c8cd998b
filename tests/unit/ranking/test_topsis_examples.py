"""TOPSIS by hand: small examples with the whole calculation, and each edge case by itself."""

import doctest
import math

import numpy as np
import pytest

from services.ranking import topsis
from services.ranking.topsis import (
    BoundsError,
    Normalization,
    WeightError,
    rank,
    scores,
)

# A warning from numpy is arithmetic gone wrong unnoticed.
pytestmark = pytest.mark.filterwarnings("error")

NAN, INF = math.nan, math.inf
MIN_MAX, FIXED = Normalization.MIN_MAX, Normalization.FIXED_BOUNDS


def test_the_example_in_the_manual_is_true() -> None:
    results = doctest.testmod(topsis)
    assert results.attempted > 0
    assert results.failed == 0


def test_the_fighter_aircraft_of_hwang_and_yoon_score_as_in_their_book() -> None:
    # Speed, range, payload, price (the one cost), reliability, manoeuvrability.
    aircraft = [
        [2.0, 1500, 20000, 5.5, 5, 9],
        [2.5, 2700, 18000, 6.5, 3, 5],
        [1.8, 2000, 21000, 4.5, 7, 7],
        [2.2, 1800, 20000, 5.0, 5, 5],
    ]
    weights = np.array([0.2, 0.1, 0.1, 0.1, 0.2, 0.3])
    result = rank(aircraft, weights, [True, True, True, False, True, True])
    # The book carries four digits from step to step, hence the tolerance of the next one.
    to_ideal = np.sqrt(result.ideal_sq.sum(axis=1))
    to_anti = np.sqrt(result.anti_ideal_sq.sum(axis=1))
    np.testing.assert_allclose(to_ideal, [0.0545, 0.1197, 0.0580, 0.1009], atol=1e-4)
    np.testing.assert_allclose(to_anti, [0.0983, 0.0439, 0.0920, 0.0458], atol=1e-4)
    np.testing.assert_allclose(result.score, [0.643, 0.268, 0.613, 0.312], atol=1e-3)
    assert result.rank.tolist() == [1, 4, 2, 3]
    assert result.order.tolist() == [0, 2, 3, 1]


def test_every_step_of_a_small_example_by_hand() -> None:
    # Norms 5 and 10: r = [[.6, .6], [.8, .8]]; weights 3/4 and 1/4: v = [[.45, .15], [.6, .2]].
    result = rank([[3, 6], [4, 8]], [3, 1], [True, False])
    assert result.weights.tolist() == [0.75, 0.25]
    np.testing.assert_allclose(result.normalized, [[0.6, 0.6], [0.8, 0.8]], rtol=1e-15)
    assert result.ideal.tolist() == [4, 6]
    assert result.anti_ideal.tolist() == [3, 8]
    np.testing.assert_allclose(result.ideal_sq, [[0.15**2, 0], [0, 0.05**2]], rtol=1e-14)
    np.testing.assert_allclose(result.anti_ideal_sq, [[0, 0.05**2], [0.15**2, 0]], rtol=1e-14)
    np.testing.assert_allclose(result.score, [0.05 / 0.2, 0.15 / 0.2], rtol=1e-15)
    assert result.rank.tolist() == [2, 1]
    assert not result.degenerate
    assert not result.constant.any()


def test_a_cost_is_not_inverted() -> None:
    # Costs 1, 2, 4 lie 0, 1/3 and 1 of the way; their inverses 1, 1/2, 1/4 would lie 0, 2/3, 1.
    assert scores([[1], [2], [4]], [1], [False]).tolist() == pytest.approx([1, 2 / 3, 0])


def test_min_max_normalization_by_hand() -> None:
    # r = [[0, 1], [.5, .25], [1, 0]], the second a cost; equal weights of 1/2.
    result = rank([[10, 8], [15, 2], [20, 0]], [1, 1], [True, False], normalization=MIN_MAX)
    assert result.normalized.tolist() == [[0, 1], [0.5, 0.25], [1, 0]]
    to_ideal, to_anti = math.hypot(0.5, 0.25), math.hypot(0.5, 0.75)
    assert result.score.tolist() == pytest.approx([0, to_anti / (to_ideal + to_anti), 1])


def test_fixed_bounds_by_hand_with_clipped_values_flagged() -> None:
    result = rank(
        [[50, 300], [120, 100]],
        [1, 1],
        [True, False],
        normalization=FIXED,
        bounds=[[0, 100], [0, 400]],
    )
    assert result.normalized.tolist() == [[0.5, 0.75], [1, 0.25]]
    assert result.clipped.tolist() == [[False, False], [True, False]]
    assert result.ideal.tolist() == [100, 0]
    assert result.anti_ideal.tolist() == [0, 400]
    near, far = math.hypot(0.5, 0.25), math.hypot(0.5, 0.75)
    assert result.score.tolist() == pytest.approx(
        [near / (near + far), 1 / (1 + 0.25 / math.hypot(1, 0.75))]
    )


def test_ranks_of_a_tie_leave_a_gap_after_it() -> None:
    result = rank([[5], [9], [7], [7], [1]], [1], [True])
    assert result.rank.tolist() == [4, 1, 2, 2, 5]
    assert result.order.tolist() == [1, 2, 3, 0, 4]


def test_a_tie_is_listed_in_order_of_the_ids_given() -> None:
    assert rank([[7], [7], [9]], [1], [True], tie_break=["b", "a", "c"]).order.tolist() == [2, 1, 0]


@pytest.mark.parametrize("normalization", [Normalization.VECTOR, MIN_MAX])
@pytest.mark.parametrize("rows", [[[3, 0]], [[3, 0]] * 4, [[-1e200, 5e-324]] * 2, [[0, 0]] * 2])
def test_alternatives_without_a_difference_are_all_first_with_one_half(
    rows: list[list[float]], normalization: Normalization
) -> None:
    result = rank(rows, [1, 2], [True, False], normalization=normalization)
    assert result.score.tolist() == [0.5] * len(rows)
    assert result.rank.tolist() == [1] * len(rows)
    assert result.degenerate
    assert result.constant.all()
    assert not result.ideal_sq.any()
    assert scores(rows, [1, 2], [True, False], normalization=normalization).tolist() == [0.5] * len(
        rows
    )


def test_a_difference_that_weighs_nothing_is_none() -> None:
    result = rank([[1, 5], [1, 9]], [1, 0], [True, True])
    assert result.degenerate
    assert result.constant.tolist() == [True, False]
    assert result.score.tolist() == [0.5, 0.5]


def test_with_fixed_bounds_a_single_alternative_has_a_score_of_its_own() -> None:
    result = rank([[75]], [1], [True], normalization=FIXED, bounds=[[0, 100]])
    assert result.score.tolist() == [0.75]
    assert result.rank.tolist() == [1]
    assert result.degenerate


def test_values_clipped_to_the_same_bound_do_not_differ() -> None:
    result = rank([[150.0], [1e300]], [1], [True], normalization=FIXED, bounds=[[0, 100]])
    assert result.score.tolist() == [1, 1]
    assert result.rank.tolist() == [1, 1]
    assert result.constant.tolist() == [True]
    assert result.degenerate


@pytest.mark.parametrize("normalization", [Normalization.VECTOR, MIN_MAX])
@pytest.mark.parametrize("value", [0.0, 7.0])
def test_a_column_of_equal_values_contributes_nothing(
    value: float, normalization: Normalization
) -> None:
    result = rank(
        [[3, value], [4, value], [8, value]], [1, 5], [True, True], normalization=normalization
    )
    assert result.score.tolist() == pytest.approx([0, 0.2, 1])
    assert result.constant.tolist() == [False, True]
    assert not result.ideal_sq[:, 1].any()
    assert np.isfinite(result.normalized).all()


def test_an_incomplete_row_is_left_out_with_its_reason() -> None:
    result = rank(
        [[1.0, 1.0], [NAN, 3.0], [2.0, 2.0], [INF, NAN], [3.0, -INF]], [1, 1], [True, True]
    )
    assert result.excluded.tolist() == [False, True, False, True, True]
    assert result.missing.tolist() == [
        [False] * 2,
        [True, False],
        [False] * 2,
        [False, True],
        [False] * 2,
    ]
    assert np.argwhere(result.infinite).tolist() == [[3, 0], [4, 1]]
    assert result.rank.tolist() == [2, 0, 1, 0, 0]
    assert result.order.tolist() == [2, 0]
    assert result.score[[0, 2]].tolist() == [0, 1]
    assert np.isnan(result.score[result.excluded]).all()
    np.testing.assert_array_equal(
        scores([[1.0, 1.0], [NAN, 3.0], [2.0, 2.0]], [1, 1], [True, True]), [0, NAN, 1]
    )


@pytest.mark.parametrize("rows", [[], np.empty((0, 2)), [[NAN, 1]], [[1, INF], [NAN, 2]]])
@pytest.mark.parametrize("normalization", list(Normalization))
def test_nobody_to_rank_is_an_empty_answer(
    rows: list[list[float]], normalization: Normalization
) -> None:
    bounds = [[0, 1], [0, 1]] if normalization is FIXED else None
    result = rank(rows, [1, 1], [True, False], normalization=normalization, bounds=bounds)
    assert result.order.size == 0
    assert result.excluded.all()
    assert not result.rank.any()
    assert not result.degenerate
    assert not result.constant.any()
    assert np.isnan(result.ideal).all()
    assert result.normalized.shape == (len(rows), 2)
    score = scores(rows, [1, 1], [True, False], normalization=normalization, bounds=bounds)
    assert score.shape == (len(rows),)
    assert np.isnan(score).all()


@pytest.mark.parametrize("unit", [1e200, 1e-200, 2.0**1021, 5e-324])
def test_the_size_of_the_numbers_does_not_spoil_scores(unit: float) -> None:
    plain = rank([[1, 5], [3, 2], [2, 2]], [1, 2], [True, False])
    result = rank([[1 * unit, 5], [3 * unit, 2], [2 * unit, 2]], [1, 2], [True, False])
    np.testing.assert_allclose(result.score, plain.score, rtol=1e-15)
    np.testing.assert_allclose(result.normalized, plain.normalized, rtol=1e-15)
    np.testing.assert_allclose(result.ideal_sq, plain.ideal_sq, rtol=1e-14)


def test_extremes_of_one_column_do_not_overflow() -> None:
    huge = float(np.finfo(np.float64).max)
    for normalization in (Normalization.VECTOR, MIN_MAX):
        score = scores([[huge], [-huge], [5e-324]], [1], [True], normalization=normalization)
        assert score.tolist() == [1, 0, 0.5]
    fixed = scores([[huge], [0.0]], [1], [True], normalization=FIXED, bounds=[[-huge, huge]])
    assert fixed.tolist() == [1, 0.5]


def test_fixed_bounds_far_below_a_value_clip_it() -> None:
    result = rank(
        [[1e300], [-1e300], [1e-300]], [1], [True], normalization=FIXED, bounds=[[0, 2e-300]]
    )
    assert result.score.tolist() == [1, 0, 0.5]
    assert result.clipped.ravel().tolist() == [True, True, False]


def test_a_tiny_weight_still_decides_between_alternatives_equal_in_the_rest() -> None:
    for weights in ([1, 1e-300], [1e308, 1e-300], [1.0, 5e-324]):
        assert rank([[5, 1], [5, 2], [5, 3]], weights, [True, True]).score.tolist() == [0, 0.5, 1]


def test_weights_whose_sum_overflows_are_scaled_all_the_same() -> None:
    assert rank([[1, 2], [2, 3]], [1e308, 1e308], [True, True]).weights.tolist() == [0.5, 0.5]


@pytest.mark.parametrize(("x", "y"), [(0.75, 0.5), (0.3125, 0.0), (0.25, 0.875)])
def test_an_improvement_by_one_rounding_lowers_no_score(x: float, y: float) -> None:
    # D- / (D+ + D-) in floating point falls somewhere on each of these stairs.
    stairs = [[x + step * math.ulp(x), y] for step in range(64)]
    score = scores([[0.0, 0.0], *stairs, [1.0, 1.0]], [1, 1], [True, True])
    assert (np.diff(score) >= 0).all()


@pytest.mark.parametrize(
    ("weights", "index"), [([1, -1, 2], 1), ([1, 1, NAN], 2), ([INF, 1, 1], 0), ([1, 1, -INF], 2)]
)
def test_a_bad_weight_is_refused_by_its_index(weights: list[float], index: int) -> None:
    with pytest.raises(WeightError, match=f"weight {index} is") as refused:
        rank([[1, 2, 3]], weights, [True] * 3)
    assert refused.value.index == index


def test_weights_that_are_all_zero_are_refused() -> None:
    with pytest.raises(WeightError, match="no weight is above zero") as refused:
        scores([[1, 2]], [0, 0], [True, True])
    assert refused.value.index is None


@pytest.mark.parametrize("pair", [[2, 1], [1, 1], [NAN, 1], [0, INF]])
def test_bad_bounds_are_refused_by_their_index(pair: list[float]) -> None:
    with pytest.raises(BoundsError, match="bounds 1 are") as refused:
        rank([[1, 2]], [1, 1], [True, True], normalization=FIXED, bounds=[[0.0, 1.0], pair])
    assert refused.value.index == 1


def test_bounds_come_with_fixed_bounds_and_only_with_it() -> None:
    with pytest.raises(BoundsError):
        rank([[1]], [1], [True], normalization=FIXED)
    with pytest.raises(BoundsError):
        rank([[1]], [1], [True], bounds=[[0, 1]])


def test_shapes_that_do_not_fit_are_refused() -> None:
    for values, weights, maximize in (
        ([[1, 2]], [1], [True]),
        ([1, 2], [1, 1], [True, True]),
        ([[1, 2]], [1, 1], [True]),
        ([[1, 2]], [[1, 1]], [[True, True]]),
    ):
        with pytest.raises(ValueError, match="per criterion"):
            rank(values, weights, maximize)
    with pytest.raises(ValueError, match="per criterion"):
        rank([[1]], [1], [True], normalization=FIXED, bounds=[0, 1])
    with pytest.raises(ValueError, match="per alternative"):
        rank([[1], [2]], [1], [True], tie_break=["a"])


def test_the_callers_arrays_are_left_as_they_were() -> None:
    values = np.array([[1.0, 2.0], [3.0, 4.0]])
    before = values.copy()
    rank(values, [1, 1], [True, False], normalization=FIXED, bounds=[[0, 2], [0, 2]])
    scores(values, [1, 1], [True, False])
    np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize("normalization", list(Normalization))
@pytest.mark.parametrize("incomplete", [0, 7])
def test_what_is_asked_of_some_rows_is_that_of_all(
    normalization: Normalization, incomplete: int
) -> None:
    rng = np.random.default_rng(3)
    # More rows than fit into one block, and many that are equal.
    values = rng.integers(1, 5, (30_000, 5)).astype(float)
    values[rng.integers(0, len(values), incomplete), 2] = NAN
    bounds = [(1.5, 3.0)] * 5 if normalization is Normalization.FIXED_BOUNDS else None
    maximize = [True, False, True, False, True]
    result, other = (
        rank(values, weights, maximize, normalization=normalization, bounds=bounds)
        for weights in ([1, 0, 3, 0.5, 1], [2, 1, 1, 1, 1])
    )
    np.testing.assert_array_equal(result.distances, other.distances, strict=True)
    for count in (1, 3, 20, 29_990, None):
        np.testing.assert_array_equal(result.best(count), result.order[:count], strict=True)
    some = np.append(result.order[:20], np.flatnonzero(result.excluded))
    np.testing.assert_array_equal(result.normalized_of(some), result.normalized[some])
    for part, whole in zip(
        result.parts_of(some), (result.ideal_sq, result.anti_ideal_sq), strict=True
    ):
        np.testing.assert_array_equal(part, whole[some], strict=True)


def test_equal_scores_among_many_stay_in_order() -> None:
    values = np.random.default_rng(3).integers(0, 20, (5000, 1))
    order = rank(values, [1], [True]).order
    assert order.tolist() == sorted(range(5000), key=lambda row: (-values[row, 0], row))
