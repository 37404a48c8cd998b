"""What runs tell of a cell: by hand, by simulation, and what holds whatever the numbers."""

import doctest
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ranking import spread
from services.ranking.spread import QUANTILE, Spread, spread_of

pytestmark = pytest.mark.filterwarnings("error")

NAN = math.nan
often = settings(max_examples=150, deadline=None)


@st.composite
def cells(draw: st.DrawFn) -> tuple[npt.NDArray[Any], ...]:
    """Median, smallest and largest run and their number, with holes and single runs."""
    n, m = draw(st.integers(1, 8)), draw(st.integers(1, 3))
    shape = (n, m)
    size = n * m

    def array(numbers: st.SearchStrategy[Any]) -> npt.NDArray[Any]:
        return np.array(draw(st.lists(numbers, min_size=size, max_size=size))).reshape(shape)

    value = array(st.one_of(st.floats(0.01, 1e4), st.just(NAN)))
    runs = array(st.integers(0, 12))
    down, up = (np.where(runs > 1, array(st.floats(1, 2)), 1.0) for _ in range(2))
    return value, value / down, value * up, runs


def test_the_example_in_the_manual_is_true() -> None:
    results = doctest.testmod(spread)
    assert results.attempted > 0
    assert results.failed == 0


def test_two_runs_and_a_single_one_by_hand() -> None:
    found = spread_of([[100], [50]], [[99], [50]], [[101], [50]], [[2], [1]])
    span = math.log(101 / 99)
    typical = span / 0.954
    assert found.typical.tolist() == pytest.approx([typical])
    assert found.source_count.tolist() == [1]
    # One degree of freedom beside three: t at 95 % with 4 is 1.29 times as wide as the normal.
    sigma = math.sqrt((3 * typical**2 + (span / 1.414) ** 2) / 4)
    assert found.error[0, 0] == pytest.approx(sigma * 1.29 * 0.707, rel=0.01)
    # The single run has the typical deviation, with 3 degrees of freedom: 1.41 times as wide.
    assert found.error[1, 0] == pytest.approx(typical * 1.41, rel=0.01)
    assert found.assumed.tolist() == [[False], [True]]


def test_where_nobody_has_several_runs_nothing_is_known() -> None:
    found = spread_of([[100], [50]], [[100], [50]], [[100], [50]], [[1], [1]])
    assert np.isnan(found.error).all()
    assert np.isnan(found.typical).all()
    assert found.source_count.tolist() == [0]
    assert not found.assumed.any()


def test_without_runs_a_value_is_exact() -> None:
    found = spread_of([[2.69], [NAN]], [[2.69], [NAN]], [[2.69], [NAN]], [[0], [0]])
    assert found.error[0, 0] == 0
    assert np.isnan(found.error[1, 0])
    assert not found.assumed.any()


def test_runs_that_never_differ_have_no_spread_and_neither_has_a_single_one() -> None:
    found = spread_of([[7], [7], [8]], [[7], [7], [8]], [[7], [7], [8]], [[3], [2], [1]])
    assert not found.error.any()
    assert found.assumed.ravel().tolist() == [False, False, True]


def test_two_runs_that_agree_by_chance_are_not_certain() -> None:
    found = spread_of([[100]] * 3, [[100], [95], [95]], [[100], [105], [105]], [[2], [4], [4]])
    assert found.error[0, 0] > 0.5 * found.error[1, 0]


def test_one_wild_configuration_does_not_change_what_is_typical() -> None:
    value, runs = np.full((10, 1), 100.0), np.full((10, 1), 3)
    factor = np.full((10, 1), 1.02)
    calm = spread_of(value, value / factor, value * factor, runs)
    factor[4] = 50
    wild = spread_of(value, value / factor, value * factor, runs)
    assert wild.typical == calm.typical
    assert wild.error[4, 0] > 10 * wild.error[3, 0]
    assert wild.error[3, 0] == calm.error[3, 0]


def test_a_known_deviation_is_taken_as_it_is() -> None:
    value, low, high = [[100]] * 3, [[90], [100], [99]], [[110], [100], [101]]
    runs = [[4], [1], [3]]
    found = spread_of(value, low, high, runs, deviation=[[5.0], [2.0], [NAN]])
    assert found.error[:2, 0].tolist() == pytest.approx([0.05 * 0.546, 0.02])
    assert found.assumed.ravel().tolist() == [False, False, False]
    assert found.error[2, 0] == spread_of(value, low, high, runs).error[2, 0]


def test_runs_down_to_zero_have_their_range_beside_the_value() -> None:
    found = spread_of([[100]], [[0]], [[110]], [[3]])
    assert found.typical.tolist() == pytest.approx([1.1 / 1.588])
    # A value of 0 has nothing to be beside, but runs that do not differ have no range.
    zeros = spread_of([[0], [0]], [[0], [0]], [[0], [5]], [[3], [3]])
    assert zeros.assumed.tolist() == [[False], [True]]
    assert not zeros.error.any()


def test_what_cannot_be_believed_is_cut_off_before_it_overflows() -> None:
    assert spread_of([[1]], [[1e-300]], [[1e300]], [[2]]).error.tolist() == [[spread.MOST]]


def test_shapes_that_do_not_fit_are_refused() -> None:
    for arguments in (([1], [1], [1], [1]), ([[1]], [[1]], [[1]], [[1, 2]])):
        with pytest.raises(ValueError, match="one shape"):
            spread_of(*arguments)


