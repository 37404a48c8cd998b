"""vLLM's `vllm bench serve --save-result`, and its predecessor `benchmark_serving.py`.

Read from vllm/benchmarks/serve.py: one JSON object a run; latencies in milliseconds, except in the
arrays of `--save-detailed`, which hold seconds, one entry a request.
"""

import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from servemark.client.records import ResultRecord
from servemark.importers.base import FIELD_INVALID, NO_METRICS, Document, Rejection, finish
from servemark.importers.context import Context
from servemark.importers.vllm_samples import Samples, SamplesError, samples_of

_MAX_TEXT = 256
_MAX_REPORTED = 150

NOTE_ZONE = "date has no zone in the file; it was taken as UTC"
NOTE_EMPTY = (
    "percentiles, rps_sustained and request_count are over the requests that produced output;"
    " the tool's own figures, under `reported`, count all"
)
NOTE_ZERO_TTFT = (
    "the tool reports a median TTFT of 0 ms, so at least half of the requests produced nothing;"
    " its TTFT percentiles are left out"
)


class VllmImporter:
    """Reads the result file of vLLM's serving benchmark, plain or detailed."""

    name = "vllm"
    markers = "vLLM bench serve (model_id, num_prompts, completed, duration, median_ttft_ms)"

    def recognises(self, document: Any) -> bool:
        """Whether the document has the keys only vLLM's serving benchmark writes together.

        SGLang's file shares most of them, but names its end-to-end latency e2e, not e2el.
        """
        return (
            isinstance(document, Mapping)
            and {"model_id", "num_prompts", "completed", "duration"} <= document.keys()
            and bool({"median_ttft_ms", "mean_ttft_ms", "ttfts"} & document.keys())
            and "mean_e2e_latency_ms" not in document
        )

    def records(self, document: Document, context: Context) -> Iterator[ResultRecord | Rejection]:
        """The one record of a result file, or the reason there is none."""
        data = document.data
        try:
            samples = samples_of(data)
        except SamplesError as error:
            yield Rejection(FIELD_INVALID, f"{error}.", document.place)
            return
        answered = samples.answered_count if samples else _number(data.get("completed"))
        if not answered:
            yield Rejection(NO_METRICS, "No request of the run produced output.", document.place)
            return
        notes = []
        values: dict[str, Any] = {
            "tool": "vllm",
            "concurrency": data.get("max_concurrency"),
            "request_rate": _request_rate(data.get("request_rate")),
            "throughput_tokens_sec": _number(data.get("output_throughput")),
            "source_sha256": document.sha256,
        }
        if (time := _time(data.get("date"))) is not None:
            values["benchmarked_at"] = time
            notes.append(NOTE_ZONE)
        if samples:
            values |= _recomputed(samples, _number(data.get("duration")))
            if samples.empty_count:
                notes.append(NOTE_EMPTY)
        else:
            values |= _reported_figures(data, notes)
        values["detailed_metrics"] = {
            "reported": _reported(data),
            **({"computed": samples.other_percentiles()} if samples else {}),
            **({"notes": notes} if notes else {}),
        }
        presumed = {
            # The name the server was asked for, often a local path; the catalog's may be another.
            "model": data.get("model_id"),
            # A tool that sends real requests measures; for a simulated server the context says so.
            "provenance": "measured",
        }
        yield finish(values, document, context, presumed)


def _recomputed(samples: Samples, duration: float | None) -> dict[str, Any]:
    return {
        **samples.percentiles(),
        "percentile_source": "computed_from_samples",
        "rps_sustained": samples.answered_count / duration if duration else None,
        "request_count": samples.answered_count,
        "failed_request_count": samples.empty_count,
    }


def _reported_figures(data: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    completed, prompts = _number(data.get("completed")), _number(data.get("num_prompts"))
    failed = _number(data.get("failed"))
    if failed is None and completed is not None and prompts is not None:
        failed = max(prompts - completed, 0)
    values: dict[str, Any] = {
        "rps_sustained": _number(data.get("request_throughput")),
        "request_count": completed,
        "failed_request_count": failed,
    }
    for metric in ("ttft", "tpot"):
        median = _number(data.get(f"median_{metric}_ms", data.get(f"p50_{metric}_ms")))
        if median == 0:
            # Zero is how the tool writes "never happened": no token, or no second token.
            notes.extend([NOTE_ZERO_TTFT] if metric == "ttft" else [])
            continue
        values[f"{metric}_p50_ms"] = median
        for percent in (90, 95, 99):
            values[f"{metric}_p{percent}_ms"] = _number(data.get(f"p{percent}_{metric}_ms"))
    return values


def _request_rate(value: Any) -> float | None:
    """The rate requests were sent at; the tool writes "inf" for all at once, which is no rate."""
    try:
        rate = float(value)
    except (TypeError, ValueError):
        return None
    return rate if math.isfinite(rate) and rate > 0 else None


def _time(value: Any) -> datetime | None:
    """The run's end: the tool's local clock as YYYYMMDD-HHMMSS, without a zone."""
    try:
        return datetime.strptime(value, "%Y%m%d-%H%M%S").replace(tzinfo=UTC)
    except (TypeError, ValueError):
        return None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value


def _reported(data: Mapping[str, Any]) -> dict[str, Any]:
    """The tool's own scalar figures. Arrays stay in the original, which its SHA-256 names."""
    reported: dict[str, Any] = {}
    for key, value in data.items():
        if len(reported) == _MAX_REPORTED:
            break
        # Files of 2024 to 2026 have the key with a colon in it.
        name = str(key).rstrip(":")[:_MAX_TEXT]
        if isinstance(value, bool) or _number(value) is not None:
            reported[name] = value
        elif isinstance(value, str):
            reported[name] = value[:_MAX_TEXT]
    return reported


importer = VllmImporter()
