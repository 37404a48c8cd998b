"""Estimates between measured points: by hand, and what holds for every curve."""

import doctest
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from services.ranking import estimates
from services.ranking.estimates import Estimate, Refusal, estimate, estimate_each, interpolate

pytestmark = pytest.mark.filterwarnings("error")

NAN = math.nan
often = settings(max_examples=200, deadline=None)
Floats = npt.NDArray[np.float64]

POSITIVE = st.floats(1e-3, 1e5)
ANY = st.one_of(POSITIVE, st.floats(-1e3, 1e3), st.sampled_from([0.0, 1.0, 1.0]))


@st.composite
def curves(draw: st.DrawFn, values: st.SearchStrategy[float] = ANY) -> tuple[Floats, Floats]:
    """Three to eight points, in order of their places."""
    places = draw(st.lists(st.integers(1, 4096), min_size=3, max_size=8, unique=True))
    y = draw(st.lists(values, min_size=len(places), max_size=len(places)))
    return np.sort(np.array(places, dtype=np.float64)), np.array(y)


def one(places: npt.ArrayLike, values: npt.ArrayLike, wanted: float) -> Estimate:
    (found,) = estimate(places, np.asarray(values, dtype=np.float64)[:, None], wanted)
    assert isinstance(found, Estimate)
    return found


def inside(x: Floats, share: float) -> float:
    """A place between the ends of a curve."""
    return float(np.clip(np.exp(np.interp(share, [0, 1], np.log(x[[0, -1]]))), x[0], x[-1]))


def test_the_examples_in_the_manual_are_true() -> None:
    results = doctest.testmod(estimates)
    assert results.attempted > 0
    assert results.failed == 0


def test_a_cubic_by_hand() -> None:
    # Slopes 1 and 3 over intervals of 1 and 2. In the middle the harmonic mean with the weights
    # 2*2 + 1 = 5 and 2 + 2*1 = 4: 9 / (5/1 + 4/3) = 27/19. At the left end, by three points:
    # ((2*1 + 2)*1 - 1*3) / 3 = 1/3. Hermite at 1/2: 1/2 + 1/8 * (1/3 - 27/19).
    x, y = np.array([0.0, 1, 3]), np.array([0.0, 1, 7])
    assert interpolate(x, y, 0.5) == pytest.approx(0.5 + (1 / 3 - 27 / 19) / 8, rel=1e-14)
    # At the right end: ((2*2 + 1)*3 - 2*1) / 3 = 13/3; the interval is 2 long.
    expected = 4 + 2 * (27 / 19 - 13 / 3) / 8
    assert interpolate(x, y, 2.0) == pytest.approx(expected, rel=1e-14)


def test_an_end_is_kept_from_overshooting() -> None:
    # By three points the left slope would be ((2*1 + 1)*1 + 9) / 2 = 6, and is held at 3.
    x, y = np.array([0.0, 1, 2]), np.array([0.0, 1, -8])
    assert interpolate(x, y, 0.5) == pytest.approx(0.5 + 3 / 8)
    # And here -3.5 against a slope of 1: level, and so is the other end.
    assert interpolate(x, np.array([0.0, 1, 11]), 0.5) == pytest.approx(0.5 + (0 - 20 / 11) / 8)


def test_a_power_law_is_found_exactly_and_without_an_error() -> None:
    places = np.array([1.0, 2, 8, 64])
    found = one(places, 3 * places**0.7, 20)
    assert found.value == pytest.approx(3 * 20**0.7)
    assert found.error == pytest.approx(0, abs=1e-12)
    assert found.estimated
    assert found.relative
    assert found.between == (8, 64)
    assert found.tested == 2


def test_the_error_rests_on_the_largest_of_those_left_out() -> None:
    # Of three points, the middle one is left out: on the line between the ends it would be 200.
    found = one([1, 10, 100], [100, 250, 400], 30)
    assert found.tested == 1
    widened = 1.25**6.314
    assert found.error == pytest.approx(widened - 1)
    assert found.low == pytest.approx(found.value / widened)
    assert found.high == pytest.approx(found.value * widened)


