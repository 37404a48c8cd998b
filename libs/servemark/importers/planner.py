"""llm-d-planner's benchmark files: `{"benchmarks": [...]}`, simulated or estimated as they say.

Latencies in milliseconds; percentiles 90, 95 and 99, and no median. The inter-token latency is kept
as reported: the file does not say whether it is one request's mean or one token's gap.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from servemark.client.records import ResultRecord
from servemark.importers.base import FIELD_INVALID, Document, Rejection, canonical_sha256, finish
from servemark.importers.context import Context
from servemark.importers.names import version
from servemark.importers.reported import detailed, reported
from servemark.importers.values import number, positive, text, truth

NOTE_ZONE = "generated_at has no zone in the file; it was taken as UTC"

_ROW = {"ttft_p90", "ttft_p95", "ttft_p99", "itl_p90"}


class PlannerImporter:
    """Reads a file of many results."""

    name = "llm-d-planner"
    markers = "llm-d-planner (benchmarks: [model_hf_repo or model_id, hardware, ttft_p90, itl_p90])"

    def recognises(self, document: Any) -> bool:
        """Whether the document has a list of the planner's benchmarks, by the first of them."""
        if not isinstance(document, Mapping):
            return False
        rows = document.get("benchmarks")
        return (
            isinstance(rows, list)
            and bool(rows)
            and isinstance(rows[0], Mapping)
            and set(rows[0]) >= _ROW
        )

    def records(self, document: Document, context: Context) -> Iterator[ResultRecord | Rejection]:
        """A record, or the reason there is none, for each benchmark of the file."""
        data = document.data
        about = data.get("_metadata", data.get("metadata"))
        about = about if isinstance(about, Mapping) else {}
        for index, row in enumerate(data["benchmarks"]):
            if isinstance(row, Mapping):
                yield _record(row, about, document, context)
            else:
                yield Rejection(
                    FIELD_INVALID, f"benchmarks[{index}] is not an object.", document.place
                )


def _record(
    row: Mapping[str, Any], about: Mapping[str, Any], document: Document, context: Context
) -> ResultRecord | Rejection:
    time = _time(about.get("generated_at"))
    offered, achieved = (
        number(row.get(key)) for key in ("requests_per_second", "responses_per_second")
    )
    values: dict[str, Any] = {
        "tool": "llm-d-planner",
        **{f"ttft_p{percent}_ms": number(row.get(f"ttft_p{percent}")) for percent in (90, 95, 99)},
        "model": text(row.get("model_hf_repo")) or text(row.get("model_id")),
        "hardware": next(
            (
                name
                for key in ("hardware", "hardware_type", "gpu_type")
                if (name := text(row.get(key)))
            ),
            None,
        ),
        "framework": text(row.get("framework")),
        "framework_version": version(row.get("framework_version")),
        "benchmarked_at": time,
        "gpu_count": number(row.get("hardware_count")),
        "input_tokens": number(row.get("prompt_tokens")),
        "output_tokens": number(row.get("output_tokens")),
        # Where answers are counted too, the requests are what was sent.
        "request_rate": offered if achieved is not None and offered else None,
        "rps_sustained": offered if achieved is None else achieved,
        "throughput_tokens_sec": _first(row, "tokens_per_second", "tokens_per_second_mean"),
        "provenance": _provenance(row, about),
        "source_sha256": canonical_sha256(row),
        "detailed_metrics": detailed(
            reported(row.items()), notes=[NOTE_ZONE] if time is not None else []
        ),
    }
    return finish(values, document, context)


def _first(row: Mapping[str, Any], *keys: str) -> float | None:
    return next((found for key in keys if (found := positive(row.get(key))) is not None), None)


def _provenance(row: Mapping[str, Any], about: Mapping[str, Any]) -> str | None:
    """What the row or the file says of itself; None where it does not, so that the user must."""
    if truth(row.get("estimated")):
        return "estimated"
    said = " ".join(
        str(about.get(key, "")) for key in ("source", "description", "generation_method")
    ).lower()
    if "estimated" in said:
        return "estimated"
    return "simulated" if "simulat" in said or "synthetic" in said else None


def _time(value: Any) -> datetime | None:
    try:
        time = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time


importer = PlannerImporter()
