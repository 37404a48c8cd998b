"""optimum-benchmark's `benchmark.json`, and the CSV of the LLM-Perf leaderboard: one run a row.

Read from huggingface/optimum-benchmark and the columns of the data set
optimum-benchmark/llm-perf-leaderboard: seconds, tokens per second, megabytes, each with its unit
beside it. Prefill is the time to a batch's first token. `per_token` is that of each further one;
older files have `decode` alone, which is the time of all of them and no TPOT.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from servemark.client.records import ResultRecord
from servemark.importers.base import RUN_FAILED, Document, Rejection, finish
from servemark.importers.context import Context
from servemark.importers.names import precision, version
from servemark.importers.reported import detailed, reported
from servemark.importers.values import in_milliseconds, number, positive, text

NOTE_PREFILL = "TTFT is the prefill of a batch, which is sent at once; nothing queued"

_MEMORY = {"MB": 1e-3, "GB": 1.0}


class OptimumImporter:
    """Reads one run of optimum-benchmark."""

    name = "optimum-benchmark"
    markers = "optimum-benchmark or LLM-Perf (config.backend.name, config.scenario, report.prefill)"

    def recognises(self, document: Any) -> bool:
        """Whether the document has the configuration that optimum-benchmark writes."""
        run = _flat(document)
        return {"config.backend.name", "config.backend.model", "config.scenario.name"} <= set(run)

    def records(self, document: Document, context: Context) -> Iterator[ResultRecord | Rejection]:
        """The one record of a run, or the reason there is none."""
        run = _flat(document.data)
        if number(run.get("report.prefill.latency.mean")) is None and (failure := _failure(run)):
            yield Rejection(RUN_FAILED, f"The run failed: {failure}.", document.place)
            return
        batch = positive(run.get("config.scenario.input_shapes.batch_size"))
        throughput_unit = run.get("report.decode.throughput.unit")
        gpus = re.findall(r"['\"]([^'\"]+)['\"]", str(run.get("config.environment.gpu", "")))
        values: dict[str, Any] = {
            "tool": "optimum-benchmark",
            "tool_version": version(run.get("config.environment.optimum_benchmark_version")),
            **_percentiles(run, "ttft", "report.prefill.latency"),
            **_percentiles(run, "tpot", "report.per_token.latency"),
            "model": text(run.get("config.backend.model")),
            "quantization": text(run.get("config.backend.quantization_scheme"))
            or precision(run.get("config.backend.torch_dtype")),
            "gpu_count": _gpu_count(run, gpus),
            "framework": text(run.get("config.backend.name")),
            "framework_version": version(run.get("config.backend.version")),
            # A batch of this many is in flight at once.
            "concurrency": batch,
            "batch_size": batch,
            "input_tokens": positive(run.get("config.scenario.input_shapes.sequence_length")),
            "output_tokens": positive(run.get("config.scenario.generate_kwargs.max_new_tokens")),
            "throughput_tokens_sec": (
                number(run.get("report.decode.throughput.value"))
                if throughput_unit == "tokens/s"
                else None
            ),
            "memory_used_gb": _memory(run),
            "source_sha256": document.sha256,
            "detailed_metrics": detailed(reported(_figures(run)), notes=[NOTE_PREFILL]),
        }
        presumed = {
            "hardware": gpus[0] if gpus else None,
            "workload_type": text(run.get("config.scenario.name")),
            "provenance": "measured",
        }
        yield finish(values, document, context, presumed)


def _flat(document: Any) -> dict[str, Any]:
    """The run by dotted keys: a row has them, a JSON file nests them."""
    if not isinstance(document, Mapping):
        return {}
    if "config.backend.name" in document:
        return {key: value for key, value in document.items() if isinstance(key, str)}
    run: dict[str, Any] = {}
    pending = [(key, document.get(key)) for key in ("report", "config")]
    while pending:
        path, value = pending.pop()
        if isinstance(value, Mapping):
            pending += [(f"{path}.{key}", item) for key, item in [*value.items()][::-1]]
        else:
            run[path] = value
    return run


def _failure(run: Mapping[str, Any]) -> str | None:
    """The last line of what the tool wrote of a failure."""
    for key in ("report.error", "report.traceback", "error_message", "error_type"):
        lines = str(run.get(key) or "").strip().splitlines()
        if lines and lines[-1].lower() != "nan":
            return lines[-1].strip()[:200].rstrip(".")
    return None


def _percentiles(run: Mapping[str, Any], metric: str, path: str) -> dict[str, float | None]:
    unit = run.get(f"{path}.unit")
    return {
        f"{metric}_p{percent}_ms": in_milliseconds(run.get(f"{path}.p{percent}"), unit)
        for percent in (50, 90, 95, 99)
    }


def _memory(run: Mapping[str, Any]) -> float | None:
    """The largest part of the GPU's memory in use while decoding, in gigabytes."""
    used = number(run.get("report.decode.memory.max_global_vram"))
    factor = _MEMORY.get(str(run.get("report.decode.memory.unit")))
    return None if used is None or factor is None else used * factor


def _gpu_count(run: Mapping[str, Any], gpus: list[str]) -> float | None:
    devices = str(run.get("config.backend.device_ids") or "")
    if re.fullmatch(r"\d+(?:,\d+)*", devices.strip("[]").replace(" ", "")):
        return devices.count(",") + 1
    return positive(run.get("config.environment.gpu_count")) or len(gpus) or None


def _figures(run: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The figures first: there are more settings than a record has room for."""
    for prefix in ("report.", "config.scenario.", "config.backend."):
        for key, value in run.items():
            if key.startswith(prefix) and not key.endswith((".values", ".traceback")):
                figure = number(value)
                yield key, value if figure is None else figure


importer = OptimumImporter()
