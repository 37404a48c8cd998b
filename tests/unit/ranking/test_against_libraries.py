"""TOPSIS and Pareto fronts are those of the libraries, wherever these have an answer.

Where they have none (NaN for everybody, or an error), ours is finite: that is why none of them is
used at run time.
"""

from collections.abc import Iterator

import numpy as np
import pytest

from services.ranking import pareto, topsis
from services.ranking.topsis import Normalization
from tests.support import libraries as other
from tests.support.libraries import Bools, Floats, Libraries, Scores, finite_or_none
from tests.support.real_matrices import (
    MLPERF_ROUNDS,
    aiconfigurator_points,
    mlperf_results,
)

TOLERANCE = 1e-9
PROBLEMS = 250
KINDS = ("spread", "ties", "nearly equal", "units")

TOPSIS = [
    (Normalization.VECTOR, "scikit-criteria"),
    (Normalization.VECTOR, "pymcdm"),
    (Normalization.MIN_MAX, "pymcdm"),
]
PARETO = ["moocore", "paretoset"]

Problem = tuple[Floats, Floats, Bools]


@pytest.fixture(scope="module")
def libraries() -> Libraries:
    """The other libraries; it takes seconds to import them."""
    return other.load()


def problems(kind: str) -> Iterator[Problem]:
    """Values, weights and directions of up to 30 alternatives by up to 8 criteria."""
    rng = np.random.default_rng(KINDS.index(kind))
    for _ in range(PROBLEMS):
        n, m = int(rng.integers(1, 31)), int(rng.integers(1, 9))
        values = rng.lognormal(0, 2, (n, m))
        if kind == "ties":
            values = rng.integers(-2, 4, (n, m)).astype(float)
        elif kind == "nearly equal":
            values = np.repeat(values[:1], n, axis=0)
            values[rng.random((n, m)) < 0.1] *= 2
        elif kind == "units":
            values *= 10.0 ** rng.integers(-100, 100, m)
        yield values, rng.uniform(0.05, 1, m), rng.random(m) < 0.5


def scores_of(libraries: Libraries, normalization: Normalization, name: str) -> Scores:
    table = libraries.vector if normalization is Normalization.VECTOR else libraries.min_max
    return table[name]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("normalization", "name"), TOPSIS)
def test_scores_are_those_of_the_library(
    libraries: Libraries, normalization: Normalization, name: str, kind: str
) -> None:
    theirs = scores_of(libraries, normalization, name)
    answered = 0
    for values, weights, up in problems(kind):
        ours = topsis.rank(values, weights, up, normalization=normalization).score
        assert ((ours >= 0) & (ours <= 1)).all()
        found = finite_or_none(theirs, values, weights, up)
        if found is not None:
            answered += 1
            np.testing.assert_allclose(ours, found, rtol=0, atol=TOLERANCE)
    # Else nothing was compared.
    assert answered > 0.8 * PROBLEMS


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", PARETO)
def test_fronts_and_ranks_are_those_of_the_library(
    libraries: Libraries, name: str, kind: str
) -> None:
    for values, _, up in problems(kind):
        ranks = pareto.pareto_rank(values, up)
        np.testing.assert_array_equal(ranks, libraries.pareto_rank[name](values, up))
        np.testing.assert_array_equal(
            pareto.front(values, up), libraries.front[name](values, up).astype(bool)
        )


@pytest.mark.parametrize(
    "values",
    [
        pytest.param([[3.0, 5.0]], id="one row"),
        pytest.param([[3.0, 5.0], [3.0, 5.0]], id="equal rows"),
        pytest.param([[0.0, 0.0], [0.0, 0.0]], id="nothing but zero"),
    ],
)
@pytest.mark.parametrize(("normalization", "name"), TOPSIS)
def test_where_nothing_differs_the_library_fails_and_ours_answers(
    libraries: Libraries, normalization: Normalization, name: str, values: list[list[float]]
) -> None:
    matrix, weights, up = np.array(values), np.ones(2), np.array([True, False])
    assert finite_or_none(scores_of(libraries, normalization, name), matrix, weights, up) is None
    ours = topsis.rank(matrix, weights, up, normalization=normalization)
    assert ours.degenerate
    assert ours.score.tolist() == [topsis.DEGENERATE_SCORE] * len(values)


