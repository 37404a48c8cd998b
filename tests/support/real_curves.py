"""Curves of real measurements: each figure of one system over the load or the input length.

Of ai-dynamo's aiconfigurator, dstack's benchmarks and Kubernetes' inference-perf; those of llm-d's
planner are simulated.
"""

import csv
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tests.support.shared_data import shared_data

_NO_PART_OF_A_SYSTEM: Final = (
    "id",
    "silicon_data_source",
    "silicon_ttft_ms",
    "silicon_tpot_ms",
    # They follow the concurrency.
    "batch_size",
    "prefill_batch_size",
    "decode_batch_size",
)
_DSTACK_COLUMNS: Final = (
    "Median TTFT (ms)",
    "Median TPOT (ms)",
    "Output token throughput (tok/s)",
)
_SIMULATED_FIGURES: Final = ("ttft_p90", "itl_mean", "tokens_per_second")


@dataclass(frozen=True, eq=False)
class RealCurve:
    """One figure at four or more places, in rising order of them."""

    source: str
    figure: str
    places: npt.NDArray[np.float64]  # [k]
    values: npt.NDArray[np.float64]  # [k], above 0


def measured_curves() -> list[RealCurve]:
    """Every measured curve. Skips the test where the shared files are absent."""
    return [*_aiconfigurator(), *_dstack_csv(), *_dstack_json(), *_inference_perf()]


def simulated_curves() -> list[RealCurve]:
    """The planner's 125 simulated systems over the request rate. Skips the test likewise."""
    path = shared_data("llm-d-planner", "data", "benchmarks", "performance", "benchmarks_BLIS.json")
    system = (
        "model_hf_repo",
        "hardware",
        "hardware_count",
        "framework_version",
        "prompt_tokens",
        "output_tokens",
    )
    groups: dict[Any, list[tuple[float, list[float]]]] = defaultdict(list)
    for row in json.loads(path.read_text())["benchmarks"]:
        point = row["requests_per_second"], [row[name] for name in _SIMULATED_FIGURES]
        groups[tuple(row[name] for name in system)].append(point)
    return [
        curve
        for points in groups.values()
        for curve in _curves("planner", _SIMULATED_FIGURES, points)
    ]


def _aiconfigurator() -> Iterator[RealCurve]:
    path = shared_data("aiconfigurator", "silicon_sample.dev.csv")
    groups: dict[Any, list[tuple[float, list[float]]]] = defaultdict(list)
    with path.open(newline="") as document:
        for row in csv.DictReader(document):
            told = re.search(r"silicon_concurrency=(\d+)", row["silicon_data_source"])
            if told is None:
                continue
            system = tuple(v for name, v in row.items() if name not in _NO_PART_OF_A_SYSTEM)
            figures = [float(row["silicon_ttft_ms"]), float(row["silicon_tpot_ms"])]
            groups[system].append((float(told[1]), figures))
    for points in groups.values():
        yield from _curves("aiconfigurator", ("TTFT", "TPOT"), points)


def _dstack_csv() -> Iterator[RealCurve]:
    for engine in ("tgi", "vllm"):
        # Prompts sent at once, and the input tokens of a single one.
        for name, axis in (
            ("short", "Successful requests"),
            ("long", "Successful requests"),
            ("single_prompt", "Total input tokens"),
        ):
            file = f"result_{engine}_{name}.csv"
            path = shared_data("dstack-benchmarks", "amd", "tgi_vs_vllm", engine, "data", file)
            with path.open(newline="") as document:
                rows = list(csv.DictReader(document))
            points = [
                (float(row[axis]), [float(row[column]) for column in _DSTACK_COLUMNS])
                for row in rows
            ]
            yield from _curves("dstack, AMD", ("TTFT", "TPOT", "throughput"), points)


def _dstack_json() -> Iterator[RealCurve]:
    folder = shared_data("dstack-benchmarks", "comparison", "h100sxm5_vs_mi300x", "raw_data")
    folder = folder / "8xH100SXM5-throughput"
    for test, field, name in (
        ("latency_test", "avg_latency", "E2E"),
        ("throughput_test", "tokens_per_second", "throughput"),
    ):
        for length in (128, 2048):
            points = [
                (float(path.stem.rpartition("np")[2]), [json.loads(path.read_text())[field]])
                for path in folder.glob(f"nvidia-{test}_ip{length}_*.json")
            ]
            yield from _curves("dstack, H100", (name,), points)


def _inference_perf() -> Iterator[RealCurve]:
    folder = shared_data("inference-perf", "demos", "kubecon-na-2025")
    for setting in ("vllm", "vllm+batch_size", "vllm+quantization"):
        points = []
        for path in (folder / setting / "results").glob("stage_*_lifecycle_metrics.json"):
            stage = json.loads(path.read_text())
            latency = stage["successes"]["latency"]
            figures = [
                latency["time_to_first_token"]["median"],
                latency["time_per_output_token"]["median"],
                stage["successes"]["throughput"]["output_tokens_per_sec"],
            ]
            points.append((stage["load_summary"]["requested_rate"], figures))
        yield from _curves("inference-perf", ("TTFT", "TPOT", "throughput"), points)


def _curves(
    source: str, figures: Iterable[str], points: Iterable[tuple[float, list[float]]]
) -> Iterator[RealCurve]:
    """A curve for each figure, if there are as many points as one that is left out needs.

    Places that were measured twice say nothing of what parts the two, so they are no curve.
    """
    rising = sorted(points)
    if len(rising) < 4 or len({place for place, _ in rising}) < len(rising):
        return
    places, cells = zip(*rising, strict=True)
    for name, values in zip(figures, np.array(cells).T, strict=True):
        yield RealCurve(source, name, np.array(places), values)
