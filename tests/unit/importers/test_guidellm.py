from typing import Any

import pytest

from servemark.importers.base import Rejection
from servemark.importers.guidellm import NOTE_ITL
from servemark.importers.samples import NOTE_EMPTY
from tests.support.importing import file_records, outcomes, record, records, rejection
from tests.support.result_documents import GUIDELLM_V0, GUIDELLM_V1, copy_of
from tests.support.shared_data import shared_data


def changed(report: Any, **changes: Any) -> Any:
    """The report with other figures in its first benchmark."""
    report = copy_of(report)
    report["benchmarks"] = [{**report["benchmarks"][0], **changes}]
    return report


def test_a_report_gives_a_result_for_each_of_its_rates() -> None:
    found = records(GUIDELLM_V1, model=None)
    assert [(item.concurrency, item.request_rate) for item in found] == [
        (1, None),  # synchronous
        (32, None),  # streams
        # The 512 of the strategy is the tool's own limit, not the user's.
        (None, 2.5),
    ]
    assert {item.model for item in found} == {"org/model"}
    assert {item.tool_version for item in found} == {"0.5.0"}
    assert {(item.input_tokens, item.output_tokens) for item in found} == {(512, 256)}
    assert len({item.id() for item in found}) == 3
    assert found[1].to_json()["benchmarked_at"] == "2025-10-09T08:56:00.500000Z"


def test_tpot_is_what_leaves_the_first_token_out() -> None:
    found = record(changed(GUIDELLM_V1))
    assert (found.tpot_p50_ms, found.tpot_p90_ms, found.tpot_p95_ms, found.tpot_p99_ms) == (
        5.0,
        9.0,
        9.5,
        9.9,
    )
    reported = found.detailed_metrics["reported"]
    assert reported["time_per_output_token_ms.p50"] == 777.0
    assert found.detailed_metrics["notes"] == [NOTE_ITL]


def test_only_successful_requests_count() -> None:
    found = record(changed(GUIDELLM_V1))
    assert (found.ttft_p50_ms, found.ttft_p90_ms, found.ttft_p95_ms, found.ttft_p99_ms) == (
        50.0,
        90.0,
        95.0,
        99.0,
    )
    # Two that the end of the run cut off did not fail.
    assert (found.request_count, found.failed_request_count) == (4, 1)


def test_throughputs_are_means_and_the_request_latency_stays_in_seconds() -> None:
    found = record(changed(GUIDELLM_V1))
    assert (found.throughput_tokens_sec, found.rps_sustained) == (512.0, 2.0)
    assert found.detailed_metrics["reported"]["request_latency.p50"] == 1.25


def test_where_every_request_is_kept_percentiles_are_over_those_that_answered() -> None:
    found = record(GUIDELLM_V0, model=None)
    # TTFT 100, 200 and 300 ms; the fourth "success" has no token. TPOT of the two with more.
    assert (found.ttft_p50_ms, found.ttft_p90_ms) == (200.0, 280.0)
    assert (found.tpot_p50_ms, found.tpot_p90_ms) == (15.0, 19.0)
    assert (found.request_count, found.failed_request_count) == (3, 2)
    # 2 requests a second, three quarters of them answered.
    assert found.rps_sustained == 1.5
    assert found.percentile_source == "computed_from_samples"
    assert found.detailed_metrics["computed"]["e2el_p50_ms"] == 240.0
    assert found.detailed_metrics["notes"] == [NOTE_ITL, NOTE_EMPTY]
    assert found.detailed_metrics["reported"]["time_to_first_token_ms.p50"] == 50.0
    assert found.ttft_sketch is not None
    assert sum(found.ttft_sketch.counts) == 3
    assert (found.model, found.input_tokens, found.output_tokens) == ("org/model", 128, 3)
    assert (found.request_rate, found.concurrency) == (2.0, None)


def test_a_random_part_of_the_requests_gives_no_percentiles() -> None:
    sampled = copy_of(GUIDELLM_V0)
    del sampled["benchmarks"][0]["requests"]["successful"][2]
    found = record(sampled)
    assert found.percentile_source == "measured"
    assert found.ttft_p50_ms == 50.0
    assert found.ttft_sketch is None


def test_what_did_not_stream_keeps_its_throughput_and_has_no_ttft() -> None:
    unstreamed = copy_of(GUIDELLM_V0)
    (benchmark,) = unstreamed["benchmarks"]
    for request in benchmark["requests"]["successful"]:
        request["time_to_first_token_ms"] = None
    for name in ("time_to_first_token_ms", "inter_token_latency_ms"):
        benchmark["metrics"][name]["successful"]["percentiles"]["p50"] = 0.0
    found = record(unstreamed)
    assert (found.ttft_p50_ms, found.tpot_p50_ms) == (None, None)
    assert (found.throughput_tokens_sec, found.rps_sustained) == (512.0, 2.0)
    assert (found.request_count, found.failed_request_count) == (4, 1)


def test_a_benchmark_that_is_wrong_is_rejected_by_its_place_and_the_others_are_read() -> None:
    report = copy_of(GUIDELLM_V1)
    report["benchmarks"][1]["metrics"]["request_totals"]["successful"] = 0
    report["benchmarks"][1]["scheduler_metrics"]["requests_made"]["successful"] = 0
    first, second, third = outcomes(report)
    assert isinstance(second, Rejection)
    assert (second.reason, second.place) == ("NO_METRICS", "result.json benchmarks[1]")
    assert not isinstance(first, Rejection)
    assert not isinstance(third, Rejection)


def test_a_report_without_a_benchmark_is_rejected() -> None:
    assert rejection({**GUIDELLM_V1, "benchmarks": []}).reason == "NO_METRICS"


def test_a_median_of_zero_is_no_measurement() -> None:
    report = changed(GUIDELLM_V1)
    found = report["benchmarks"][0]["metrics"]["time_to_first_token_ms"]["successful"]
    found["percentiles"]["p50"] = 0.0
    assert record(report).ttft_p99_ms is None


@pytest.mark.parametrize(
    ("data", "lengths"),
    [
        (["prompt_tokens=512,output_tokens=256"], (512, 256)),
        ([{"prompt_tokens": 64, "output_tokens": 32, "prompt_tokens_stdev": 4}], (64, 32)),
        ('{"prompt_tokens": 8}', (8, None)),
        (["a.jsonl", "prompt_tokens=512"], (None, None)),
        (["prompt_tokens, please"], (None, None)),
        (None, (None, None)),
    ],
)
def test_lengths_are_those_of_the_only_data(data: Any, lengths: tuple[int, int]) -> None:
    report = changed(GUIDELLM_V1)
    report["args"]["data"] = data
    found = record(report)
    assert (found.input_tokens, found.output_tokens) == lengths


def test_the_real_report_of_version_2_gives_both_of_its_rates() -> None:
    path = shared_data("llm-d-benchmark/tests/fixtures/guidellm_report_v2.json")
    first, second = file_records(path, model=None, workload_type=None)
    assert first.model == "e2e-mock-model"
    assert first.workload_type == "synthetic_text"
    assert (first.request_rate, second.request_rate) == (2.0, 4.0)
    # benchmarks[].metrics.inter_token_latency_ms.successful.percentiles.p50
    assert (first.tpot_p50_ms, second.tpot_p50_ms) == (1.0459763663155692, 0.9067058563232422)
    # benchmarks[0].metrics.output_tokens_per_second.successful.mean; its median is 0.4006
    assert first.throughput_tokens_sec == 3.1950675815128577
