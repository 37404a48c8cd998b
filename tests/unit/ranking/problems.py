"""Ranking problems for property tests: of any finite numbers, or of few, so that ties abound."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from services.ranking.topsis import Normalization

GRID = st.integers(-2, 4).map(float)
"""Few values: equal rows, equal columns, zero columns."""

ANY = st.one_of(
    GRID,
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(
        [1e200, -1e200, 3e200, 1e-200, 2e-200, 5e-324, 1e-323, -0.0, 1.7e308, -1.7e308]
    ),
)

HOLES = st.one_of(GRID, st.sampled_from([float("nan"), float("inf"), float("-inf")]))


@dataclass(frozen=True)
class Problem:
    values: npt.NDArray[np.float64]
    weights: npt.NDArray[np.float64]
    maximize: npt.NDArray[np.bool_]
    normalization: Normalization
    bounds: npt.NDArray[np.float64] | None


@st.composite
def problems(
    draw: st.DrawFn,
    cells: st.SearchStrategy[float] = ANY,
    normalizations: tuple[Normalization, ...] = tuple(Normalization),
    max_rows: int = 9,
) -> Problem:
    n, m = draw(st.integers(1, max_rows)), draw(st.integers(1, 9))
    rows = draw(st.lists(st.lists(cells, min_size=m, max_size=m), min_size=n, max_size=n))
    weights = draw(st.lists(st.floats(1e-3, 1e3), min_size=m, max_size=m))
    maximize = draw(st.lists(st.booleans(), min_size=m, max_size=m))
    normalization = draw(st.sampled_from(normalizations))
    bounds = None
    if normalization is Normalization.FIXED_BOUNDS:
        ends = st.tuples(st.floats(-3, 1), st.floats(1.5, 5))
        bounds = np.array(draw(st.lists(ends, min_size=m, max_size=m)))
    return Problem(np.array(rows), np.array(weights), np.array(maximize), normalization, bounds)
