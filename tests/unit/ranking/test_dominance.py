"""By whom and by how much: a small case by hand, everything else against the definition."""

import doctest
import math
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ranking import dominance
from services.ranking.dominance import dominated_by
from services.ranking.pareto import pareto_rank
from tests.unit.ranking import oracles
from tests.unit.ranking.problems import ANY, GRID, HOLES, Problem, problems

# A warning from numpy is arithmetic gone wrong unnoticed.
pytestmark = pytest.mark.filterwarnings("error")

NAN = math.nan
often = settings(max_examples=150, deadline=None)


def test_the_example_in_the_manual_is_true() -> None:
    results = doctest.testmod(dominance)
    assert results.attempted > 0
    assert results.failed == 0


def test_the_largest_smallest_margin_decides_by_hand() -> None:
    # (throughput, latency). Over the third: the first by 1/2 and 1/20, the second by 1/5 and 1/10.
    # Over the fourth, the first by 11/20 and 5/24, the second by 7/25 and 1/4. Nobody beats the
    # last in throughput.
    values = [[1000, 76], [625, 72], [500, 80], [450, 96], [1001, 500]]
    ranks = [1, 1, 2, 3, 1]
    found = dominated_by(values, [True, False], ranks)
    assert found.rows.tolist() == [2, 3]
    assert found.by.tolist() == [1, 1]
    np.testing.assert_allclose(found.margins, [[0.2, 0.1], [0.28, 0.25]], rtol=1e-14)


def test_only_front_members_which_dominate_are_named() -> None:
    # The first has by far the larger throughput but loses by latency.
    values = [[9000, 90], [510, 79], [500, 80]]
    found = dominated_by(values, [True, False], [1, 1, 2])
    assert found.by.tolist() == [1]


def test_of_level_smallest_margins_the_larger_sum_decides_then_the_row() -> None:
    values = [[1, 4, 1], [4, 2, 1], [4, 2, 1], [1, 1, 1]]
    found = dominated_by(values, [True] * 3, [1, 1, 1, 2])
    assert found.by.tolist() == [1]
    assert found.margins.tolist() == [[0.75, 0.5, 0]]


@pytest.mark.parametrize(
    ("better", "worse", "margin"),
    [(300, 200, 1 / 3), (-200, -300, 1 / 3), (5, 0, 1), (0, -5, 1), (1, -1, 1), (9, -1, 1),
     (1, -9, 1), (0, 0, 0), (0.0, -0.0, 0), (7, 7, 0), (1.7e308, -1.7e308, 1),
     (1e-323, 5e-324, 0.5)],
)  # fmt: skip
def test_a_margin_is_a_share_of_the_larger(better: float, worse: float, margin: float) -> None:
    # The second criterion makes sure that there is a dominator.
    for values, up in (([[better, 2], [worse, 1]], True), ([[-better, 2], [-worse, 1]], False)):
        found = dominated_by(values, [up, True], [1, 2])
        assert found.margins[0].tolist() == pytest.approx([margin, 0.5])


@given(st.floats(allow_nan=False), st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_a_margin_never_falls_as_the_better_one_gets_better(x: float, y: float, z: float) -> None:
    worse, better, best = sorted((x, y, z))
    if math.isfinite(worse) and math.isfinite(best):
        values = [[worse, 0], [better, 1], [best, 2]]
        less = dominated_by(values, [True, True], [2, 1, 0]).margins[0, 0]
        more = dominated_by(values, [True, True], [2, 0, 1]).margins[0, 0]
        assert 0 <= less <= more <= 1


def test_incomplete_rows_neither_dominate_nor_are_dominated() -> None:
    values = [[9.0, NAN], [2.0, 2.0], [1.0, 1.0], [NAN, 0.0]]
    found = dominated_by(values, [True, True], pareto_rank(values, [True, True]))
    assert found.rows.tolist() == [2]
    assert found.by.tolist() == [1]


def test_only_those_asked_about_are_answered() -> None:
    values = [[3.0], [2.0], [1.0], [NAN]]
    found = dominated_by(values, [True], [1, 2, 3, 0], rows=[3, 2, 0, 2])
    assert found.rows.tolist() == [2]
    assert found.margins.tolist() == pytest.approx(np.array([[2 / 3]]))


@pytest.mark.parametrize("values", [np.empty((0, 2)), [[1, 2]], [[NAN, NAN]], [[1, 2], [1, 2]]])
def test_where_nobody_is_dominated_the_answer_is_empty(values: list[list[float]]) -> None:
    found = dominated_by(values, [True, False], pareto_rank(values, [True, False]))
    assert found.rows.size == found.by.size == 0
    assert found.margins.shape == (0, 2)


def test_what_does_not_fit_together_is_refused() -> None:
    for values, maximize, ranks in (
        ([[1, 2]], [True], [1]),
        ([1], [True], [1]),
        ([[1]], [True], []),
    ):
        with pytest.raises(ValueError, match="need as many"):
            dominated_by(values, maximize, ranks)
    for ranks in ([2, 2], [2, 1], [0, 2]):
        with pytest.raises(ValueError, match="not those of the values"):
            dominated_by([[2], [1]], [True], ranks)


@often
@given(problems(st.one_of(GRID, HOLES, ANY), max_rows=25), st.integers(1, 60))
def test_the_dominator_is_that_of_the_definition_in_blocks_of_any_size(
    problem: Problem, pairs: int
) -> None:
    rows, maximize = problem.values.tolist(), problem.maximize.tolist()
    expected = [oracles.clearest_dominator(rows, maximize, i) for i in range(len(rows))]
    with patch.object(dominance, "BLOCK_PAIRS", pairs):
        found = dominated_by(problem.values, maximize, pareto_rank(problem.values, maximize))
    assert found.rows.tolist() == [i for i, one in enumerate(expected) if one]
    assert list(zip(found.by.tolist(), found.margins.tolist(), strict=True)) == [
        one for one in expected if one
    ]


@often
@given(problems(GRID, max_rows=25), st.integers(-900, 900))
def test_units_do_not_matter(problem: Problem, power: int) -> None:
    ranks = pareto_rank(problem.values, problem.maximize)
    before = dominated_by(problem.values, problem.maximize, ranks)
    after = dominated_by(np.ldexp(problem.values, power), problem.maximize, ranks)
    assert after.by.tolist() == before.by.tolist()
    assert after.margins.tolist() == before.margins.tolist()
