"""GuideLLM's benchmarks.json, of every version: one file, one result for each rate.

Read from vllm-project/guidellm at v0.3.1 (`benchmarks` alone), v0.5.0 (metadata.version 1) and
v0.8 (metadata.version 2): distributions under metrics.<name>.successful; `*_ms` in milliseconds,
request_latency in seconds. GuideLLM's time_per_output_token includes the first token; its
inter_token_latency, weighted by tokens, is what others call TPOT. Of throughputs only the mean is
one: the median of output_tokens_per_second is over moments, not over time.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from servemark.client.records import ResultRecord
from servemark.importers.base import FIELD_INVALID, NO_METRICS, Document, Rejection, finish
from servemark.importers.context import Context
from servemark.importers.guidellm_versions import end, load, presumed, totals
from servemark.importers.reported import detailed, reported
from servemark.importers.samples import NOTE_EMPTY, Samples, SamplesError
from servemark.importers.values import at, number, text

NOTE_ITL = (
    "TPOT is the tool's inter_token_latency_ms; its time_per_output_token_ms includes the first"
    " token"
)

_METRICS = {"ttft": "time_to_first_token_ms", "tpot": "inter_token_latency_ms"}
_STATISTICS = ("mean", "count")
_PERCENTILES = ("p50", "p90", "p95", "p99")
_REPORTED = (
    "request_latency",
    "request_concurrency",
    "prompt_token_count",
    "output_token_count",
    "time_to_first_token_ms",
    "time_per_output_token_ms",
    "inter_token_latency_ms",
)
_RATES = (
    "requests_per_second",
    "prompt_tokens_per_second",
    "output_tokens_per_second",
    "tokens_per_second",
)
_TOTALS = ("successful", "errored", "incomplete", "total")


class GuidellmImporter:
    """Reads a report, and gives each of its benchmarks."""

    name = "guidellm"
    markers = "GuideLLM report (benchmarks[].metrics.time_to_first_token_ms.successful)"

    def recognises(self, document: Any) -> bool:
        """Whether the document has a list of benchmarks with GuideLLM's metrics, or its name."""
        benchmarks = at(document, "benchmarks")
        if not isinstance(benchmarks, list):
            return False
        if text(at(document, "metadata", "guidellm_version")) is not None:
            return True
        return any(
            isinstance(at(benchmark, "metrics", "time_to_first_token_ms"), Mapping)
            for benchmark in benchmarks
        )

    def records(self, document: Document, context: Context) -> Iterator[ResultRecord | Rejection]:
        """A record, or the reason there is none, for each benchmark in order."""
        benchmarks = document.data["benchmarks"]
        if not benchmarks:
            yield Rejection(NO_METRICS, "The report has no benchmark.", document.place)
        for index, benchmark in enumerate(benchmarks):
            outcome = _record(benchmark, document, context)
            if isinstance(outcome, Rejection):
                outcome = replace(outcome, place=f"{document.place} benchmarks[{index}]")
            yield outcome


def _record(benchmark: Any, document: Document, context: Context) -> ResultRecord | Rejection:
    counts = totals(benchmark)
    successful = number(at(counts, "successful"))
    if not successful:
        return Rejection(NO_METRICS, "No request of the benchmark succeeded.")
    try:
        samples = _samples(benchmark, successful)
    except SamplesError as error:
        return Rejection(FIELD_INVALID, f"{error}.")
    if samples and not samples.answered_count:
        return Rejection(NO_METRICS, "No request of the benchmark produced output.")
    rate = number(at(benchmark, "metrics", "requests_per_second", "successful", "mean"))
    errored = number(at(counts, "errored"))
    values: dict[str, Any] = {
        "tool": "guidellm",
        "tool_version": text(at(document.data, "metadata", "guidellm_version")),
        "benchmarked_at": end(benchmark),
        **load(benchmark),
        "throughput_tokens_sec": number(
            at(benchmark, "metrics", "output_tokens_per_second", "successful", "mean")
        ),
        "rps_sustained": rate,
        "request_count": successful,
        "failed_request_count": errored,
        "source_sha256": document.sha256,
    }
    notes = [NOTE_ITL]
    if samples:
        values |= samples.values()
        values["failed_request_count"] = samples.empty_count + (errored or 0)
        if samples.empty_count:
            notes.append(NOTE_EMPTY)
            values["rps_sustained"] = rate and rate * samples.answered_count / successful
    else:
        values |= _percentiles(benchmark)
    values["detailed_metrics"] = detailed(
        reported(_own_figures(benchmark, counts)),
        computed=samples.other_percentiles() if samples else None,
        notes=notes,
    )
    outcome = finish(values, document, context, presumed(benchmark, document.data))
    return samples.sketched(outcome) if samples else outcome


def _samples(benchmark: Any, successful: float) -> Samples | None:
    """The requests one by one; None where the file has not all of them, or nothing streamed.

    The tool may keep a random part, of which no percentile is as good as the tool's own.
    """
    requests = at(benchmark, "requests", "successful")
    if not isinstance(requests, list) or len(requests) != successful:
        return None
    if not any(number(at(request, "time_to_first_token_ms")) for request in requests):
        return None
    samples = Samples()
    for index, request in enumerate(requests):
        ttft = number(at(request, "time_to_first_token_ms")) or 0
        tokens = number(at(request, "output_tokens")) or 0
        if not isinstance(request, Mapping):
            raise SamplesError(f"requests.successful[{index}] is not an object")
        if not samples.add(ttft, tokens):
            continue
        gap, latency = number(request.get("inter_token_latency_ms")), request.get("request_latency")
        if tokens > 1 and gap is not None:
            samples.tpots_ms.append(gap)
        if (seconds := number(latency)) is not None:
            samples.e2els_ms.append(seconds * 1000)
    return samples.sort()


def _percentiles(benchmark: Any) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for ours, theirs in _METRICS.items():
        found = at(benchmark, "metrics", theirs, "successful", "percentiles")
        # A median of 0 is how the tool writes that nothing streamed.
        if number(at(found, "p50")) != 0:
            values |= {f"{ours}_{name}_ms": number(at(found, name)) for name in _PERCENTILES}
    return values


def _own_figures(benchmark: Any, counts: Any) -> Iterator[tuple[str, Any]]:
    """The tool's own figures over successful requests."""
    strategy = at(benchmark, "config", "strategy") or at(benchmark, "args", "strategy")
    if isinstance(strategy, Mapping):
        yield from ((f"strategy.{key}", value) for key, value in strategy.items())
    yield "duration", at(benchmark, "duration")
    yield from ((f"requests.{name}", at(counts, name)) for name in _TOTALS)
    for name in _RATES:
        yield f"{name}.mean", at(benchmark, "metrics", name, "successful", "mean")
    for name in _REPORTED:
        found = at(benchmark, "metrics", name, "successful")
        yield from ((f"{name}.{part}", at(found, part)) for part in _STATISTICS)
        yield from ((f"{name}.{part}", at(found, "percentiles", part)) for part in _PERCENTILES)


importer = GuidellmImporter()