def test_the_error_is_widened_as_students_t_for_the_points_tested() -> None:
    for tested in range(1, 31):
        places = 2.0 ** np.arange(tested + 2)
        # One point is off the level line by a factor of 2; without others the curve is off by less.
        values = np.ones(places.size)
        values[(tested + 1) // 2] = 2
        widened = math.log2(1 + one(places, values, 1.5).error)
        level = within_students_t(widened, tested)
        assert level == pytest.approx(0.9, abs=1e-4) if tested <= 10 else 0.9 < level < 0.93


def within_students_t(t: float, degrees: int) -> float:
    """The probability of [-t, t], from the density."""
    x = np.linspace(-t, t, 20_001)
    scale = math.gamma((degrees + 1) / 2) / math.gamma(degrees / 2) / math.sqrt(degrees * math.pi)
    return float(np.trapezoid(scale * (1 + x**2 / degrees) ** (-(degrees + 1) / 2), x))


def test_a_metric_with_a_zero_has_an_error_in_its_own_unit() -> None:
    found = one([1, 10, 100], [0, 3, 4], math.sqrt(10))
    assert not found.relative
    assert found.error == pytest.approx(6.314)
    assert found.low == pytest.approx(found.value - 6.314)
    assert found.high == pytest.approx(found.value + 6.314)


def test_a_measured_place_is_no_estimate() -> None:
    found = one([4, 1, 16], [250.1, 100.3, 403.7], 4)
    assert (found.low, found.value, found.high, found.error) == (250.1, 250.1, 250.1, 0)
    assert not found.estimated
    assert found.between == (4, 4)
    assert not one([4], [7], 4).estimated


@pytest.mark.parametrize(
    ("places", "wanted", "reason"),
    [
        ([1, 2, 4], 0.5, Refusal.BELOW_MEASURED),
        ([1, 2, 4], 4.001, Refusal.ABOVE_MEASURED),
        ([1, 4], 2, Refusal.TOO_FEW_POINTS),
        ([], 2, Refusal.TOO_FEW_POINTS),
        ([1, 2, 2, 4], 3, Refusal.NOT_ONE_CURVE),
        ([1, 2, 2, 4], 2, Refusal.NOT_ONE_CURVE),
    ],
)
def test_what_cannot_be_known_is_refused(
    places: list[float], wanted: float, reason: Refusal
) -> None:
    assert estimate(places, np.ones((len(places), 2)), wanted) == [reason, reason]
    assert reason.value.endswith(".")


def test_each_metric_has_the_points_that_were_measured() -> None:
    values = np.array([[1, NAN, 5.0], [2, 7, NAN], [4, 8, 6], [8, NAN, NAN]])
    known, out_of_reach, few = estimate([1, 2, 4, 8], values, 6)
    assert isinstance(known, Estimate)
    assert known.value == pytest.approx(6)
    assert out_of_reach is Refusal.TOO_FEW_POINTS
    assert few is Refusal.TOO_FEW_POINTS
    assert estimate([1, 2, 4, 8], [[NAN], [7.0], [8.0], [9.0]], 1.5) == [Refusal.BELOW_MEASURED]


@pytest.mark.parametrize(
    ("places", "values", "wanted"),
    [
        ([1, 2], [[1]], 1),
        ([1], [1], 1),
        ([0], [[1]], 1),
        ([NAN], [[1]], 1),
        ([1], [[1]], 0),
        ([1], [[1]], NAN),
    ],
)
def test_arguments_that_do_not_fit_are_refused(places: Any, values: Any, wanted: float) -> None:
    with pytest.raises(ValueError, match="place"):
        estimate(places, values, wanted)


@often
@given(curves())
def test_it_passes_through_the_measured_points(curve: tuple[Floats, Floats]) -> None:
    x, y = curve
    for place, value in zip(x, y, strict=True):
        assert one(x, y, place).value == value
        assert interpolate(np.log(x), y, float(np.log(place))) == value


@often
@given(curves(), st.floats(0, 1))
def test_it_never_leaves_the_values_next_to_it(curve: tuple[Floats, Floats], share: float) -> None:
    x, y = curve
    found = one(x, y, inside(x, share))
    beside = y[np.isin(x, found.between)]
    assert beside.min() <= found.value <= beside.max()
    assert found.low <= found.value <= found.high


@often
@given(curves(), st.lists(st.floats(0, 1), min_size=2, max_size=2), st.booleans())
def test_a_curve_that_rises_or_falls_has_estimates_that_do(
    curve: tuple[Floats, Floats], shares: list[float], falls: bool
) -> None:
    x, y = curve[0], np.sort(curve[1])
    if falls:
        y = y[::-1]
    first, second = (one(x, y, inside(x, share)).value for share in sorted(shares))
    slack = 1e-12 * np.abs(y).max()
    assert first >= second - slack if falls else first <= second + slack


@often
@given(curves(POSITIVE), st.floats(0, 1), st.integers(-20, 20))
def test_units_do_not_matter(curve: tuple[Floats, Floats], share: float, power: int) -> None:
    x, y = curve
    wanted = inside(x, share)
    found, scaled = one(x, y, wanted), one(x, y * 2.0**power, wanted)
    assert scaled.value == pytest.approx(found.value * 2.0**power, rel=1e-9)
    assert scaled.error == pytest.approx(found.error, rel=1e-6, abs=1e-9)


@often
@given(curves(), st.floats(0, 1), st.randoms(use_true_random=False))
def test_the_order_of_the_points_does_not_matter(
    curve: tuple[Floats, Floats], share: float, random: Any
) -> None:
    x, y = curve
    order = list(range(x.size))
    random.shuffle(order)
    assert one(x[order], y[order], inside(x, share)) == one(x, y, inside(x, share))


@often
@given(curves(POSITIVE))
def test_the_error_holds_at_every_point_left_out(curve: tuple[Floats, Floats]) -> None:
    x, y = curve
    wanted = inside(x, 0.437)
    assume(wanted not in x and x.size > 3)
    error = one(x, y, wanted).error
    for i in range(1, x.size - 1):
        rest = one(np.delete(x, i), np.delete(y, i), x[i])
        off = max(rest.value / y[i], y[i] / rest.value) - 1
        assert off <= error * (1 + 1e-9) + 1e-12


def test_a_saturating_server_is_estimated_within_its_error() -> None:
    # Throughput as a server of 40 requests at once has it, measured at powers of two.
    def throughput(concurrency: float) -> float:
        return 3000 * concurrency / (40 + concurrency)

    places = [2.0**power for power in range(9)]
    for wanted in (3.0, 12.0, 24.0, 48.0, 100.0, 200.0):
        found = one(places, [throughput(place) for place in places], wanted)
        assert found.low <= throughput(wanted) <= found.high
        assert found.error < 0.1


@often
@given(st.lists(st.tuples(curves(st.one_of(ANY, st.just(NAN))), st.floats(0.5, 5000)), max_size=6))
def test_many_curves_together_are_each_as_alone(
    asked: list[tuple[tuple[Floats, Floats], float]],
) -> None:
    # Two metrics each, of which one may have holes where the other has none.
    curves_ = [(x, np.column_stack([y, np.arange(1.0, x.size + 1)]), at) for (x, y), at in asked]
    together = estimate_each(curves_)
    assert len(together) == len(curves_)
    for found, (x, cells, wanted) in zip(together, curves_, strict=True):
        for one_, other in zip(found, estimate(x, cells, wanted), strict=True):
            if isinstance(one_, Refusal) or isinstance(other, Refusal):
                assert one_ is other
                continue
            assert one_.value == pytest.approx(other.value, rel=1e-12)
            assert one_.error == pytest.approx(other.error, rel=1e-9, abs=1e-12)
            assert (one_.tested, one_.between) == (other.tested, other.between)
