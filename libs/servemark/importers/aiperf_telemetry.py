"""What AIPerf and GenAI-Perf saw of the GPUs: utilization and memory."""

from collections.abc import Iterable, Mapping
from statistics import fmean
from typing import Any

from servemark.importers.values import at, number, text

_PERCENT = ("%", "percent", "percentage")


def telemetry(data: Mapping[str, Any]) -> dict[str, float | None]:
    """Mean utilization in percent, and the memory in use on all GPUs together in gigabytes.

    None unless every GPU has the figure.
    """
    gpus = _gpus(data)
    used = _of_all(gpus, "gpu_memory_used", ("GB",))
    busy = _of_all(gpus, "gpu_utilization", _PERCENT)
    return {
        "memory_used_gb": sum(used) if used else None,
        "gpu_utilization_pct": fmean(busy) if busy else None,
    }


def _of_all(gpus: list[dict[str, Any]], metric: str, units: tuple[str, ...]) -> list[float]:
    """The metric's mean on every GPU; nothing where one lacks it, or has it in another unit."""
    found = [
        number(at(gpu, metric, "avg")) if at(gpu, metric, "unit") in units else None for gpu in gpus
    ]
    known = [value for value in found if value is not None]
    return known if len(known) == len(gpus) else []


def _gpus(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The metrics of each GPU, once: several exporters may watch the same one."""
    found: dict[Any, dict[str, Any]] = {}
    for endpoint, described in _items(at(data, "telemetry_data", "endpoints")):
        for name, gpu in _items(at(described, "gpus")):
            metrics = at(gpu, "metrics")
            if isinstance(metrics, Mapping):
                found.setdefault(text(at(gpu, "gpu_uuid")) or (endpoint, name), dict(metrics))
    # GenAI-Perf has it the other way round: {metric: {"unit": …, "gpu0": {"avg": …}}}.
    for metric, of_gpus in _items(data.get("telemetry_stats")):
        for name, statistics in _items(of_gpus):
            if isinstance(statistics, Mapping):
                described = {**statistics, "unit": at(of_gpus, "unit")}
                found.setdefault(name, {})[metric] = described
    return list(found.values())


def _items(value: Any) -> Iterable[tuple[str, Any]]:
    return value.items() if isinstance(value, Mapping) else ()
