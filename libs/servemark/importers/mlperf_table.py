"""MLPerf's results as the published table exports them: a CSV with five rows of names.

Benchmarks stand in columns, under a model, a scenario and a unit; a system has one row for each
figure, of which only "Avg. Result at System Name" is its result. Accelerators are counted for one
node.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from servemark.client.records import ResultRecord
from servemark.importers.base import FIELD_INVALID, Document, Rejection, finish
from servemark.importers.context import Context
from servemark.importers.documents_table import Table
from servemark.importers.mlperf import rates, workload
from servemark.importers.reported import detailed, reported
from servemark.importers.values import number

_ID, _RESULT, _DIVISION = "Public ID", "Avg. Result at System Name", "Division/Power"
_SYSTEM = ("Public ID", "Organization", "Availability", "System Name", "# of Nodes", "Code")


class MlperfTableImporter:
    """Reads a round's table."""

    name = "mlperf-table"
    markers = "MLPerf results table (CSV: Public ID, # of Accelerators, Avg. Result at System Name)"

    def recognises(self, document: Any) -> bool:
        """Whether the table has MLPerf's columns below its rows of benchmarks."""
        return isinstance(document, Table) and _names_row(document) is not None

    def records(self, document: Document, context: Context) -> Iterator[ResultRecord | Rejection]:
        """A record, or the reason there is none, for each system's result in each benchmark."""
        rows = document.data.rows
        start = _names_row(document.data)
        if start is None or start < 2:
            yield Rejection(FIELD_INVALID, "The table has no rows of benchmarks.", document.place)
            return
        models, scenarios, units = _filled(rows[start - 2]), rows[start - 1], rows[start]
        first = units.index(_DIVISION) + 2
        system: dict[str, str] = {}
        counts: dict[str, Sequence[str]] = {}
        for row in rows[start + 1 :]:
            if row and row[0]:
                system, counts = _system(units, row), {}
            label = row[first - 1].strip() if len(row) >= first else ""
            counts[label] = row
            if label != _RESULT:
                continue
            for column in range(first, min(map(len, (row, models, scenarios, units)))):
                if row[column].strip():
                    yield _record(
                        (models[column], scenarios[column], units[column], row[column]),
                        system,
                        {
                            name: cells[column]
                            for name, cells in counts.items()
                            if column < len(cells)
                        },
                        document,
                        context,
                    )


def _names_row(table: Table) -> int | None:
    """The row with the names of the columns, which are the units of the benchmarks too."""
    for index, row in enumerate(table.rows[:10]):
        if row and row[0] == _ID and _DIVISION in row:
            return index
    return None


def _filled(row: Sequence[str]) -> list[str]:
    """The models' names, each over all of its scenarios: the export writes them once."""
    filled, last = [], ""
    for name in row:
        last = name.strip() or last
        filled.append(last)
    return filled


def _system(names: Sequence[str], row: Sequence[str]) -> dict[str, str]:
    """The columns of a system; of those that occur twice the first."""
    system: dict[str, str] = {}
    for name, cell in zip(names, row, strict=False):
        system.setdefault(name.removesuffix(" (click + for details)").strip(), cell.strip())
    return system


def _record(
    result: tuple[str, str, str, str],
    system: dict[str, str],
    counts: dict[str, str],
    document: Document,
    context: Context,
) -> ResultRecord | Rejection:
    model, scenario, unit, cell = result
    place = f"{document.place} ({system.get('Public ID')}, {model} {scenario})"
    figure = number(cell.replace(",", ""))
    found, notes = rates(model, unit, figure) if figure is not None else ({}, [])
    if not found:
        return Rejection(FIELD_INVALID, f"{cell[:64]} {unit[:64]} is no rate.", place)
    accelerators, nodes = (
        # The figures' own counts; they repeat the system's.
        number(counts.get(name) or system.get(name))
        for name in ("# of Accelerators", "# of Nodes")
    )
    accelerator = system.get("Accelerator")
    values: dict[str, Any] = {
        "tool": "mlperf",
        **found,
        "model": model or None,
        "hardware": None if accelerator in ("", "N/A") else accelerator,
        # 0 where there is none: a result without GPUs is refused, whatever the context says.
        "gpu_count": None if accelerators is None or nodes is None else accelerators * nodes,
        "source_sha256": document.sha256,
        "detailed_metrics": detailed(
            reported(
                [
                    *((name, system.get(name)) for name in _SYSTEM),
                    ("Division", system.get(_DIVISION)),
                    ("Scenario", scenario),
                    ("Result", figure),
                    ("Unit", unit),
                ]
            ),
            notes=notes,
        ),
    }
    presumed = {
        "workload_type": workload(model, scenario),
        "provenance": "measured",
    }
    outcome = finish(values, document, context, presumed)
    if isinstance(outcome, Rejection):
        return Rejection(outcome.reason, outcome.detail, place)
    return outcome


importer = MlperfTableImporter()
