"""Candidates at an operating point they were not measured at, estimated along their own curves.

The rest of a ranking takes them as further rows of the matrix: their figures are in between those
that were measured, and `low` and `high` are as far off as the error of the estimate. Limits are
judged by these, so that an estimate keeps one only if it does with its error.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import TypeVar
from uuid import UUID, uuid5

import numpy as np
import numpy.typing as npt

# By its name in the module: to look it up in the enum takes longer than the rest of a figure.
from servemark.ranking.v1.candidate_pb2 import CELL_METHOD_INTERPOLATED, Notice
from servemark.type.v1.provenance_pb2 import Provenance
from services.ranking.candidates import (
    Candidates,
    Filter,
    PriceBasis,
    candidates_of,
    passes,
    select,
)
from services.ranking.cells import Figure
from services.ranking.content import ConfigRow, UseCase
from services.ranking.curves import Curve, targets
from services.ranking.estimates import Estimate, Refusal, estimate_each
from services.ranking.matrix import Bools, Ints, Matrix, NameColumn, cells_of
from services.ranking.metrics import MEASURED
from services.ranking.notices import Message
from services.ranking.options import OperatingPoint

Number = TypeVar("Number", bound=np.generic)

_COMMON = tuple(field.name for field in fields(ConfigRow))

_IDS = UUID("3c6f2d3e-5d0c-5c0e-9a55-6f1f1b0c7a41")
"""The namespace of the ids of what was estimated."""

_WHY: dict[Refusal | None, str] = {
    Refusal.ABOVE_MEASURED: "it lies above everything measured of {}",
    Refusal.BELOW_MEASURED: "it lies below everything measured of {}",
    Refusal.NOT_ONE_CURVE: "of {} two different points were measured at the same place",
    Refusal.TOO_FEW_POINTS: "fewer than three points of one curve were measured of {}",
    None: "nothing that differs from it in one load or length only was measured of {}",
}
"""Why there is no estimate, the most telling first. None: there is no curve."""


@dataclass(frozen=True, slots=True)
class EstimatedRow(ConfigRow):
    """A configuration at a load and lengths it was not measured at."""

    axis: str
    """What the points of its curve differ in: a field of a `ConfigRow`."""
    config_ids: tuple[str, str]
    """The two measured configurations it lies between, the one with less first."""
    estimates: tuple[tuple[int, Estimate], ...]
    """By metric, in their order."""


def select_with_estimates(
    matrix: Matrix,
    point: OperatingPoint | None,
    chosen: Filter,
    basis: PriceBasis,
    use_case: UseCase | None,
) -> tuple[Candidates, list[Message]]:
    """The candidates of a request, and those estimated at `point`, None: none.

    What was measured at the point stays as it is. Nothing is estimated from estimates.
    """
    if point is None:
        return select(matrix, chosen, basis, use_case), []
    found, refused = _estimated(matrix, _of_the_point(matrix, point, chosen, use_case), point)
    keep = np.append(passes(matrix, chosen, use_case), np.ones(len(found), dtype=np.bool_))
    wider, order = _with_rows(matrix, found)
    return candidates_of(wider, np.flatnonzero(keep[order]), basis), _refusals(refused)


def are_estimated(candidates: Candidates) -> Bools:
    """Which candidates[k] were estimated for their request."""
    rows = (candidates.row(index) for index in range(len(candidates)))
    return np.array([isinstance(row, EstimatedRow) for row in rows], dtype=np.bool_)


def _of_the_point(
    matrix: Matrix, point: OperatingPoint, chosen: Filter, use_case: UseCase | None
) -> Bools:
    """The rows[n] that would pass the filter if they had the lengths of the point."""

    def lengths(measured: Ints, wanted: int | None) -> Ints:
        return measured if wanted is None else np.full_like(measured, wanted)

    there = replace(
        matrix,
        input_tokens=lengths(matrix.input_tokens, point.input_tokens),
        output_tokens=lengths(matrix.output_tokens, point.output_tokens),
    )
    kept = passes(there, chosen, use_case)
    kept &= matrix.provenance != Provenance.PROVENANCE_ESTIMATED
    return kept


def _estimated(
    matrix: Matrix, keep: Bools, point: OperatingPoint
) -> tuple[list[EstimatedRow], Counter[Refusal | None]]:
    """What could be estimated at the point, and how often it could not, by the reason."""
    rows: list[EstimatedRow] = []
    refused: Counter[Refusal | None] = Counter()
    wanted = [target for target in targets(matrix, keep, point) if not target.measured]
    drawn = iter(
        estimate_each(
            (curve.places, matrix.value[curve.rows], getattr(point, curve.axis))
            for target in wanted
            for curve in target.curves
        )
    )
    for target in wanted:
        row = _best(matrix, [(curve, next(drawn)) for curve in target.curves], point)
        if isinstance(row, EstimatedRow):
            rows.append(row)
        else:
            refused[row] += 1
    return rows, refused


def _best(
    matrix: Matrix,
    drawn: Iterable[tuple[Curve, Sequence[Estimate | Refusal]]],
    point: OperatingPoint,
) -> EstimatedRow | Refusal | None:
    """The estimate along the curve that was tried on most points; of equal ones the first.

    Not the one with the smallest error: that one would be too small as often as not.
    """
    best: tuple[Curve, dict[int, Estimate]] | None = None
    most, refused = 0, set()
    for curve, each in drawn:
        along: dict[int, Estimate] = {}
        for info, found in zip(MEASURED, each, strict=True):
            if isinstance(found, Estimate):
                along[info.metric] = found
            else:
                refused.add(found)
        tested = sum(found.tested for found in along.values())
        if tested > most:
            best, most = (curve, along), tested
    if best is None:
        return next((why for why in _WHY if why in refused), None)
    return _row(matrix, *best, point)


def _row(
    matrix: Matrix, curve: Curve, found: dict[int, Estimate], point: OperatingPoint
) -> EstimatedRow:
    """The estimated configuration, with what its neighbours have in common."""
    # Most figures lie between the same two points.
    row_at = {
        end: curve.row_at(end) for end in {end for one in found.values() for end in one.between}
    }
    below = row_at[max(one.between[0] for one in found.values())]
    above = row_at[min(one.between[1] for one in found.values())]
    ends = matrix.rows[below], matrix.rows[above]
    wanted = getattr(point, curve.axis)
    common = {name: getattr(ends[0], name) for name in _COMMON}
    changed = {
        "config_id": str(uuid5(_IDS, f"{ends[0].config_id} {ends[1].config_id} {wanted!r}")),
        curve.axis: wanted,
        "provenance": Provenance.PROVENANCE_ESTIMATED,
        "run_count": sum(end.run_count for end in ends),
        "newest_benchmark_us": max(end.newest_benchmark_us for end in ends),
        "tools": tuple(sorted({tool for end in ends for tool in end.tools})),
        "figures": {
            info.column: _figure(
                found[info.metric],
                sum(int(matrix.runs[row_at[end], place]) for end in found[info.metric].between),
            )
            for place, info in enumerate(MEASURED)
            if info.metric in found
        },
    }
    return EstimatedRow(
        **{**common, **changed},
        axis=curve.axis,
        config_ids=(ends[0].config_id, ends[1].config_id),
        estimates=tuple(found.items()),
    )


def _figure(found: Estimate, runs: int) -> Figure:
    return Figure(
        value=found.value,
        # No metric is below 0, however large the error is.
        low=max(found.low, 0.0),
        high=found.high,
        runs=runs,
        method=CELL_METHOD_INTERPOLATED,
        requests=0,
        newest_us=None,
        span=None,
    )


def _with_rows(matrix: Matrix, found: Sequence[EstimatedRow]) -> tuple[Matrix, Ints]:
    """The matrix with further rows, in order of id, and which of both each[n] of its rows is."""
    if not found:
        return matrix, np.arange(len(matrix.rows))
    rows = (*matrix.rows, *found)
    order = np.array(sorted(range(len(rows)), key=lambda index: rows[index].config_id))
    # Their names are those of what they are estimated from.
    place = {row.config_id: index for index, row in enumerate(matrix.rows)}
    source = np.array([place[row.config_ids[0]] for row in found])
    (value, low, high, sure_low, sure_high), runs = cells_of(found)

    def merged(ours: npt.NDArray[Number], theirs: npt.NDArray[Number]) -> npt.NDArray[Number]:
        both: npt.NDArray[Number] = np.concatenate([ours, theirs])[order]
        return both

    def lengths(name: str) -> Ints:
        return np.array([-1 if (n := getattr(row, name)) is None else n for row in found])

    return replace(
        matrix,
        content=replace(matrix.content, rows=tuple(rows[index] for index in order)),
        names={
            name: NameColumn(column.names, merged(column.codes, column.codes[source]))
            for name, column in matrix.names.items()
        },
        gpu_count=merged(matrix.gpu_count, matrix.gpu_count[source]),
        input_tokens=merged(matrix.input_tokens, lengths("input_tokens")),
        output_tokens=merged(matrix.output_tokens, lengths("output_tokens")),
        provenance=merged(matrix.provenance, np.array([row.provenance for row in found])),
        value=merged(matrix.value, value),
        low=merged(matrix.low, low),
        high=merged(matrix.high, high),
        runs=merged(matrix.runs, runs),
        sure_low=merged(matrix.sure_low, sure_low),
        sure_high=merged(matrix.sure_high, sure_high),
    ), order


def _refusals(refused: Counter[Refusal | None]) -> list[Message]:
    """The notice of how many configurations nothing was estimated for, by the reason."""
    if not refused:
        return []
    total = refused.total()
    reasons = "; ".join(text.format(refused[why]) for why, text in _WHY.items() if refused[why])
    text = (
        f"For {total} configuration{'s' * (total > 1)} nothing was estimated at the operating "
        f"point: {reasons}."
    )
    return [Message(Notice.KIND_OUTSIDE_MEASURED, text)]
