"""vLLM without a server: `vllm bench throughput` and `vllm bench latency`, with `--output-json`.

Read from vllm/benchmarks/throughput.py and latency.py. No request is served, so there is no TTFT
and no TPOT, and neither file has a date, a model or a framework version. Files that dstack
published add the lengths as `input` and `ouput` (so spelt).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from servemark.client.records import ResultRecord
from servemark.importers.base import NO_METRICS, Document, Rejection, finish
from servemark.importers.context import Context
from servemark.importers.reported import detailed, reported
from servemark.importers.values import at, number, positive

NOTE_OFFLINE = "measured without a server: rps_sustained is over the whole batch at once"
NOTE_ALL_TOKENS = (
    "tokens_per_second counts input and output tokens; without their lengths,"
    " throughput_tokens_sec is left out"
)

_THROUGHPUT = {"elapsed_time", "num_requests", "requests_per_second", "tokens_per_second"}


class VllmThroughputImporter:
    """Reads the result file of vLLM's offline throughput benchmark."""

    name = "vllm-throughput"
    markers = "vLLM bench throughput (elapsed_time, num_requests, requests_per_second)"

    def recognises(self, document: Any) -> bool:
        """Whether the document has all of the benchmark's keys."""
        return isinstance(document, Mapping) and document.keys() >= _THROUGHPUT

    def records(self, document: Document, context: Context) -> Iterator[ResultRecord | Rejection]:
        """The one record of a result file, or the reason there is none."""
        data = document.data
        stated = {
            "input_tokens": positive(data.get("input")),
            "output_tokens": positive(data.get("output", data.get("ouput"))),
        }
        lengths = {**context.stated(), **{key: value for key, value in stated.items() if value}}
        throughput = _output_throughput(data, lengths)
        values: dict[str, Any] = {
            "tool": "vllm",
            **stated,
            "throughput_tokens_sec": throughput,
            "rps_sustained": number(data.get("requests_per_second")),
            "request_count": number(data.get("num_requests")),
            "source_sha256": document.sha256,
            "detailed_metrics": detailed(
                reported(data.items()),
                notes=[NOTE_OFFLINE] + ([NOTE_ALL_TOKENS] if throughput is None else []),
            ),
        }
        # Only vLLM runs in this benchmark: its own engine, or a plain one for comparison.
        yield finish(values, document, context, {"framework": "vllm", "provenance": "measured"})


def _output_throughput(data: Mapping[str, Any], lengths: Mapping[str, Any]) -> float | None:
    """Output tokens per second, where all requests had the lengths: their tokens must add up."""
    requests, seconds = positive(data.get("num_requests")), positive(data.get("elapsed_time"))
    input_tokens, output_tokens = lengths.get("input_tokens"), lengths.get("output_tokens")
    if requests is None or seconds is None or input_tokens is None or output_tokens is None:
        return None
    if requests * (input_tokens + output_tokens) != number(data.get("total_num_tokens")):
        return None
    return float(requests * output_tokens / seconds)


class VllmLatencyImporter:
    """Recognises the result file of vLLM's offline latency benchmark, and says why it is none."""

    name = "vllm-latency"
    markers = "vLLM bench latency (avg_latency, latencies, percentiles)"

    def recognises(self, document: Any) -> bool:
        """Whether the document has all of the benchmark's keys."""
        return (
            isinstance(document, Mapping)
            and {"avg_latency", "latencies", "percentiles"} <= document.keys()
        )

    def records(self, document: Document, context: Context) -> Iterator[ResultRecord | Rejection]:
        """A rejection: the time of a whole batch of unknown size is no figure of a result."""
        median = number(at(document.data, "percentiles", "50"))
        found = "" if median is None else f" (median {median:g} s)"
        yield Rejection(
            NO_METRICS,
            f"The file holds only how long a whole batch took{found}, and neither its size nor its"
            " tokens: no TTFT, no TPOT and no throughput can be had from it. Import what"
            " `vllm bench serve` or `vllm bench throughput` wrote.",
            document.place,
        )


throughput_importer = VllmThroughputImporter()
latency_importer = VllmLatencyImporter()
