"""MLPerf's `mlperf_log_summary.txt`, as the load generator writes it.

Read from loadgen of mlcommons/inference: nanoseconds, `name : value` a line. Interactive runs call
themselves Server; only the submission's folders tell them apart:
`<division>/<submitter>/results/<system>/<model>/<scenario>/performance/run_1/`.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from servemark.client.records import ResultRecord
from servemark.importers.base import (
    FIELD_INVALID,
    NO_METRICS,
    RUN_FAILED,
    Document,
    Rejection,
    finish,
)
from servemark.importers.context import Context
from servemark.importers.documents_text import MLPERF_TITLE
from servemark.importers.mlperf import workload
from servemark.importers.reported import detailed, reported
from servemark.importers.values import number, positive

NOTE_ZERO_TTFT = "every first-token latency is 0: the system never reported its first tokens"

_LINE = re.compile(r"\s*([^:]+?)\s*:\s*(\S.*?)\s*$")
_PERCENTS = (50, 90, 95, 99)


class MlperfLogImporter:
    """Reads the summary of one performance run."""

    name = "mlperf-log"
    markers = "MLPerf mlperf_log_summary.txt (MLPerf Results Summary)"

    def recognises(self, document: Any) -> bool:
        """Whether the text begins with the title of a summary."""
        return isinstance(document, str) and MLPERF_TITLE in document[:1024]

    def records(self, document: Document, context: Context) -> Iterator[ResultRecord | Rejection]:
        """The one record of a summary, or the reason there is none."""
        figures, doubled = _figures(document.data)
        if doubled:
            yield Rejection(
                FIELD_INVALID,
                f"The log has two values for {', '.join(doubled[:3])}; it may be of two runs.",
                document.place,
            )
            return
        if figures.get("Mode", "PerformanceOnly") != "PerformanceOnly":
            yield Rejection(
                NO_METRICS, f"The run's mode is {figures['Mode']}, not performance.", document.place
            )
            return
        if figures.get("Result is") != "VALID":
            yield Rejection(
                RUN_FAILED,
                f"MLPerf calls the result {figures.get('Result is', 'nothing')}, not VALID.",
                document.place,
            )
            return
        folders = _folders(document.path)
        scenario = figures.get("Scenario", "")
        notes: list[str] = []
        values: dict[str, Any] = {
            "tool": "mlperf-loadgen",
            **_latencies(figures, notes),
            "throughput_tokens_sec": _either(
                figures, "Completed tokens per second", "Tokens per second"
            ),
            "rps_sustained": _either(figures, "Completed samples per second", "Samples per second"),
            # Offline sends everything at once.
            "request_rate": (
                positive(figures.get("target_qps")) if scenario.lower() == "server" else None
            ),
            "source_sha256": document.sha256,
            "detailed_metrics": detailed(
                reported([*folders.items(), *_numbers(figures)]), notes=notes
            ),
        }
        presumed = {
            "model": folders.get("model"),
            # The folder of the scenario says it, or that of the model.
            "workload_type": workload("/".join(folders.values()) or str(document.path), scenario),
            "provenance": "measured",
        }
        yield finish(values, document, context, presumed)


def _figures(text: str) -> tuple[dict[str, str], list[str]]:
    """The log's values by name, and the names that have two values."""
    figures: dict[str, str] = {}
    doubled = []
    for line in text.splitlines():
        if (found := _LINE.match(line)) is None:
            continue
        name, value = found[1], found[2]
        if figures.setdefault(name, value) != value and name not in doubled:
            doubled.append(name)
    return figures, doubled


def _latencies(figures: dict[str, str], notes: list[str]) -> dict[str, float | None]:
    values: dict[str, float | None] = {}
    names = {"ttft": "first token latency", "tpot": "time to output token"}
    for metric, name in names.items():
        found = {
            percent: number(figures.get(f"{percent:.2f} percentile {name} (ns)"))
            for percent in _PERCENTS
        }
        if any(found.values()):
            # Divided, not multiplied by 1e-6: so the last digit is the nearest one.
            values |= {
                f"{metric}_p{percent}_ms": None if figure is None else figure / 1e6
                for percent, figure in found.items()
            }
        elif metric == "ttft" and 0 in found.values():
            notes.append(NOTE_ZERO_TTFT)
    return values


def _either(figures: dict[str, str], *names: str) -> float | None:
    return next((found for name in names if (found := number(figures.get(name))) is not None), None)


def _numbers(figures: dict[str, str]) -> Iterator[tuple[str, Any]]:
    for name, value in figures.items():
        figure = number(value)
        yield name, value if figure is None else figure


def _folders(path: Path) -> dict[str, str]:
    """System, model and scenario of a log that lies where submissions have it."""
    parts = path.parts
    if "results" not in parts:
        return {}
    below = parts[parts.index("results") + 1 : -1]
    return dict(zip(("system", "model", "scenario"), below, strict=False)) if len(below) > 2 else {}


importer = MlperfLogImporter()
