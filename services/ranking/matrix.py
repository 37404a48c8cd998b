"""The condensed decision matrix: one row for each measured configuration, in numpy columns.

A cell is what a configuration's comparable runs say together, with the smallest and the largest run
and their number; see `cells`. What was not measured is NaN; nothing is ever filled in.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from services.ranking.content import ConfigRow, Content, Price, UseCase
from services.ranking.metrics import MEASURED

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

NO_USE_CASE = "00000000-0000-0000-0000-000000000000"
"""The id under which reference bounds for requests without a use case are kept."""


@dataclass(frozen=True, slots=True)
class Reference:
    """The fixed bounds of one metric for one use case: what 0 and 1 mean in FIXED_BOUNDS."""

    low: float
    high: float
    candidate_count: int
    source: str
    matrix_version: int


References = Mapping[tuple[str, int], Reference]
"""By use case id and metric."""


@dataclass(frozen=True, eq=False, slots=True)
class NameColumn:
    """A column of texts, of which few differ: code[n] is a row's place in `names`."""

    names: tuple[str, ...]
    codes: Ints

    def where(self, wanted: Callable[[str], bool]) -> Bools:
        """The rows[n] whose name is wanted; asked once for each different name."""
        keep: Bools = np.array([wanted(name) for name in self.names], dtype=np.bool_)
        return keep[self.codes]


@dataclass(frozen=True, eq=False, slots=True)
class Matrix:
    """One version of the matrix: never changed, so any number of calls may read it at once.

    Rows are in order of configuration id; columns are those of `MEASURED`.
    """

    version: int
    made_at_us: int
    digest: bytes
    content: Content
    references: References
    names: Mapping[str, NameColumn]
    gpu_count: Ints
    input_tokens: Ints  # -1: not fixed
    output_tokens: Ints  # -1: not fixed
    provenance: Ints
    value: Floats  # [n, 12]
    low: Floats  # [n, 12]
    high: Floats  # [n, 12]
    runs: Ints  # [n, 12]
    sure_low: Floats  # [n, 12] the least that the figure of all requests may be
    sure_high: Floats  # [n, 12]
    prices: Mapping[str, tuple[Price, ...]] = field(default_factory=dict)
    use_cases: Mapping[str, UseCase] = field(default_factory=dict)
    hardware: Mapping[str, str] = field(default_factory=dict)  # ids of the rows', by name and by id
    kept: dict[Any, bytes] = field(default_factory=dict)
    """Messages about its rows, see `convert_kept`; no part of what the matrix says."""

    @property
    def rows(self) -> tuple[ConfigRow, ...]:
        """The configurations, in order of their ids."""
        return self.content.rows

    def use_case(self, name_or_id: str) -> UseCase | None:
        """The use case with this short name (letter case ignored) or id; None if there is none."""
        return self.use_cases.get(name_or_id.strip().casefold())


FILTERED_NAMES = (
    "model",
    "model_id",
    "quantization",
    "hardware_config_id",
    "gpu_type",
    "cloud_provider",
    "framework",
    "workload_type",
    "organization_id",
)


def build(
    content: Content,
    *,
    version: int,
    made_at_us: int,
    digest: bytes,
    references: References | None = None,
) -> Matrix:
    """The matrix of `content`. `made_at_us` is in microseconds since 1970."""
    rows = content.rows
    cells, runs = cells_of(rows)
    # Many calls read them, and some are handed whole columns.
    for columns in (cells, runs):
        columns.setflags(write=False)
    prices: dict[str, list[Price]] = {}
    for price in content.prices:
        prices.setdefault(price.hardware_config_id, []).append(price)
    # A use case's short name goes before another's id, should somebody name one so.
    known = {use_case.id: use_case for use_case in content.use_cases}
    known |= {use_case.name.casefold(): use_case for use_case in content.use_cases}
    return Matrix(
        version=version,
        made_at_us=made_at_us,
        digest=digest,
        content=content,
        references=references or {},
        names={name: _name_column([getattr(row, name) for row in rows]) for name in FILTERED_NAMES},
        gpu_count=_ints([row.gpu_count for row in rows]),
        input_tokens=_ints([-1 if r.input_tokens is None else r.input_tokens for r in rows]),
        output_tokens=_ints([-1 if r.output_tokens is None else r.output_tokens for r in rows]),
        provenance=_ints([row.provenance for row in rows]),
        value=cells[0],
        low=cells[1],
        high=cells[2],
        runs=runs,
        sure_low=cells[3],
        sure_high=cells[4],
        prices={hardware: tuple(group) for hardware, group in prices.items()},
        use_cases=known,
        hardware=hardware_of(rows),
    )


def hardware_of(rows: Sequence[ConfigRow]) -> dict[str, str]:
    """The ids of the rows' hardware configurations, by their names without letter case and ids."""
    ids = {row.hardware.casefold(): row.hardware_config_id for row in rows}
    return ids | {identifier: identifier for identifier in ids.values()}


def cells_of(rows: Sequence[ConfigRow]) -> tuple[Floats, Ints]:
    """Value, low, high and the sure ends of all figures[5, n, 12], and their runs[n, 12]."""
    # Each column lies together, for that is how they are read.
    cells = np.full((5, len(MEASURED), len(rows)), np.nan).transpose(0, 2, 1)
    runs = np.zeros((len(MEASURED), len(rows)), dtype=np.int64).T
    places = {info.column: place for place, info in enumerate(MEASURED)}
    for index, row in enumerate(rows):
        for column, figure in row.figures.items():
            place = places[column]
            cells[:, index, place] = figure.value, figure.low, figure.high, *figure.sure
            runs[index, place] = figure.runs
    return cells, runs


def _ints(values: Sequence[int]) -> Ints:
    return np.array(values, dtype=np.int64)


def _name_column(values: Sequence[str]) -> NameColumn:
    names = tuple(sorted(set(values)))
    codes = {name: code for code, name in enumerate(names)}
    return NameColumn(names, _ints([codes[value] for value in values]))
