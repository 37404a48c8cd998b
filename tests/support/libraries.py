"""Other people's TOPSIS and Pareto fronts, asked for the same as ours.

They are slow to import, scikit-criteria above all, so `load` waits until a test asks for them. Each
function takes a complete matrix, values[n, m], weights[m] and maximize[m], and raises or gives NaN
wherever the library does.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import moocore
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

Scores = Callable[[Floats, Floats, Bools], Floats]


@dataclass(frozen=True)
class Libraries:
    """By the library's name: functions that score, find the front, and rank by fronts."""

    vector: dict[str, Scores]
    min_max: dict[str, Scores]
    front: dict[str, Callable[[Floats, Bools], Bools]]
    pareto_rank: dict[str, Callable[[Floats, Bools], Ints]]


def finite_or_none(scores: Scores, values: Floats, weights: Floats, up: Bools) -> Floats | None:
    """The library's scores; None where it raises, or where any of them is NaN."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            found = scores(values, weights, up)
    except ValueError:  # scikit-criteria's, about NaN in a matrix that it has normalized itself
        return None
    return found if np.isfinite(found).all() else None


def load() -> Libraries:
    """The libraries, imported now."""
    import skcriteria
    from paretoset import paretorank, paretoset
    from pymcdm.methods import TOPSIS
    from pymcdm.normalizations import minmax_normalization, vector_normalization
    from skcriteria.agg import topsis as skcriteria_topsis
    from skcriteria.preprocessing.invert_objectives import NegateMinimize
    from skcriteria.preprocessing.scalers import VectorScaler

    def skcriteria_vector(values: Floats, weights: Floats, up: Bools) -> Floats:
        # It refuses to minimise. Negated costs keep their distances, inverted ones (its other way)
        # would not.
        given = skcriteria.mkdm(values, np.where(up, 1, -1).tolist(), weights=shares(weights))
        scaled = VectorScaler("matrix").transform(NegateMinimize().transform(given))
        similarity: Any = skcriteria_topsis.TOPSIS().evaluate(scaled).e_.similarity
        return np.asarray(similarity, dtype=np.float64)

    def pymcdm(normalization: Any) -> Scores:
        # It takes costs as they are, as 1 - r. Its own default would be min-max.
        method = TOPSIS(normalization_function=normalization)

        def scores(values: Floats, weights: Floats, up: Bools) -> Floats:
            types = np.where(up, 1, -1)
            return np.asarray(method(values, shares(weights), types, validation=False))

        return scores

    def sense(up: Bools) -> list[str]:
        return ["max" if flag else "min" for flag in up]

    # Compiled by numba they take three seconds more before they begin.
    return Libraries(
        vector={"scikit-criteria": skcriteria_vector, "pymcdm": pymcdm(vector_normalization)},
        min_max={"pymcdm": pymcdm(minmax_normalization)},
        front={
            "moocore": lambda v, up: moocore.is_nondominated(v, maximise=up, keep_weakly=True),
            "paretoset": lambda v, up: paretoset(v, sense(up), distinct=False, use_numba=False),
        },
        pareto_rank={
            "moocore": lambda v, up: moocore.pareto_rank(v, maximise=up) + 1,
            "paretoset": lambda v, up: paretorank(v, sense(up), distinct=False, use_numba=False),
        },
    )


def shares(weights: Floats) -> Floats:
    """The weights with the sum 1 that the libraries ask for."""
    scaled: Floats = weights / weights.sum()
    return scaled