@pytest.mark.parametrize("name", ["scikit-criteria", "pymcdm"])
def test_a_column_of_zeros_fails_the_library_and_says_nothing_in_ours(
    libraries: Libraries, name: str
) -> None:
    rest = np.array([[3.0, 9.0], [4.0, 2.0], [1.0, 7.0]])
    values = np.insert(rest, 1, 0.0, axis=1)
    weights, up = np.array([1.0, 5.0, 2.0]), np.array([True, True, False])
    theirs = libraries.vector[name]
    assert finite_or_none(theirs, values, weights, up) is None
    expected = finite_or_none(theirs, rest, weights[[0, 2]], up[[0, 2]])
    ours = topsis.rank(values, weights, up).score
    assert expected is not None
    np.testing.assert_allclose(ours, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(("normalization", "name"), TOPSIS)
def test_a_hole_fails_the_library_for_all_and_ours_for_its_row(
    libraries: Libraries, normalization: Normalization, name: str
) -> None:
    values = np.array([[3.0, 9.0], [4.0, np.nan], [1.0, 7.0], [2.0, 1.0]])
    weights, up = np.array([1.0, 2.0]), np.array([True, False])
    theirs = scores_of(libraries, normalization, name)
    assert finite_or_none(theirs, values, weights, up) is None
    whole = np.array([0, 2, 3])
    expected = finite_or_none(theirs, values[whole], weights, up)
    ours = topsis.rank(values, weights, up, normalization=normalization)
    assert expected is not None
    np.testing.assert_allclose(ours.score[whole], expected, rtol=0, atol=TOLERANCE)
    assert np.flatnonzero(ours.excluded).tolist() == [1]


@pytest.mark.parametrize("name", ["scikit-criteria", "pymcdm"])
def test_near_1e200_the_library_is_wrong_and_ours_scores_as_in_smaller_units(
    libraries: Libraries, name: str
) -> None:
    small = np.array([[3.0, 9.0], [4.0, 2.0], [1.0, 7.0]])
    large = small * [1.0, 1e200]
    weights, up = np.array([1.0, 2.0]), np.array([True, False])
    theirs = libraries.vector[name]
    expected = finite_or_none(theirs, small, weights, up)
    assert expected is not None
    wrong = finite_or_none(theirs, large, weights, up)
    assert wrong is not None  # it does not even fail
    assert np.abs(wrong - expected).max() > 0.1
    ours = topsis.rank(large, weights, up).score
    np.testing.assert_allclose(ours, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("source", ["aiconfigurator", *MLPERF_ROUNDS])
def test_what_was_really_measured_is_ranked_as_by_the_libraries(
    libraries: Libraries, source: str
) -> None:
    known = aiconfigurator_points() if source == "aiconfigurator" else mlperf_results(source)
    compared = 0
    for matrix in known:
        whole = matrix.whole
        values = matrix.values[whole]
        up = matrix.maximize
        for weights in (np.ones(up.size), np.arange(1.0, up.size + 1)):
            for normalization, name in TOPSIS:
                ours = topsis.rank(matrix.values, weights, up, normalization=normalization)
                np.testing.assert_array_equal(ours.excluded, ~whole, err_msg=matrix.name)
                theirs = scores_of(libraries, normalization, name)
                found = finite_or_none(theirs, values, weights, up)
                if found is None:
                    assert np.isfinite(ours.score[whole]).all(), matrix.name
                    continue
                compared += 1
                np.testing.assert_allclose(
                    ours.score[whole], found, rtol=0, atol=TOLERANCE, err_msg=matrix.name
                )
        ranks, front = pareto.pareto_rank(matrix.values, up), pareto.front(matrix.values, up)
        assert not ranks[~whole].any()
        for name in PARETO:
            np.testing.assert_array_equal(
                ranks[whole], libraries.pareto_rank[name](values, up), err_msg=matrix.name
            )
            np.testing.assert_array_equal(
                front[whole], libraries.front[name](values, up), err_msg=matrix.name
            )
    assert compared > len(known)
