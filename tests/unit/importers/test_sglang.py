import math

import pytest

from servemark.importers.samples import NOTE_EMPTY
from servemark.importers.serving import NOTE_ZERO_TTFT
from tests.support.importing import record, rejection
from tests.support.result_documents import SGLANG_DETAILED, SGLANG_PLAIN


def test_a_plain_line_gives_the_percentiles_it_has_and_no_others() -> None:
    found = record(SGLANG_PLAIN)
    assert (found.ttft_p50_ms, found.ttft_p99_ms) == (75.0, 140.0)
    assert (found.tpot_p50_ms, found.tpot_p99_ms) == (6.25, 9.5)
    assert (found.ttft_p90_ms, found.ttft_p95_ms, found.tpot_p90_ms, found.tpot_p95_ms) == (
        None,
        None,
        None,
        None,
    )
    assert found.percentile_source == "measured"
    # Output tokens only: `total_throughput` counts the input too.
    assert found.throughput_tokens_sec == 640.0
    assert found.rps_sustained == 5.0
    # The file does not say how many were sent.
    assert (found.request_count, found.failed_request_count) == (20, None)


def test_the_p90_and_p95_of_newer_versions_are_taken() -> None:
    found = record({**SGLANG_PLAIN, "p90_ttft_ms": 100.0, "p95_ttft_ms": 120.0})
    assert (found.ttft_p90_ms, found.ttft_p95_ms) == (100.0, 120.0)


def test_the_limit_is_the_concurrency_and_not_the_mean_that_was_measured() -> None:
    assert record(SGLANG_PLAIN).concurrency == 16
    assert record({**SGLANG_PLAIN, "max_concurrency": None}).concurrency is None


@pytest.mark.parametrize(
    ("written", "rate"), [("trace", None), ("inf", None), (math.inf, None), (8.0, 8.0)]
)
def test_only_a_finite_request_rate_is_one(written: object, rate: float | None) -> None:
    assert record({**SGLANG_PLAIN, "request_rate": written}).request_rate == rate


def test_its_own_server_names_model_version_and_degrees() -> None:
    found = record(
        SGLANG_PLAIN, model=None, framework=None, framework_version=None, quantization=None
    )
    assert (found.model, found.framework) == ("Qwen/Qwen3-8B", "sglang")
    assert (found.framework_version, found.quantization) == ("0.5.3", "fp8")
    assert found.parallelism == {"tp": 4, "pp": 1, "dp": 1, "ep": 1}


def test_without_a_server_of_its_own_nothing_is_guessed() -> None:
    found = rejection({**SGLANG_PLAIN, "server_info": None}, model=None, framework=None)
    assert found.reason == "CONTEXT_MISSING"
    assert "does not say model, framework;" in found.detail


def test_lengths_are_nominal_only_where_all_are_the_same() -> None:
    found = record(SGLANG_PLAIN, workload_type=None)
    assert (found.workload_type, found.input_tokens, found.output_tokens) == ("random", 1024, 128)
    drawn = record({**SGLANG_PLAIN, "random_range_ratio": 0.5})
    assert (drawn.input_tokens, drawn.output_tokens) == (None, None)
    other = record({**SGLANG_PLAIN, "dataset_name": "sharegpt"})
    assert (other.input_tokens, other.output_tokens) == (None, None)


def test_details_are_counted_over_the_requests_that_answered() -> None:
    found = record(SGLANG_DETAILED)
    # Three answered with TTFT 0.125, 0.25 and 0.5 s; one was empty, one refused.
    assert (found.request_count, found.failed_request_count) == (3, 2)
    assert (found.ttft_p50_ms, found.ttft_p90_ms) == (250.0, 450.0)
    # Two with a second token: their gaps over the tokens after the first.
    assert (found.tpot_p50_ms, found.tpot_p99_ms) == (93.75, 124.375)
    assert found.rps_sustained == 1.5
    assert found.percentile_source == "computed_from_samples"
    assert found.detailed_metrics["reported"]["median_ttft_ms"] == 150.0
    assert found.detailed_metrics["computed"]["e2el_p50_ms"] == 500.0
    assert found.detailed_metrics["notes"] == [NOTE_EMPTY]
    assert found.ttft_sketch is not None
    assert found.tpot_sketch is not None
    assert (sum(found.ttft_sketch.counts), sum(found.tpot_sketch.counts)) == (3, 2)


def test_a_median_of_zero_is_no_measurement() -> None:
    found = record({**SGLANG_PLAIN, "median_ttft_ms": 0.0, "p99_ttft_ms": 0.0})
    assert (found.ttft_p50_ms, found.ttft_p99_ms) == (None, None)
    assert found.detailed_metrics["notes"] == [NOTE_ZERO_TTFT]


def test_a_run_in_which_nothing_answered_is_rejected() -> None:
    assert rejection({**SGLANG_PLAIN, "completed": 0}).reason == "NO_METRICS"
    assert rejection({**SGLANG_DETAILED, "output_lens": [0] * 5}).reason == "NO_METRICS"


def test_a_line_without_a_date_takes_it_from_the_context_or_is_rejected() -> None:
    assert rejection(SGLANG_PLAIN, benchmarked_at=None).reason == "TIME_MISSING"
