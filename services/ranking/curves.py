"""The curves of a matrix that lead through an operating point, and whose they are.

A *system* is what stays the same along a curve: model version, machine with its GPUs, framework
version, kind of workload, parallelism, where the figures come from, and whose they are. A *target*
is a system at the operating point, with whatever the point leaves open fixed: as there may be one
curve over the concurrency at 512 input tokens and another at 2048. A curve's points are rows of one
target that differ from the operating point, and from each other, in one load or length only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter

import numpy as np

from services.ranking.matrix import Bools, Floats, Ints, Matrix
from services.ranking.options import OperatingPoint

AXES = ("concurrency", "request_rate", "input_tokens", "output_tokens")
"""What the points of a curve may differ in, loads before lengths: fields of a `ConfigRow`."""

# A version has one quantization, a machine one number of GPUs.
_SYSTEM = attrgetter(
    "model_version_id",
    "hardware_config_id",
    "framework",
    "framework_version",
    "workload_type",
    "parallelism",
    "provenance",
    "organization_id",
)
_PLACE = attrgetter(*AXES)


@dataclass(frozen=True, eq=False, slots=True)
class Curve:
    """Points that differ in one load or length only, in rising order of it."""

    axis: str  # of AXES
    rows: Ints  # [k] of the matrix
    places: Floats  # [k] their loads or lengths

    def row_at(self, place: float) -> int:
        """The row at a measured place."""
        return int(self.rows[np.searchsorted(self.places, place)])


@dataclass(frozen=True, eq=False, slots=True)
class Target:
    """A system at the operating point, with the curves that lead through it."""

    measured: bool
    """Whether it was measured right there; then there are no curves."""
    curves: tuple[Curve, ...]  # in the order of AXES


def targets(matrix: Matrix, keep: Bools, point: OperatingPoint) -> list[Target]:
    """The targets of the rows that are kept[n], in order of their first rows.

    Of two models, GPU counts or parallelisms nothing comes together, nor of two provenances, and
    rows that differ from the point in more than one load or length are on no curve.
    """
    systems, loads = _systems(matrix)
    rows = np.flatnonzero(keep)
    wanted = _wanted(point)
    asked = np.array([axis in wanted for axis in AXES])
    values = np.array([wanted.get(axis, np.nan) for axis in AXES])
    at = loads[rows]
    codes = _codes(systems[rows], at[:, ~asked])
    # NaN, which is not fixed, differs from everything.
    differs = (at != values) & asked
    count = differs.sum(axis=1)
    total = int(codes.max()) + 1 if rows.size else 0
    measured = np.zeros(total, dtype=np.bool_)
    measured[codes[count == 0]] = True
    curves: list[list[Curve]] = [[] for _ in range(total)]
    for column in np.flatnonzero(asked):
        on_axis = (count == 1) & differs[:, column] & ~np.isnan(at[:, column]) & ~measured[codes]
        points = np.flatnonzero(on_axis)
        points = points[np.lexsort((at[points, column], codes[points]))]
        starts = np.flatnonzero(np.diff(codes[points], prepend=-1))
        for group in np.split(points, starts[1:]) if points.size else ():
            curve = Curve(AXES[column], rows[group], at[group, column])
            curves[codes[group[0]]].append(curve)
    return [Target(bool(m), tuple(found)) for m, found in zip(measured, curves, strict=True)]


def _wanted(point: OperatingPoint) -> Mapping[str, float]:
    """What the point fixes, by the axis."""
    given = zip(AXES, _PLACE(point), strict=True)
    return {axis: float(value) for axis, value in given if value is not None}


# Each request would group ten thousand rows anew, which takes longer than its whole answer.
@lru_cache(maxsize=1)
def _systems(matrix: Matrix) -> tuple[Ints, Floats]:
    """The number of each row's system[n], and its loads and lengths[n, 4], NaN if not fixed."""
    numbers: dict[tuple[object, ...], int] = {}
    systems = [numbers.setdefault(_SYSTEM(row), len(numbers)) for row in matrix.rows]
    places = [_PLACE(row) for row in matrix.rows]
    return (
        np.array(systems, dtype=np.int64),
        np.array(places, dtype=np.float64).reshape(len(places), len(AXES)),
    )


def _codes(systems: Ints, open_values: Floats) -> Ints:
    """A number[r] for each system and what the point leaves open, in order of their first rows."""
    # -1 for what is not fixed: two NaN would not be the same.
    key = np.column_stack([systems.astype(np.float64), np.nan_to_num(open_values, nan=-1.0)])
    _, first, code = np.unique(key, axis=0, return_index=True, return_inverse=True)
    order = np.empty_like(first)
    order[np.argsort(first)] = np.arange(first.size)
    found: Ints = order[code.reshape(-1)]
    return found
