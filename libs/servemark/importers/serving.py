"""What the results of vLLM's and SGLang's serving benchmarks have in common.

SGLang's began as a copy of vLLM's: one JSON object a run, latencies in milliseconds under
`<statistic>_<metric>_ms`, and arrays of one entry a request where details were asked for. TPOT
leaves the first token out in both.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from servemark.client.records import ResultRecord
from servemark.importers.base import FIELD_INVALID, NO_METRICS, Document, Rejection, finish
from servemark.importers.context import Context
from servemark.importers.reported import detailed, reported
from servemark.importers.request_arrays import samples_of
from servemark.importers.samples import NOTE_EMPTY, Samples, SamplesError
from servemark.importers.values import number, positive

NOTE_ZERO_TTFT = (
    "the tool reports a median TTFT of 0 ms, so at least half of the requests produced nothing;"
    " its TTFT percentiles are left out"
)


def read_run(
    document: Document,
    context: Context,
    *,
    tool: str,
    counts: Mapping[str, Any],
    presumed: Mapping[str, Any],
    ended_at: datetime | None = None,
    notes: Sequence[str] = (),
) -> ResultRecord | Rejection:
    """The record of a run, or the reason there is none.

    counts: of requests, where the file has none one by one. presumed: what the context may correct.
    """
    data = document.data
    try:
        samples = samples_of(data)
    except SamplesError as error:
        return Rejection(FIELD_INVALID, f"{error}.", document.place)
    if not (samples.answered_count if samples else number(data.get("completed"))):
        return Rejection(NO_METRICS, "No request of the run produced output.", document.place)
    told = list(notes)
    values: dict[str, Any] = {
        "tool": tool,
        "benchmarked_at": ended_at,
        # SGLang's `concurrency` is the mean that was measured, not the limit.
        "concurrency": number(data.get("max_concurrency")),
        # The tools write "inf" for all at once, which is no rate.
        "request_rate": positive(data.get("request_rate")),
        "throughput_tokens_sec": number(data.get("output_throughput")),
        "source_sha256": document.sha256,
    }
    if samples:
        values |= _computed(samples, positive(data.get("duration")))
        told.extend([NOTE_EMPTY] if samples.empty_count else [])
    else:
        values |= {
            **_percentiles(data, told),
            "rps_sustained": number(data.get("request_throughput")),
            **counts,
        }
    values["detailed_metrics"] = detailed(
        reported(_own_figures(data)),
        computed=samples.other_percentiles() if samples else None,
        notes=told,
    )
    outcome = finish(values, document, context, presumed)
    return samples.sketched(outcome) if samples else outcome


def _computed(samples: Samples, duration: float | None) -> dict[str, Any]:
    """What the requests one by one say, over those that produced output."""
    return {
        **samples.values(),
        "rps_sustained": samples.answered_count / duration if duration else None,
    }


def _percentiles(data: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    """The tool's own percentiles, those that it wrote and no others."""
    values: dict[str, Any] = {}
    for metric in ("ttft", "tpot"):
        median = number(data.get(f"median_{metric}_ms", data.get(f"p50_{metric}_ms")))
        if median == 0:
            # Zero is how the tools write "never happened": no token, or no second token.
            notes.extend([NOTE_ZERO_TTFT] if metric == "ttft" else [])
            continue
        values[f"{metric}_p50_ms"] = median
        for percent in (90, 95, 99):
            values[f"{metric}_p{percent}_ms"] = number(data.get(f"p{percent}_{metric}_ms"))
    return values


def _own_figures(data: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Everything the file says, key by key; those of 2024 to 2026 have a key with a colon in it."""
    for key, value in data.items():
        yield str(key).rstrip(":"), value
