"""inference-perf's stage_N_lifecycle_metrics and summary_lifecycle_metrics, JSON or YAML.

Read from inference_perf/reportgen/base.py (`summarize_requests`): latencies in seconds; TTFT, TPOT
and inter-token latency over streamed requests of two tokens and more; TPOT leaves the first token
out; `time_to_first_token` is null where nothing streamed. A file says neither model nor hardware
nor time: those come with the context, which `config.yaml` and the manifests beside the file can
give. Which stage a file is of stands only in its name.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from servemark.client.records import ResultRecord
from servemark.importers.base import (
    FORMAT_UNKNOWN,
    NO_METRICS,
    Document,
    Rejection,
    finish,
)
from servemark.importers.context import Context
from servemark.importers.reported import detailed, flat, reported
from servemark.importers.values import at, in_milliseconds, number, positive

NOTE_SUMMARY = "over all stages of the run together, whatever the load of each"

_STAGE_NAME = re.compile(r"stage_(\d{1,6})_lifecycle_metrics")
_STATISTICS = ("mean", "min", "median", "p90", "p95", "p99", "max")
_PERCENTILES = {"p50": "median", "p90": "p90", "p95": "p95", "p99": "p99"}
_METRICS = {"ttft": "time_to_first_token", "tpot": "time_per_output_token"}


class InferencePerfImporter:
    """Reads a stage's report, or the summary of all."""

    name = "inference-perf"
    markers = "inference-perf lifecycle metrics (load_summary, successes.latency, failures)"

    def recognises(self, document: Any) -> bool:
        """Whether the document is a report of inference-perf; its Prometheus reports are, too."""
        return isinstance(document, Mapping) and (
            {"load_summary", "successes", "failures"} <= document.keys()
            and isinstance(document["successes"], Mapping)
        )

    def records(self, document: Document, context: Context) -> Iterator[ResultRecord | Rejection]:
        """The one record of a report, or the reason there is none."""
        data = document.data
        if not isinstance(at(data, "successes", "latency"), Mapping):
            yield Rejection(
                FORMAT_UNKNOWN,
                "A report of what Prometheus scraped from the server, or of no request; import"
                " the lifecycle_metrics beside it.",
                document.place,
            )
            return
        if not number(at(data, "successes", "count")):
            yield Rejection(NO_METRICS, "No request of the run succeeded.", document.place)
            return
        load, stage = data["load_summary"], stage_of(document.path)
        concurrency = positive(at(load, "concurrency"))
        values: dict[str, Any] = {
            "tool": "inference-perf",
            **_percentiles(data),
            "concurrency": concurrency,
            # A stage of fixed concurrency has the number of its requests here.
            "request_rate": None if concurrency else positive(at(load, "requested_rate")),
            "throughput_tokens_sec": number(
                at(data, "successes", "throughput", "output_tokens_per_sec")
            ),
            "rps_sustained": number(at(data, "successes", "throughput", "requests_per_sec")),
            "request_count": number(at(data, "successes", "count")),
            "failed_request_count": number(at(data, "failures", "count")),
            "source_sha256": document.sha256,
            "detailed_metrics": detailed(
                reported(_own_figures(data, stage)),
                notes=[NOTE_SUMMARY] if at(load, "requested_rate") is None else None,
            ),
        }
        yield finish(values, document, context, {"provenance": "measured"})


def stage_of(path: Path) -> int | None:
    """The stage a report is of, from its name; None for a summary and for a renamed file."""
    found = _STAGE_NAME.search(path.name)
    return int(found[1]) if found else None


def _percentiles(data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        f"{ours}_{percent}_ms": in_milliseconds(
            at(data, "successes", "latency", theirs, statistic), "s"
        )
        for ours, theirs in _METRICS.items()
        for percent, statistic in _PERCENTILES.items()
    }


def _own_figures(data: Mapping[str, Any], stage: int | None) -> Iterator[tuple[str, Any]]:
    successes, load = data["successes"], data["load_summary"]
    yield "stage", stage
    yield "benchmark_time_seconds", data.get("benchmark_time_seconds")
    for name, part in (("load_summary", load), ("throughput", successes.get("throughput"))):
        if isinstance(part, Mapping):
            yield from ((f"{name}.{key}", value) for key, value in part.items())
    latency = successes["latency"]
    yield from flat(latency, latency, _STATISTICS)
    yield from flat(successes, ("prompt_len", "prompt_tokens", "output_len"), _STATISTICS)


importer = InferencePerfImporter()
