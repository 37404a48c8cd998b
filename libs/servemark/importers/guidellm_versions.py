"""Where each version of GuideLLM's report has what it says beside the metrics.

v0.3: args, run_stats, worker and request_loader of each benchmark. v0.5: args of the report, config
and scheduler_metrics of each benchmark. v0.8: config.spec of the report.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from servemark.importers.values import at, from_epoch, number, positive, text


def totals(benchmark: Any) -> Any:
    """How many requests succeeded and failed; the place moved with each version."""
    for counts in (
        at(benchmark, "metrics", "request_totals"),
        at(benchmark, "request_totals"),
        at(benchmark, "scheduler_metrics", "requests_made"),
        at(benchmark, "run_stats", "requests_made"),
    ):
        if number(at(counts, "successful")) is not None:
            return counts
    return None


def end(benchmark: Any) -> datetime | None:
    """When the benchmark ended."""
    for part in (benchmark, at(benchmark, "scheduler_metrics"), at(benchmark, "run_stats")):
        if (time := from_epoch(at(part, "end_time"))) is not None:
            return time
    return None


def load(benchmark: Any) -> dict[str, Any]:
    """The load of this benchmark: streams, or a rate.

    A strategy's own max_concurrency is the tool's limit where the user gave none, so the user's is
    taken from the profile.
    """
    config = at(benchmark, "config") or at(benchmark, "args")
    strategy = at(config, "strategy")
    kind = at(strategy, "type_")
    limit = at(strategy, "streams") or at(config, "profile", "max_concurrency")
    return {
        "concurrency": 1 if kind == "synchronous" else positive(limit),
        "request_rate": positive(at(strategy, "rate")) if kind != "synchronous" else None,
    }


def presumed(benchmark: Any, report: Mapping[str, Any]) -> dict[str, Any]:
    """What the report suggests: the model the server was asked for, the lengths of the data."""
    models = (
        at(benchmark, "config", "backend", "model"),
        at(report, "config", "spec", "backend", "model"),
        at(report, "args", "model"),
        at(benchmark, "worker", "backend_model"),
    )
    data = (
        at(report, "config", "spec", "data"),
        at(report, "args", "data"),
        at(benchmark, "request_loader", "data"),
    )
    described = next((found for found in map(_data, data) if found), {})
    return {
        "model": next(filter(None, map(text, models)), None),
        "workload_type": text(described.get("kind")),
        "input_tokens": positive(described.get("prompt_tokens")),
        "output_tokens": positive(described.get("output_tokens")),
        "provenance": "measured",
    }


def _data(value: Any) -> Mapping[str, Any]:
    """The description of synthetic data: an object, its JSON, or `prompt_tokens=512,…`."""
    if isinstance(value, list):
        # Several sources have no one length.
        value = value[0] if len(value) == 1 else None
    if isinstance(value, Mapping):
        return value
    if not isinstance(value, str) or "prompt_tokens" not in value:
        return {}
    try:
        parsed = json.loads(value)
    except (ValueError, RecursionError):
        pairs = (pair.partition("=") for pair in value.split(","))
        return {key.strip(): given.strip() for key, _, given in pairs}
    return parsed if isinstance(parsed, Mapping) else {}
