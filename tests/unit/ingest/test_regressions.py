"""Regressions are found where they are, and hardly ever where they are not."""

from collections.abc import Callable
from itertools import combinations
from math import comb
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.ingest.judging import ConfigChange, Reason, Verdict, judge
from services.ingest.records import (
    Config,
    ConfigRuns,
    NewConfig,
    Parts,
    RegressionQuery,
    ResultFilter,
    RunSelection,
    Shape,
)
from services.ingest.regressions import LEVEL, compare, shown

Floats = npt.NDArray[np.float64]
Noise = Callable[[np.random.Generator, tuple[int, ...]], Floats]

METRICS = ("ttft_p50_ms", "ttft_p90_ms", "tpot_p50_ms", "tpot_p90_ms", "throughput_tokens_sec")
SIX = (*METRICS, "rps_sustained")
RATES = frozenset(SIX[4:])
ANY = UUID(int=0)
CONFIG = Config(
    id=ANY,
    key=NewConfig(Parts(*[ANY] * 4), Shape("chatbot", None, None, 1, None, 0, 0, 0, 0), "measured"),
    created_at=None,  # type: ignore[arg-type]
)


def query(columns: tuple[str, ...] = SIX, **values: Any) -> RegressionQuery:
    """A check with what is usual."""
    return RegressionQuery(ResultFilter(), RunSelection(), RunSelection(), columns, **values)


def judged(
    earlier: Floats, new: Floats, columns: tuple[str, ...] = SIX, **values: Any
) -> list[ConfigChange]:
    """What is said of configurations with the figures earlier[c, m, k] and new[c, n, k]."""
    runs = [
        ConfigRuns(CONFIG, old.tolist(), fresh.tolist())
        for old, fresh in zip(earlier, new, strict=True)
    ]
    return judge(query(columns, **values), runs)


# The rates. All with 20 earlier runs, 5 new ones, 6 metrics each with noise of its own.

CONFIGS, EARLIER, NEW = 2_500, 20, 5


def normal(chance: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Symmetric noise of 5 %."""
    return np.maximum(1 + 0.05 * chance.standard_normal(shape), 0.01)


def lognormal(chance: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Skewed noise of 5 %."""
    return np.exp(0.05 * chance.standard_normal(shape))


def exponential(chance: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Noise of 5 % that is skewed even on the logarithmic scale."""
    return np.exp(0.05 * chance.standard_exponential(shape))


def heavy(chance: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Noise of about 5 % with some runs far off."""
    return np.exp(0.03 * chance.standard_t(2, shape))


def rate(
    noise: Noise, *, changed: int = 0, by: float = 0.1, bad_run: int | None = None, seed: int = 1
) -> float:
    """The share of configurations that a regression is reported of.

    The first `changed` metrics are worse by that share; in run `bad_run`, new ones first,
    everything takes three times as long.
    """
    chance = np.random.default_rng(seed)
    runs = noise(chance, (CONFIGS, NEW + EARLIER, len(SIX)))
    up = np.array([name in RATES for name in SIX])
    runs[:, :NEW, :changed] *= np.where(up, 1 - by, 1 + by)[:changed]
    if bad_run is not None:
        runs[:, bad_run] *= np.where(up, 1 / 3, 3)
    found = judged(runs[:, NEW:], runs[:, :NEW])
    return sum(one.verdict is Verdict.REGRESSION for one in found) / CONFIGS


@pytest.mark.parametrize("noise", [normal, lognormal, exponential, heavy])
def test_at_most_one_percent_of_configurations_without_a_change_are_called_worse(
    noise: Noise,
) -> None:
    assert 0.002 < rate(noise) <= LEVEL


@pytest.mark.parametrize("bad_run", [0, NEW])
def test_one_run_that_went_wrong_makes_no_more_false_alarms(bad_run: int) -> None:
    assert rate(lognormal, bad_run=bad_run) <= LEVEL


@pytest.mark.parametrize(
    ("noise", "bad_run"),
    [(normal, None), (exponential, None), (lognormal, None), (lognormal, 0), (lognormal, NEW)],
)
def test_a_configuration_that_is_ten_percent_slower_is_found(
    noise: Noise, bad_run: int | None
) -> None:
    assert rate(noise, changed=len(SIX), bad_run=bad_run) >= 0.95


def test_a_change_of_fewer_metrics_is_found_as_often_as_is_said() -> None:
    found = [rate(lognormal, changed=count) for count in (1, 2, 3)]
    assert found == pytest.approx([0.61, 0.85, 0.94], abs=0.03)
    # 20 % is found whichever metric it is in.
    assert rate(lognormal, changed=1, by=0.2) >= 0.99


# The theorem, by trying every choice of the new ones among some runs.

FIGURE = st.one_of(
    st.none(), st.integers(1, 4).map(float), st.floats(0.5, 2), st.sampled_from([1e-3, 1e6])
)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(FIGURE, min_size=12, max_size=12), min_size=1, max_size=4))
@example([[float(2**number) for number in range(12)]] * 4)
@example([[1.0 + 0.001 * number for number in range(11)] + [50.0]] * 2)
def test_whatever_the_runs_few_choices_of_the_new_ones_would_be_called_worse(
    figures: list[list[float | None]],
) -> None:
    runs = np.array(figures, dtype=np.float64).T
    choices = list(combinations(range(12), 4))
    new = np.array([runs[list(choice)] for choice in choices])
    others = [[run for run in range(12) if run not in choice] for choice in choices]
    earlier = np.array([runs[other] for other in others])
    columns = METRICS[: len(figures)]
    found = judged(earlier, new, columns, min_effect=0.0, min_history=6, min_new=3)
    for verdict in (Verdict.REGRESSION, Verdict.IMPROVEMENT):
        alarms = sum(verdict in {change.verdict for change in one.changes} for one in found)
        assert alarms <= LEVEL * len(choices)


