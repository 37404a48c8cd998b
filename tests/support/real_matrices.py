"""Decision matrices of real measurements: ai-dynamo's aiconfigurator points, MLPerf Inference."""

import csv
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tests.support.shared_data import shared_data

MLPERF_ROUNDS: Final = ("5.0", "5.1")

_MLPERF_CORNER: Final = "Benchmark  /  Model MLC  /  Scenario  /  Units"
_MLPERF_RESULT: Final = "Avg. Result at System Name"
_MLPERF_SIZES: Final = ("# of Accelerators", "# of Nodes")


@dataclass(frozen=True, eq=False)
class RealMatrix:
    """Measured alternatives by criteria; NaN where a source has no figure."""

    name: str
    ids: tuple[str, ...]
    criteria: tuple[str, ...]
    values: npt.NDArray[np.float64]  # [n, m]
    maximize: npt.NDArray[np.bool_]  # [m]

    @property
    def whole(self) -> npt.NDArray[np.bool_]:
        """The rows[n] without a hole: the only ones that a library can take."""
        found: npt.NDArray[np.bool_] = np.all(np.isfinite(self.values), axis=1)
        return found


def aiconfigurator_points() -> list[RealMatrix]:
    """All points by TTFT, TPOT and concurrency, then those of each pair of lengths alone.

    Skips the test where the shared files are absent.
    """
    with shared_data("aiconfigurator", "silicon_sample.dev.csv").open(newline="") as document:
        points = list(csv.DictReader(document))
    groups = [("all lengths", points)]
    for (isl, osl), group in groupby(sorted(points, key=_lengths), key=_lengths):
        groups.append((f"{isl} to {osl} tokens", list(group)))
    return [
        RealMatrix(
            f"aiconfigurator, {name}",
            tuple(point["id"] for point in group),
            ("TTFT", "TPOT", "concurrency"),
            np.array([_point(point) for point in group]),
            np.array([False, False, True]),
        )
        for name, group in groups
    ]


def mlperf_results(version: str) -> list[RealMatrix]:
    """A round's systems by size and by rate in each scenario, a matrix for each benchmark.

    Skips the test where the shared files are absent.
    """
    folder = shared_data("openshift-psap-performance-dashboard", "mlperf-data")
    rows = _read(folder / f"mlperf-{version}.csv")
    first = rows[0].index(_MLPERF_CORNER)
    benchmarks: dict[str, list[int]] = {}
    for column, name in enumerate(_filled(rows[2])):
        if column >= first:
            benchmarks.setdefault(name, []).append(column)
    systems = list(_systems(rows[5:], first - 1))
    return [
        _of_benchmark(f"MLPerf {version}, {name}", systems, rows[3], columns)
        for name, columns in benchmarks.items()
    ]


def _lengths(point: dict[str, str]) -> tuple[int, int]:
    return int(point["isl"]), int(point["osl"])


def _point(point: dict[str, str]) -> tuple[float, float, float]:
    # One point does not tell its concurrency.
    told = re.search(r"silicon_concurrency=(\d+)", point["silicon_data_source"])
    concurrency = float(told[1]) if told else math.nan
    return float(point["silicon_ttft_ms"]), float(point["silicon_tpot_ms"]), concurrency


def _read(path: Path) -> list[list[str]]:
    with path.open(newline="") as document:
        return list(csv.reader(document))


def _filled(cells: Sequence[str]) -> Iterator[str]:
    """The cells of a heading that is written over the first of several columns only."""
    last = ""
    for cell in cells:
        last = cell or last
        yield last


def _systems(rows: Sequence[list[str]], label: int) -> Iterator[tuple[str, dict[str, list[str]]]]:
    """Each system's id and its lines by their label: a line with the id begins its block."""
    lines: dict[str, list[str]] = {}
    for row in rows:
        if row[0]:
            lines = {}
            yield row[0], lines
        lines[row[label].strip()] = row


def _of_benchmark(
    name: str,
    systems: Sequence[tuple[str, dict[str, list[str]]]],
    scenarios: Sequence[str],
    columns: Sequence[int],
) -> RealMatrix:
    # A system that ran some of the scenarios has holes, one that ran none has no row.
    ran = [(who, lines) for who, lines in systems if any(lines[_MLPERF_RESULT][c] for c in columns)]
    values: list[list[float]] = []
    for _, lines in ran:
        sizes = [max(_number(lines[size][c], 0.0) for c in columns) for size in _MLPERF_SIZES]
        values.append(sizes + [_number(lines[_MLPERF_RESULT][c]) for c in columns])
    rates: list[Any] = [scenarios[c] for c in columns]
    return RealMatrix(
        name,
        tuple(who for who, _ in ran),
        (*_MLPERF_SIZES, *rates),
        np.array(values),
        np.array([False] * len(_MLPERF_SIZES) + [True] * len(rates)),
    )


def _number(text: str, absent: float = math.nan) -> float:
    return float(text.replace(",", "")) if text else absent
