"""llm-d-benchmark's reports, versions 0.1 and 0.2: YAML, or JSON of the same shape.

Read from the schemas of llm-d/llm-d-benchmark: every statistic names its own unit, and has whatever
percentiles the load generator gave. time_per_output_token leaves the first token out;
inter_token_latency may be of single tokens, so it is no TPOT.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from servemark.client.records import ResultRecord
from servemark.importers.base import Document, Rejection, finish
from servemark.importers.context import Context
from servemark.importers.names import image_version, version
from servemark.importers.reported import detailed, flat, reported
from servemark.importers.values import at, from_epoch, in_milliseconds, number, positive, text

_PERCENTS = (50, 90, 95, 99)
_LATENCIES = (
    "time_to_first_token",
    "time_per_output_token",
    "inter_token_latency",
    "normalized_time_per_output_token",
    "request_latency",
)
_PARTS = ("units", "mean", "stddev", "min", "p50", "p75", "p90", "p95", "p99", "p99p9", "max")
_GIGABYTES = {
    "MB": 1e-3,
    "GB": 1.0,
    "TB": 1e3,
    "MiB": 2**20 / 1e9,
    "GiB": 2**30 / 1e9,
    "TiB": 2**40 / 1e9,
}


class LlmdReportImporter:
    """Reads a benchmark report."""

    name = "llm-d-benchmark"
    markers = "llm-d benchmark report (version 0.1: scenario, metrics; 0.2: run, scenario, results)"

    def recognises(self, document: Any) -> bool:
        """Whether the document has the version and the sections of a report."""
        return _is_v01(document) or _is_v02(document)

    def records(self, document: Document, context: Context) -> Iterator[ResultRecord | Rejection]:
        """The one record of a report, or the reason there is none."""
        data = document.data
        values, presumed, figures = _v02(data) if _is_v02(data) else _v01(data)
        values |= {"source_sha256": document.sha256, "detailed_metrics": detailed(figures)}
        simulator = "sim" in str(presumed.get("framework", "")).split("-")
        presumed["provenance"] = "simulated" if simulator else "measured"
        yield finish(values, document, context, presumed)


def _is_v01(data: Any) -> bool:
    return _has(data, "0.1", "scenario", "metrics")


def _is_v02(data: Any) -> bool:
    return _has(data, "0.2", "run", "scenario", "results")


def _has(data: Any, release: str, *sections: str) -> bool:
    return (
        isinstance(data, Mapping)
        # 0.2.1 keeps the shape; YAML without quotes makes a number of it.
        and str(data.get("version", "")).startswith(release)
        and all(isinstance(data.get(section), Mapping) for section in sections)
    )


def _v02(data: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    performance = at(data, "results", "request_performance", "aggregate")
    throughput = at(performance, "throughput")
    load = at(data, "scenario", "load", "standardized")
    engines = _engines(at(data, "scenario", "stack"))
    stack = [engine for _, engine in engines]
    values = {
        **_requests(at(performance, "requests")),
        **_latencies(at(performance, "latency")),
        "throughput_tokens_sec": _mean(at(throughput, "output_token_rate"), "tokens/s"),
        "rps_sustained": _mean(at(throughput, "request_rate"), "queries/s"),
        "tool": text(at(load, "tool")) or "llm-d-benchmark",
        "tool_version": text(at(load, "tool_version")),
        "benchmarked_at": text(at(data, "run", "time", "end"))
        or text(at(data, "run", "time", "start")),
        "request_rate": positive(at(load, "rate_qps")),
        # Infinity is how the report writes that nothing limits it.
        "concurrency": positive(at(load, "concurrency")),
        "input_tokens": _whole(at(load, "input_seq_len", "value")),
        "output_tokens": _whole(at(load, "output_seq_len", "value")),
        "gpu_count": _sum(map(_gpus, stack)),
        "parallelism": _parallelism([at(engine, "accelerator") for engine in stack]),
        **_resources(
            at(data, "results", "observability", "components"), [label for label, _ in engines]
        ),
    }
    presumed = {
        "model": _only(at(engine, "model", "name") for engine in stack),
        "hardware": _only(at(engine, "accelerator", "model") for engine in stack),
        "framework": _only(engine.get("tool") for engine in stack),
        "framework_version": _only(_release(engine.get("tool_version")) for engine in stack),
        "workload_type": text(at(data, "scenario", "load", "native", "config", "data", "type")),
    }
    return values, presumed, reported(_figures(performance))


def _v01(data: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    scenario, metrics = data["scenario"], data["metrics"]
    throughput = at(metrics, "throughput")
    accelerators = _objects(at(scenario, "host", "accelerator"))
    engines = _objects(at(scenario, "platform", "engine"))
    values = {
        **_requests(at(metrics, "requests")),
        **_latencies(at(metrics, "latency")),
        # These have no statistics, and their units in their names.
        "throughput_tokens_sec": number(at(throughput, "output_tokens_per_sec")),
        "rps_sustained": number(at(throughput, "requests_per_sec")),
        "tool": text(at(scenario, "load", "name")) or "llm-d-benchmark",
        # Files exist whose stop lies before their start; the later one ended the run.
        "benchmarked_at": from_epoch(
            max(
                positive(at(metrics, "time", "start")) or 0,
                positive(at(metrics, "time", "stop")) or 0,
            )
        ),
        "quantization": text(at(scenario, "model", "quantization")),
        "gpu_count": _sum(positive(item.get("count")) for item in accelerators),
        "parallelism": _parallelism(accelerators),
    }
    presumed = {
        "model": text(at(scenario, "model", "name")),
        "hardware": _only(item.get("model") for item in accelerators),
        "framework": _only(item.get("name") for item in engines),
        "framework_version": _only(_release(item.get("version")) for item in engines),
        "workload_type": text(at(scenario, "load", "type")),
    }
    return values, presumed, reported(_figures(metrics))


def _engines(stack: Any) -> list[tuple[Any, Mapping[str, Any]]]:
    """The inference engines of a stack, each after its label."""
    engines = []
    for component in _objects(stack):
        engine = component.get("standardized")
        if isinstance(engine, Mapping) and engine.get("kind") == "inference_engine":
            engines.append((at(component, "metadata", "label"), engine))
    return engines


def _gpus(engine: Mapping[str, Any]) -> float | None:
    """An engine's GPUs over all replicas; None where the report leaves open what it counted.

    The schema calls the count "total utilized", its example counts one replica's. One replica's
    parallelism tells which.
    """
    count = positive(at(engine, "accelerator", "count"))
    replicas = positive(engine.get("replicas")) or 1
    if count is None or replicas == 1:
        return count
    degrees = at(engine, "accelerator", "parallelism")
    one = math.prod(positive(at(degrees, key)) or 1 for key in ("tp", "pp", "dp"))
    return {one: count * replicas, one * replicas: count}.get(count)


def _release(value: Any) -> str | None:
    return image_version(value) or version(value)


def _parallelism(accelerators: list[Any]) -> dict[str, float] | None:
    """The degrees of a run with one kind of engine; several have several sets."""
    if len(accelerators) != 1:
        return None
    degrees = {
        key: positive(at(accelerators[0], "parallelism", key)) for key in ("tp", "pp", "dp", "ep")
    }
    return {key: degree for key, degree in degrees.items() if degree is not None} or None


def _requests(requests: Any) -> dict[str, Any]:
    total, failures, incomplete = (
        number(at(requests, key)) for key in ("total", "failures", "incomplete")
    )
    return {
        "request_count": (
            None if total is None else max(total - (failures or 0) - (incomplete or 0), 0)
        ),
        "failed_request_count": failures,
    }


def _latencies(latency: Any) -> dict[str, Any]:
    values = {}
    for metric, key in (("ttft", _LATENCIES[0]), ("tpot", _LATENCIES[1])):
        unit = str(at(latency, key, "units")).removesuffix("/token")
        for percent in _PERCENTS:
            figure = at(latency, key, f"p{percent}")
            values[f"{metric}_p{percent}_ms"] = in_milliseconds(figure, unit)
    return values


def _mean(statistics: Any, unit: str) -> float | None:
    return number(at(statistics, "mean")) if at(statistics, "units") == unit else None


def _resources(components: Any, labels: list[Any]) -> dict[str, Any]:
    """GPU utilization and memory, where one engine alone was observed: of several, a mean lies."""
    found = [item for item in _objects(components) if item.get("component_label") in labels]
    if len(found) != 1 or len(labels) != 1:
        return {}
    used = at(found[0], "aggregate", "gpu_utilization")
    memory = at(found[0], "aggregate", "gpu_memory_usage")
    factor = _GIGABYTES.get(str(at(memory, "units")))
    mean = number(at(memory, "mean"))
    return {
        "gpu_utilization_pct": _mean(used, "percent"),
        "memory_used_gb": None if factor is None or mean is None else mean * factor,
    }


def _figures(performance: Any) -> Iterator[tuple[str, Any]]:
    throughput = at(performance, "throughput")
    if isinstance(throughput, Mapping):
        yield from throughput.items()
    rates = ("output_token_rate", "total_token_rate", "input_token_rate", "request_rate")
    yield from flat(throughput, rates, ("units", "mean"))
    yield from flat(at(performance, "latency"), _LATENCIES, _PARTS)
    yield from (
        (f"requests.{key}", at(performance, "requests", key))
        for key in ("total", "failures", "incomplete")
    )
    yield from flat(at(performance, "requests"), ("input_length", "output_length"), ("mean", "p50"))


def _whole(value: Any) -> float | None:
    """A length in tokens; a distribution's mean may have a fraction."""
    found = number(value)
    return None if found is None else round(found)


def _sum(counts: Iterable[float | None]) -> float | None:
    """The sum, if there is something to sum and all of it is known."""
    known = list(counts)
    return sum(filter(None, known)) if known and None not in known else None


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _only(names: Iterable[Any]) -> str | None:
    """The one text all agree on; None where they differ, so that the user says which counts."""
    found = {text(name) for name in names}
    return found.pop() if len(found) == 1 else None


importer = LlmdReportImporter()
