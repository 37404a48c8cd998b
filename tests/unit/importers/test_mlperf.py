from pathlib import Path

import pytest

from servemark.importers.base import Imported, Rejection
from tests.support.importing import file_outcomes, file_records, outcomes, record, rejection
from tests.support.published_documents import MLPERF_OFFLINE, MLPERF_SERVER, MLPERF_SUMMARY
from tests.support.shared_data import shared_data

SUBMISSION = "closed/AMD/results/8xMI355X/llama2-70b-99/{}/performance/run_1/mlperf_log_summary.txt"


@pytest.mark.parametrize(
    ("path", "workload"),
    [
        (SUBMISSION.format("Server"), "mlperf-server"),
        (SUBMISSION.format("Interactive"), "mlperf-interactive"),
        (SUBMISSION.replace("-99", "-interactive-99").format("Server"), "mlperf-interactive"),
        ("llama2-70b/Interactive/mlperf_log_summary.txt", "mlperf-interactive"),
        ("mlperf_log_summary.txt", "mlperf-server"),
    ],
)
def test_an_interactive_run_is_told_by_its_folder(path: str, workload: str) -> None:
    assert record(MLPERF_SERVER, path, workload_type=None).workload_type == workload


def test_the_folders_of_a_submission_name_the_model() -> None:
    found = record(MLPERF_SERVER, SUBMISSION.format("Server"), model=None)
    assert found.model == "llama2-70b-99"
    assert found.detailed_metrics["reported"]["system"] == "8xMI355X"


def test_nanoseconds_are_milliseconds_to_the_last_digit() -> None:
    found = record(MLPERF_SERVER)
    assert found.ttft_p50_ms == 227.905995
    assert found.tpot_p99_ms == 38.889954


def test_an_offline_run_has_throughput_and_no_rate_it_was_sent_at() -> None:
    found = record(MLPERF_OFFLINE)
    assert (found.throughput_tokens_sec, found.rps_sustained) == (95004.0, 69.1714)
    assert (found.request_rate, found.ttft_p99_ms) == (None, None)


def test_first_tokens_that_were_never_reported_are_no_latency_of_zero() -> None:
    lines = MLPERF_SERVER.splitlines()
    zeros = [
        f"{line.split(':')[0]}: 0" if "first token latency" in line else line for line in lines
    ]
    found = record("\n".join(zeros))
    assert (found.ttft_p50_ms, found.tpot_p50_ms) == (None, 35.971914)
    assert "never reported its first tokens" in found.detailed_metrics["notes"][0]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("Result is : VALID", "Result is : INVALID", "RUN_FAILED"),
        ("Result is : VALID", "", "RUN_FAILED"),
        ("PerformanceOnly", "AccuracyOnly", "NO_METRICS"),
        (
            "Mean Time per",
            "50.00 percentile first token latency (ns) : 1\nMean Time per",
            "FIELD_INVALID",
        ),
    ],
)
def test_a_log_that_is_no_valid_run_is_rejected(old: str, new: str, reason: str) -> None:
    assert rejection(MLPERF_SERVER.replace(old, new)).reason == reason


def test_a_log_is_read_from_a_file_named_or_found(tmp_path: Path) -> None:
    path = tmp_path / "mlperf_log_summary.txt"
    path.write_text(MLPERF_SERVER)
    assert file_records(path)[0].rps_sustained == 260.1


def test_accelerators_are_counted_on_every_node() -> None:
    assert record(MLPERF_SUMMARY | {"Nodes": 4, "a#": 8.0}).gpu_count == 32


@pytest.mark.parametrize(
    ("model", "unit", "field"),
    [
        ("llama2-70b-99", "Tokens/s", "throughput_tokens_sec"),
        ("stable-diffusion-xl", "Queries/s", "rps_sustained"),
        ("resnet", "Samples/s", "rps_sustained"),
        ("deepseek-r1", "Samples/s", "throughput_tokens_sec"),
    ],
)
def test_a_result_stands_under_the_field_of_its_unit(model: str, unit: str, field: str) -> None:
    found = record(MLPERF_SUMMARY | {"Model": model, "Performance_Units": unit})
    assert getattr(found, field) == 21028.2
    assert (found.throughput_tokens_sec is None) != (found.rps_sustained is None)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"Performance_Units": "Latency (ms)"}, "NO_METRICS"),
        ({"Performance_Result": None}, "NO_METRICS"),
        ({"errors": 2}, "RUN_FAILED"),
        ({"a#": 0}, "FIELD_INVALID"),
    ],
)
def test_a_result_that_is_no_rate_of_gpus_is_rejected(
    changed: dict[str, object], reason: str
) -> None:
    assert rejection(MLPERF_SUMMARY | changed).reason == reason


def test_an_unset_precision_is_not_known() -> None:
    found = outcomes(MLPERF_SUMMARY | {"weight_data_types": "UNSET"}, quantization=None)
    assert isinstance(found[0], Rejection)
    assert "quantization" in found[0].detail


@pytest.mark.parametrize(
    ("round_", "results", "without_gpus"), [("5.0", 810, 49), ("5.1", 493, 61)]
)
def test_every_figure_of_a_real_table_is_read_and_systems_without_gpus_rejected(
    round_: str, results: int, without_gpus: int
) -> None:
    path = shared_data(
        "openshift-psap-performance-dashboard", "mlperf-data", f"mlperf-{round_}.csv"
    )
    found = file_outcomes(path)
    assert sum(isinstance(outcome, Imported) for outcome in found) == results
    rejected = [outcome for outcome in found if isinstance(outcome, Rejection)]
    assert len(rejected) == without_gpus
    assert {outcome.detail for outcome in rejected} == {"gpu_count is 0.0; it must be 1 to 4096."}
    assert rejected[0].place.endswith(")"), "the place says which system and benchmark"
