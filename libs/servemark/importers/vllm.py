"""vLLM's `vllm bench serve --save-result`, and its predecessor `benchmark_serving.py`.

Read from vllm/benchmarks/serve.py: one JSON object a run; latencies in milliseconds, except in the
arrays of `--save-detailed`, which hold seconds, one entry a request.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from servemark.client.records import ResultRecord
from servemark.importers.base import Document, Rejection
from servemark.importers.context import Context
from servemark.importers.serving import read_run
from servemark.importers.values import number

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
        ended_at = _time(data.get("date"))
        presumed = {
            # The name the server was asked for, often a local path; the catalog's may be another.
            "model": data.get("model_id"),
            # A tool that sends real requests measures; for a simulated server the context says so.
            "provenance": "measured",
        }
        yield read_run(
            document,
            context,
            tool="vllm",
            counts=_counts(data),
            presumed=presumed,
            ended_at=ended_at,
            notes=[NOTE_ZONE] if ended_at else [],
        )


def _counts(data: Mapping[str, Any]) -> dict[str, Any]:
    completed, prompts = number(data.get("completed")), number(data.get("num_prompts"))
    failed = number(data.get("failed"))
    if failed is None and completed is not None and prompts is not None:
        failed = max(prompts - completed, 0)
    return {
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