def test_the_theorem_leaves_something_to_be_found() -> None:
    rising = np.array([[float(2**number)] * 4 for number in range(12)])
    [found] = judged(rising[None, :8], rising[None, 8:], METRICS[:4])
    assert {change.verdict for change in found.changes} == {Verdict.REGRESSION}


# The mathematics.


@pytest.mark.parametrize(("m", "n"), [(1, 1), (1, 6), (6, 1), (5, 4), (4, 5), (8, 3), (3, 8)])
def test_chances_are_the_shares_of_all_choices_of_the_new_runs(m: int, n: int) -> None:
    # Figures apart from each other, and none so far that it is left out.
    runs = set(range(m + n))
    choices = [sorted(choice) for choice in combinations(sorted(runs), n)]
    found = compare([sorted(runs.difference(new)) for new in choices], choices)
    assert not found.outlier.any()
    pairs = np.array([sum(a > b for a in new for b in runs.difference(new)) for new in choices])
    at_least = [(pairs >= count).mean() for count in pairs]
    assert found.p_higher == pytest.approx(at_least)
    assert found.p_lower == pytest.approx([(pairs <= count).mean() for count in pairs])
    assert found.p_least == pytest.approx(1 / len(choices))


@pytest.mark.parametrize(("m", "n"), [(20, 5), (50, 50), (50, 3), (3, 50)])
def test_many_runs_lose_no_digit_of_the_smallest_chance(m: int, n: int) -> None:
    found = compare([list(range(m))], [list(range(m, m + n))])
    assert found.p_higher[0] == found.p_least[0] == pytest.approx(1 / comb(m + n, n), rel=1e-12)
    assert found.p_lower[0] == pytest.approx(1)


RUNS = st.lists(st.floats(0.1, 10), min_size=3, max_size=9)


