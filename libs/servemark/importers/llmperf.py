"""Ray LLMPerf's `*_summary.json` and `*_individual_responses.json`.

Read from token_benchmark_ray.py and src/llmperf/utils.py of ray-project/llmperf: seconds, and a
summary flattened to `results_<metric>_<statistic>`. LLMPerf's inter-token latency is the whole
request's time over its tokens, the first one included (llmperf's clients say "should be same as
E2E"), so it is no TPOT: of the individual responses TPOT is computed, a summary has none.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from servemark.client.records import ResultRecord
from servemark.importers.base import FIELD_INVALID, NO_METRICS, Document, Rejection, finish
from servemark.importers.context import Context
from servemark.importers.reported import detailed, reported
from servemark.importers.samples import Samples, SamplesError
from servemark.importers.values import from_epoch, in_milliseconds, number, positive, text

NOTE_TPOT = (
    "the tool's inter_token_latency includes the first token, so it is no TPOT and stays here"
)
NOTE_NO_DURATION = "individual responses have no times, so there is no throughput and no rate"
NOTE_EMPTY = "responses without a token count as failed, and are in no percentile"

_REQUEST = {"ttft_s", "end_to_end_latency_s", "number_output_tokens"}


class LlmperfImporter:
    """Reads the summary of a run."""

    name = "llmperf"
    markers = "Ray LLMPerf summary (results_ttft_s_quantiles_p50, results_num_requests_started)"

    def recognises(self, document: Any) -> bool:
        """Whether the document has the keys of a flattened summary."""
        return isinstance(document, Mapping) and {
            "results_num_requests_started",
            "results_ttft_s_quantiles_p50",
        } <= set(document)

    def records(self, document: Document, context: Context) -> Iterator[ResultRecord | Rejection]:
        """The one record of a summary, or the reason there is none."""
        data = document.data
        completed = number(data.get("results_num_completed_requests"))
        if completed == 0:
            yield Rejection(NO_METRICS, "No request of the run succeeded.", document.place)
            return
        per_minute = number(data.get("results_num_completed_requests_per_min"))
        values: dict[str, Any] = {
            "tool": "llmperf",
            **{
                f"ttft_p{percent}_ms": in_milliseconds(
                    data.get(f"results_ttft_s_quantiles_p{percent}"), "s"
                )
                for percent in (50, 90, 95, 99)
            },
            "benchmarked_at": from_epoch(data.get("timestamp")),
            "concurrency": positive(data.get("num_concurrent_requests")),
            "input_tokens": positive(data.get("mean_input_tokens")),
            "output_tokens": positive(data.get("mean_output_tokens")),
            "throughput_tokens_sec": number(data.get("results_mean_output_throughput_token_per_s")),
            "rps_sustained": None if per_minute is None else per_minute / 60,
            "request_count": completed,
            "failed_request_count": number(data.get("results_number_errors")),
            "source_sha256": document.sha256,
            "detailed_metrics": detailed(reported(data.items()), notes=[NOTE_TPOT]),
        }
        presumed = {
            "model": data.get("model"),
            # Users add it with --metadata; the public leaderboard names the provider here.
            "framework": text(data.get("framework")),
            "provenance": "measured",
        }
        yield finish(values, document, context, presumed)


class LlmperfIndividualImporter:
    """Reads the responses of a run, one by one."""

    name = "llmperf-individual"
    markers = "Ray LLMPerf individual responses (an array of ttft_s, end_to_end_latency_s, …)"

    def recognises(self, document: Any) -> bool:
        """Whether the document is an array of LLMPerf's responses, by the first of them."""
        return (
            isinstance(document, list)
            and bool(document)
            and isinstance(document[0], Mapping)
            and document[0].keys() >= _REQUEST
        )

    def records(self, document: Document, context: Context) -> Iterator[ResultRecord | Rejection]:
        """The one record of all responses, or the reason there is none."""
        try:
            samples = _samples(document.data)
        except SamplesError as error:
            yield Rejection(FIELD_INVALID, f"{error}.", document.place)
            return
        if not samples.answered_count:
            yield Rejection(NO_METRICS, "No request of the run produced output.", document.place)
            return
        notes = [NOTE_NO_DURATION, *([NOTE_EMPTY] if samples.empty_count else [])]
        values = {
            "tool": "llmperf",
            **samples.values(),
            "source_sha256": document.sha256,
            "detailed_metrics": detailed({}, computed=samples.other_percentiles(), notes=notes),
        }
        yield samples.sketched(finish(values, document, context, {"provenance": "measured"}))


def _samples(responses: list[Any]) -> Samples:
    samples = Samples()
    for index, response in enumerate(responses):
        if not isinstance(response, Mapping):
            raise SamplesError(f"response {index} is not an object")
        if response.get("error_code") is not None:
            samples.empty_count += 1
            continue
        ttft, latency, tokens = (
            number(response.get(key))
            for key in ("ttft_s", "end_to_end_latency_s", "number_output_tokens")
        )
        if ttft is None or latency is None or tokens is None:
            raise SamplesError(f"response {index} lacks one of {', '.join(sorted(_REQUEST))}")
        if samples.add(ttft * 1000, tokens):
            samples.e2els_ms.append(latency * 1000)
            if tokens > 1:
                samples.tpots_ms.append((latency - ttft) / (tokens - 1) * 1000)
    return samples.sort()


summary_importer = LlmperfImporter()
individual_importer = LlmperfIndividualImporter()
