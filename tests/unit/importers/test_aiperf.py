import json
from typing import Any

import pytest

from servemark.importers.aiperf import NOTE_CANCELLED, NOTE_ZONE
from tests.support.importing import file_records, record, rejection
from tests.support.result_documents import GENAI_PERF, copy_of
from tests.support.shared_data import shared_data

AIPERF: dict[str, Any] = {
    **GENAI_PERF,
    "was_cancelled": False,
    "error_summary": [],
    "error_request_count": None,
    "goodput": None,
    "start_time": "2025-11-07T13:38:54.793124",
    "end_time": "2025-11-07T13:43:13.730640",
}


def test_genai_perfs_summary_gives_its_percentiles_and_load() -> None:
    found = record(GENAI_PERF, model=None)
    assert found.tool == "genai-perf"
    assert found.model == "org/model"
    assert (found.ttft_p50_ms, found.ttft_p90_ms, found.ttft_p95_ms, found.ttft_p99_ms) == (
        40.0,
        50.0,
        55.0,
        60.0,
    )
    assert (found.tpot_p50_ms, found.tpot_p99_ms) == (7.0, 9.0)
    # `avg` over the whole system; output_token_throughput_per_user is another.
    assert found.throughput_tokens_sec == 640.0
    assert found.rps_sustained == 5.0
    assert (found.concurrency, found.input_tokens, found.output_tokens) == (8, 550, 128)
    assert (found.request_count, found.failed_request_count) == (50, None)


def test_telemetry_gives_the_mean_utilization_and_the_memory_of_all_gpus() -> None:
    found = record(GENAI_PERF)
    assert (found.gpu_utilization_pct, found.memory_used_gb) == (85.0, 64.0)


def test_memory_that_one_gpu_lacks_is_not_the_memory_of_all() -> None:
    document = copy_of(GENAI_PERF)
    del document["telemetry_stats"]["gpu_memory_used"]["gpu1"]
    found = record(document)
    assert (found.gpu_utilization_pct, found.memory_used_gb) == (85.0, None)


@pytest.mark.parametrize(
    ("unit", "p50"),
    [("ms", 40.0), ("s", 40_000.0), ("sec", 40_000.0), ("us", 0.04), ("ns", 4e-05), ("min", None)],
)
def test_the_unit_of_a_metric_is_heeded(unit: str, p50: float | None) -> None:
    document = copy_of(GENAI_PERF)
    document["time_to_first_token"]["unit"] = unit
    assert record(document).ttft_p50_ms == (None if p50 is None else pytest.approx(p50))


def test_a_file_without_a_time_takes_it_from_the_context_or_is_rejected() -> None:
    assert rejection(GENAI_PERF, benchmarked_at=None).reason == "TIME_MISSING"


def test_the_last_responses_timestamp_is_the_end_and_the_local_clock_is_not() -> None:
    stamped = {**AIPERF, "max_response_timestamp": {"unit": "ns", "avg": 1762551790357240000}}
    found = record(stamped, benchmarked_at=None)
    # 21:43:10 UTC; the local clock of the machine said 13:43:13.
    assert found.to_json()["benchmarked_at"] == "2025-11-07T21:43:10.357240Z"
    assert "notes" not in found.detailed_metrics


def test_without_it_the_local_clock_is_taken_and_noted() -> None:
    found = record(AIPERF, benchmarked_at=None)
    assert found.to_json()["benchmarked_at"] == "2025-11-07T13:43:13.730640Z"
    assert found.detailed_metrics["notes"] == [NOTE_ZONE]


def test_what_failed_is_none_only_where_the_tool_counts_it() -> None:
    assert record(AIPERF).failed_request_count == 0
    assert record({**AIPERF, "error_summary": None}).failed_request_count is None
    counted = {**AIPERF, "error_request_count": {"unit": "requests", "avg": 3.0}}
    assert record(counted).failed_request_count == 3


@pytest.mark.parametrize(("written", "cancelled"), [(True, True), ("true", True), ("false", False)])
def test_a_cancelled_run_is_noted(written: object, cancelled: bool) -> None:
    notes = record({**AIPERF, "was_cancelled": written}).detailed_metrics["notes"]
    assert (NOTE_CANCELLED in notes) == cancelled


def test_metrics_that_are_null_are_not_measured() -> None:
    found = record({**AIPERF, "time_to_first_token": None})
    assert found.ttft_p50_ms is None
    assert found.tpot_p50_ms == 7.0


def test_figures_of_two_models_are_of_none() -> None:
    document = copy_of(GENAI_PERF)
    document["input_config"]["model_names"] = ["a", "b"]
    assert rejection(document, model=None).reason == "CONTEXT_MISSING"


def test_every_real_file_gives_its_own_percentiles() -> None:
    files = sorted(shared_data("aiperf-fixtures").rglob("profile_export_aiperf.json"))
    assert len(files) == 3
    for path in files:
        data, (found,) = json.loads(path.read_text()), file_records(path, model=None)
        assert found.model == "Qwen/Qwen3-0.6B"
        for percent in (50, 90, 95, 99):
            ours = found.to_json()
            assert ours[f"ttft_p{percent}_ms"] == data["time_to_first_token"][f"p{percent}"]
            assert ours[f"tpot_p{percent}_ms"] == data["inter_token_latency"][f"p{percent}"]
        assert found.concurrency == data["input_config"]["loadgen"]["concurrency"]
        assert found.failed_request_count == 0
        # Two exporters watch the same GPU: it counts once, as the first of them saw it.
        first, _ = data["telemetry_data"]["endpoints"].values()
        (gpu,) = first["gpus"].values()
        assert found.memory_used_gb == gpu["metrics"]["gpu_memory_used"]["avg"]
