"""AIPerf's profile_export_aiperf.json, and profile_export_genai_perf.json of its predecessor.

Read from aiperf's json exporter and GenAI-Perf's export_data/json_exporter.py: each metric an
object with its unit, `avg` and percentiles. `inter_token_latency` is a request's mean gap after
its first token, which is TPOT. Where nothing was measured, AIPerf writes null.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from servemark.client.records import ResultRecord
from servemark.importers.aiperf_telemetry import telemetry
from servemark.importers.base import NO_METRICS, Document, Rejection, finish
from servemark.importers.context import Context
from servemark.importers.reported import detailed, flat, reported
from servemark.importers.values import (
    at,
    from_epoch,
    in_milliseconds,
    number,
    positive,
    text,
    truth,
)

NOTE_ZONE = "end_time has no zone in the file; it was taken as UTC"
NOTE_CANCELLED = "the run was cancelled before its end"

_METRICS = {"ttft": "time_to_first_token", "tpot": "inter_token_latency"}
_STATISTICS = ("unit", "avg", "p50", "p90", "p95", "p99")
# Of `reported`: the telemetry and the configuration are no figures.
_NO_FIGURES = ("telemetry_data", "telemetry_stats", "input_config", "sessions")


class AiperfImporter:
    """Reads the summary of a run."""

    name = "aiperf"
    markers = "AIPerf or GenAI-Perf profile export (input_config, request_throughput.unit)"

    def recognises(self, document: Any) -> bool:
        """Whether the document has a configuration, and a request rate with its unit."""
        return (
            isinstance(document, Mapping)
            and isinstance(document.get("input_config"), Mapping)
            and text(at(document, "request_throughput", "unit")) is not None
        )

    def records(self, document: Document, context: Context) -> Iterator[ResultRecord | Rejection]:
        """The one record of a summary, or the reason there is none."""
        data = document.data
        count = number(at(data, "request_count", "avg"))
        if count == 0:
            yield Rejection(NO_METRICS, "No request of the run succeeded.", document.place)
            return
        time, notes = _end(data)
        notes.extend([NOTE_CANCELLED] if truth(data.get("was_cancelled")) else [])
        # GenAI-Perf has no notion of a time, and does not count what failed.
        is_aiperf = "was_cancelled" in data or "aiperf_version" in data
        values: dict[str, Any] = {
            "tool": "aiperf" if is_aiperf else "genai-perf",
            "tool_version": text(data.get("aiperf_version")),
            **_percentiles(data),
            "benchmarked_at": time,
            **_load(data["input_config"]),
            "throughput_tokens_sec": number(at(data, "output_token_throughput", "avg")),
            "rps_sustained": number(at(data, "request_throughput", "avg")),
            "request_count": count,
            "failed_request_count": _failed(data, is_aiperf=is_aiperf),
            "source_sha256": document.sha256,
            **telemetry(data),
            "detailed_metrics": detailed(reported(_own_figures(data)), notes=notes),
        }
        presumed = {"model": _model(data["input_config"]), "provenance": "measured"}
        yield finish(values, document, context, presumed)


def _percentiles(data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        f"{ours}_p{percent}_ms": in_milliseconds(
            at(data, theirs, f"p{percent}"), at(data, theirs, "unit")
        )
        for ours, theirs in _METRICS.items()
        for percent in (50, 90, 95, 99)
    }


def _end(data: Mapping[str, Any]) -> tuple[datetime | None, list[str]]:
    """When the last response came, and what to note about it.

    `end_time` is the local clock of wherever the tool ran, without a zone; the timestamp is not.
    """
    last = data.get("max_response_timestamp")
    milliseconds = in_milliseconds(at(last, "avg"), at(last, "unit"))
    if (exact := from_epoch(milliseconds and milliseconds / 1000)) is not None:
        return exact, []
    try:
        local = datetime.fromisoformat(data["end_time"])
    except (KeyError, TypeError, ValueError):
        return None, []
    return (local, []) if local.tzinfo else (local.replace(tzinfo=UTC), [NOTE_ZONE])


def _load(config: Mapping[str, Any]) -> dict[str, Any]:
    """Concurrency, rate and lengths as they were asked for."""
    aiperf, genai = config.get("loadgen"), at(config, "perf_analyzer", "stimulus")
    prompt = at(config, "input", "prompt")
    return {
        "concurrency": positive(at(aiperf, "concurrency")) or positive(at(genai, "concurrency")),
        "request_rate": positive(at(aiperf, "request_rate")) or positive(at(genai, "request_rate")),
        "input_tokens": _mean(at(prompt, "input_tokens"), at(config, "input", "synthetic_tokens")),
        "output_tokens": _mean(at(prompt, "output_tokens"), at(config, "input", "output_tokens")),
    }


def _mean(*lengths: Any) -> float | None:
    """The first mean length that is a whole number of tokens; others are no nominal length."""
    for length in lengths:
        mean = positive(at(length, "mean"))
        if mean is not None and mean == mean // 1:
            return mean
    return None


def _model(config: Mapping[str, Any]) -> str | None:
    for names in (at(config, "endpoint", "model_names"), config.get("model_names")):
        # More than one, and the figures are of no model.
        if isinstance(names, list) and len(names) == 1:
            return text(names[0])
    return None


def _failed(data: Mapping[str, Any], *, is_aiperf: bool) -> float | None:
    """Requests that failed: AIPerf writes null for none."""
    failed = number(at(data, "error_request_count", "avg"))
    return 0 if failed is None and is_aiperf and data.get("error_summary") == [] else failed


def _own_figures(data: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    figures = {key: value for key, value in data.items() if key not in _NO_FIGURES}
    yield from figures.items()
    yield from flat(figures, figures, _STATISTICS)


importer = AiperfImporter()
