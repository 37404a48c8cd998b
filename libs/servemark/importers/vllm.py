"""vLLM's `vllm bench serve --save-result`, and its predecessor `benchmark_serving.py`.

Read from vllm/benchmarks/serve.py: one JSON object a run; latencies in milliseconds, except in the
arrays of `--save-detailed`, which hold seconds, one entry a request.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from servemark.client.records import ResultRecord
from servemark.importers.base import FIELD_INVALID, NO_METRICS, Document, Rejection, finish
from servemark.importers.context import Context
from servemark.importers.reported import detailed, reported
from servemark.importers.request_arrays import samples_of
from servemark.importers.samples import NOTE_EMPTY, SamplesError
from servemark.importers.serving import computed, own_figures, percentiles
from servemark.importers.values import number, positive

NOTE_ZONE = "date has no zone in the file; it was taken as UTC"


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
        answered = samples.answered_count if samples else number(data.get("completed"))
        if not answered:
            yield Rejection(NO_METRICS, "No request of the run produced output.", document.place)
            return
        notes: list[str] = []
        values: dict[str, Any] = {
            "tool": "vllm",
            "concurrency": number(data.get("max_concurrency")),
            # The tool writes "inf" for all at once, which is no rate.
            "request_rate": positive(data.get("request_rate")),
            "throughput_tokens_sec": number(data.get("output_throughput")),
            "source_sha256": document.sha256,
        }
        if (time := _time(data.get("date"))) is not None:
            values["benchmarked_at"] = time
            notes.append(NOTE_ZONE)
        if samples:
            values |= computed(samples, positive(data.get("duration")))
            notes.extend([NOTE_EMPTY] if samples.empty_count else [])
        else:
            values |= {**percentiles(data, notes), **_counts(data)}
        values["detailed_metrics"] = detailed(
            reported(own_figures(data)),
            computed=samples.other_percentiles() if samples else None,
            notes=notes,
        )
        presumed = {
            # The name the server was asked for, often a local path; the catalog's may be another.
            "model": data.get("model_id"),
            # A tool that sends real requests measures; for a simulated server the context says so.
            "provenance": "measured",
        }
        outcome = finish(values, document, context, presumed)
        yield samples.sketched(outcome) if samples else outcome


def _counts(data: Mapping[str, Any]) -> dict[str, Any]:
    completed, prompts = number(data.get("completed")), number(data.get("num_prompts"))
    failed = number(data.get("failed"))
    if failed is None and completed is not None and prompts is not None:
        failed = max(prompts - completed, 0)
    return {
        "rps_sustained": number(data.get("request_throughput")),
        "request_count": completed,
        "failed_request_count": failed,
    }


def _time(value: Any) -> datetime | None:
    """The run's end: the tool's local clock as YYYYMMDD-HHMMSS, without a zone."""
    try:
        return datetime.strptime(value, "%Y%m%d-%H%M%S").replace(tzinfo=UTC)
    except (TypeError, ValueError):
        return None


importer = VllmImporter()