def test_take_keeps_what_is_typical_of_all() -> None:
    found = spread_of(
        [[100, 1], [50, 2]], [[99, 1], [50, 2]], [[101, 1], [50, 2]], [[2, 0], [1, 0]]
    )
    part = found.take([1], [0])
    assert part.error.tolist() == [[found.error[1, 0]]]
    assert part.typical.tolist() == [found.typical[0]]
    assert part.assumed.tolist() == [[True]]
    assert part.source_count.tolist() == [1]


@pytest.mark.parametrize("runs", [2, 3, 5, 8, 10, 12, 20, 40])
def test_the_constants_are_those_of_the_normal_distribution(runs: int) -> None:
    drawn = np.random.default_rng(runs).standard_normal((100_000, runs))
    range_ = np.ptp(drawn, axis=1)
    place = np.log(runs), np.log(spread._RUNS)
    for constant, expected in (
        (spread._ROOT_MEAN_SQUARE_RANGE, np.sqrt(np.mean(range_**2))),
        (spread._MEDIAN_RANGE, np.median(range_)),
        # A squared range is about chi square, whose mean² / variance is half its degrees.
        (spread._DEGREES, 2 * np.mean(range_**2) ** 2 / np.var(range_**2)),
    ):
        tolerance = 0.15 if constant is spread._DEGREES else 0.01
        np.testing.assert_allclose(np.interp(*place, constant), expected, rtol=tolerance)
    error = spread._median_error(np.array([runs]))[0]
    # Beyond 10 runs it is the limit, which is up to 5 % above.
    np.testing.assert_allclose(
        error, np.median(drawn, axis=1).std(), rtol=0.06 if runs > 10 else 0.01
    )


@pytest.mark.parametrize(
    ("differs", "least", "most"),
    [(0.0, 0.94, 0.955), (0.5, 0.91, 0.925), (1.0, 0.87, 0.89)],
)
def test_an_interval_holds_the_true_value_as_often_as_the_manual_says(
    differs: float, least: float, most: float
) -> None:
    # 20 configurations of 1, 2, 3, 3, 5 runs each, whose deviations differ by exp(± differs).
    rng, held = np.random.default_rng(1), []
    runs = np.tile([1, 2, 3, 3, 5], 4)[:, None]
    for _ in range(400):
        true = rng.uniform(10, 1000, (20, 1))
        deviation = 0.05 * np.exp(differs * rng.standard_normal((20, 1)))
        drawn = true * np.exp(deviation * rng.standard_normal((20, 5)))
        drawn[np.arange(5) >= runs] = NAN
        cells = (np.nanmedian(drawn, 1), np.nanmin(drawn, 1), np.nanmax(drawn, 1))
        value, low, high = (cell[:, None] for cell in cells)
        error = spread_of(value, low, high, runs).error
        held.append(np.abs(np.log(value / true)) <= QUANTILE * error)
    assert least <= np.mean(held) <= most


@often
@given(cells(), st.floats(1e-6, 1e6))
def test_units_do_not_matter(given_: tuple[npt.NDArray[Any], ...], unit: float) -> None:
    value, low, high, runs = given_
    found = spread_of(value, low, high, runs)
    scaled = spread_of(value * unit, low * unit, high * unit, runs)
    np.testing.assert_allclose(scaled.error, found.error, rtol=1e-9, atol=1e-12)


@often
@given(cells())
def test_errors_are_known_exactly_where_there_is_a_value_and_something_to_go_by(
    given_: tuple[npt.NDArray[Any], ...],
) -> None:
    value, _, _, runs = given_
    found = spread_of(*given_)
    several = ((runs > 1) & ~np.isnan(value)).any(axis=0)
    np.testing.assert_array_equal(np.isnan(found.error), np.isnan(value) | ((runs > 0) & ~several))
    assert not (found.error < 0).any()
    np.testing.assert_array_equal(found.assumed, (runs == 1) & ~np.isnan(value) & several)
    np.testing.assert_array_equal(np.isnan(found.typical), ~several)


@often
@given(cells(), st.randoms(use_true_random=False))
def test_the_order_of_rows_and_rows_without_values_change_nothing(
    given_: tuple[npt.NDArray[Any], ...], random: Any
) -> None:
    shuffled = list(range(len(given_[0])))
    random.shuffle(shuffled)
    found = spread_of(*given_)
    after: Spread = spread_of(*(cell[shuffled] for cell in given_))
    np.testing.assert_array_equal(after.error, found.error[shuffled])
    hole = [np.full((1, given_[0].shape[1]), NAN)] * 3 + [np.full((1, given_[0].shape[1]), 3)]
    longer = spread_of(*(np.vstack(pair) for pair in zip(given_, hole, strict=True)))
    np.testing.assert_array_equal(longer.error[:-1], found.error)
    np.testing.assert_array_equal(longer.typical, found.typical)


@pytest.mark.parametrize("runs", range(2, 60))
def test_more_runs_with_the_same_range_are_never_off_by_more(runs: int) -> None:
    # Two cells, so that the other one's runs keep what is typical as it is.
    others = [[2]] * 3
    value, low, high = [[100.0]] * 4, [[95.0]] * 4, [[105.0]] * 4
    few, more = (spread_of(value, low, high, [[n], *others]).error[0, 0] for n in (runs, runs + 1))
    assert more < few * 1.001