@settings(max_examples=100, deadline=None)
@given(RUNS, RUNS, st.floats(-5, 5))
def test_units_and_the_order_of_runs_do_not_matter(
    earlier: list[float], new: list[float], shift: float
) -> None:
    plain = compare([earlier], [new])
    moved = compare([[value + shift for value in earlier[::-1]]], [[v + shift for v in new[::-1]]])
    assert moved.change[0] == pytest.approx(plain.change[0], abs=1e-9)
    assert moved.noise[0] == pytest.approx(plain.noise[0], abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(RUNS, RUNS)
def test_what_is_worse_one_way_is_better_the_other_way(
    earlier: list[float], new: list[float]
) -> None:
    there = compare([earlier], [new])
    negated = compare([[-value for value in earlier]], [[-value for value in new]])
    assert there.p_higher[0] == negated.p_lower[0]
    assert there.change[0] == pytest.approx(-negated.change[0])
    assert there.low[0] == pytest.approx(-negated.high[0])
    assert there.low[0] <= there.change[0] <= there.high[0]


def test_the_interval_holds_the_true_change_as_often_as_it_says() -> None:
    chance = np.random.default_rng(5)
    old, new = chance.exponential(size=(4000, 20)), chance.exponential(size=(4000, 5)) + 0.7
    found = compare(old, new)
    assert 0.945 < np.mean((found.low <= 0.7) & (found.high >= 0.7)) < 0.97


def test_runs_that_are_equal_show_nothing() -> None:
    found = compare([[1.0] * 20], [[1.0] * 5])
    assert (found.p_higher[0], found.p_lower[0], found.change[0]) == (1, 1, 0)
    assert np.isnan(found.z[0])


def test_z_is_the_distance_of_the_medians_in_standard_errors() -> None:
    # MAD 1, and so a deviation of 1.4826; w(5) = 3.55 twice makes 0.751 of it.
    found = compare([[1.0, 2.0, 3.0, 4.0, 5.0]], [[4.0, 5.0, 6.0, 7.0, 8.0]])
    assert found.noise[0] == pytest.approx(1.4826)
    assert found.z[0] == pytest.approx(3 / (1.4826 * np.sqrt(2 * np.pi / (8 + np.pi))))


def test_a_run_alone_far_away_is_left_out_and_two_of_them_are_not() -> None:
    near = np.linspace(-1, 1, 12)
    alone = compare([[*near, 40.0]], [[0.0, 0.1, 0.2]])
    assert (alone.outlier[0], alone.earlier_count[0]) == (True, 12)
    two = compare([[*near, 40.0]], [[0.0, 0.1, 30.0]])
    assert (two.outlier[0], two.earlier_count[0], two.new_count[0]) == (False, 13, 3)


def test_a_real_change_is_not_taken_for_outliers() -> None:
    earlier = np.random.default_rng(2).normal(0, 0.01, (1, 20))
    found = compare(earlier, [[1.0, 1.01, 0.99]])
    assert (found.outlier[0], found.new_count[0]) == (False, 3)


def test_sides_without_runs_say_nothing() -> None:
    found = compare([[1.0, 2.0], [np.nan, np.nan]], [[np.nan], [3.0]])
    assert np.isnan(found.p_higher).all()
    assert np.isnan(found.change).all()
    empty = compare(np.empty((1, 0)), [[1.0]])
    assert (empty.earlier_count[0], empty.new_count[0], np.isnan(empty.p_higher[0])) == (0, 1, True)
    with pytest.raises(ValueError, match="rows of runs"):
        compare([1.0], [[1.0]])


def test_holm_finds_more_than_one_level_for_all_would() -> None:
    # 0.003 is above 1 % / 4, but not above 1 % / 3 once the first is found; 0.006 ends it.
    assert shown([0.002, 0.003, 0.006, 0.5]).tolist() == [True, True, False, False]
    assert shown([0.003, 0.003, 0.003, 0.003]).tolist() == [False] * 4


def test_a_figure_of_zero_is_not_compared() -> None:
    old, new = np.full((1, 10, 1), 5.0), np.full((1, 5, 1), 5.0)
    new[0, 0, 0] = 0.0
    [found] = judged(old, new, METRICS[:1])
    assert (found.changes[0].history_count, found.changes[0].new_count) == (10, 4)


def test_nothing_is_said_of_nothing() -> None:
    assert judge(query(), []) == []


def test_a_metric_that_the_new_runs_lack_still_counts_among_those_compared() -> None:
    # Three new runs beside eight are enough for one metric, and too few for one of two.
    both = [(100.0 + number, 10.0) for number in range(8)]
    worse = [(200.0 + number, None) for number in range(3)]
    asked = query(METRICS[:2])
    [alone] = judge(asked, [ConfigRuns(CONFIG, [(one, None) for one, _ in both], worse)])
    assert alone.changes[0].verdict is Verdict.REGRESSION
    older = [(None, 10.0)] * 3
    [beside] = judge(asked, [ConfigRuns(CONFIG, [*both, *older], worse)])
    assert beside.changes[0].reason is Reason.FEW_RUNS_TOGETHER
