import json
from pathlib import Path

import pytest

from servemark.importers.inference_perf import NOTE_SUMMARY, stage_of
from tests.support.importing import file_outcomes, file_records, record, rejection
from tests.support.result_documents import INFERENCE_PERF_UNSTREAMED
from tests.support.shared_data import shared_data

RESULTS = "inference-perf/demos/kubecon-na-2025"


def test_what_did_not_stream_has_no_ttft_and_no_tpot() -> None:
    found = record(INFERENCE_PERF_UNSTREAMED)
    assert (found.ttft_p50_ms, found.tpot_p50_ms) == (None, None)
    assert found.percentile_source == "absent"
    assert (found.throughput_tokens_sec, found.rps_sustained) == (64.0, 1.0)
    assert (found.concurrency, found.request_rate) == (4, None)
    assert (found.request_count, found.failed_request_count) == (10, 2)
    # Seconds, as the tool wrote them.
    assert found.detailed_metrics["reported"]["request_latency.median"] == 1.25


def test_the_stage_is_told_by_the_name_alone() -> None:
    name = "stage_12_lifecycle_metrics.json"
    assert record(INFERENCE_PERF_UNSTREAMED, name).detailed_metrics["reported"]["stage"] == 12
    assert stage_of(Path("results/stage_0_lifecycle_metrics.yaml")) == 0
    assert stage_of(Path("summary_lifecycle_metrics.json")) is None
    assert stage_of(Path(f"stage_{'9' * 5000}_lifecycle_metrics.json")) is None


def test_nothing_of_model_hardware_and_time_is_guessed() -> None:
    missing = rejection(INFERENCE_PERF_UNSTREAMED, model=None, hardware=None)
    assert missing.reason == "CONTEXT_MISSING"
    assert "does not say model, hardware;" in missing.detail
    assert rejection(INFERENCE_PERF_UNSTREAMED, benchmarked_at=None).reason == "TIME_MISSING"


def test_a_run_in_which_nothing_succeeded_is_rejected() -> None:
    failed = {**INFERENCE_PERF_UNSTREAMED, "successes": {"count": 0, "latency": {}}}
    assert rejection(failed).reason == "NO_METRICS"


@pytest.mark.parametrize("folder", ["vllm", "vllm+batch_size", "vllm+quantization"])
def test_every_real_stage_and_summary_gives_its_percentiles_in_milliseconds(folder: str) -> None:
    files = sorted(shared_data(RESULTS, folder, "results").glob("*_lifecycle_metrics.json"))
    assert len(files) == 8
    for path in files:
        data, (found,) = json.loads(path.read_text()), file_records(path)
        latency, ours = data["successes"]["latency"], found.to_json()
        for percent, theirs in ((50, "median"), (90, "p90"), (95, "p95"), (99, "p99")):
            assert ours[f"ttft_p{percent}_ms"] == latency["time_to_first_token"][theirs] * 1000
            assert ours[f"tpot_p{percent}_ms"] == latency["time_per_output_token"][theirs] * 1000
        assert found.request_rate == data["load_summary"].get("requested_rate")
        assert found.failed_request_count == 0
        summary = path.name.startswith("summary")
        assert found.detailed_metrics.get("notes") == ([NOTE_SUMMARY] if summary else None)
        assert ("stage" in found.detailed_metrics["reported"]) != summary


def test_what_prometheus_scraped_is_refused_with_what_to_import() -> None:
    path = shared_data(RESULTS, "vllm/results/stage_6_prometheus_metrics.json")
    (found,) = file_outcomes(path)
    assert "import the lifecycle_metrics beside it" in found.detail  # type: ignore[union-attr]


def test_the_real_report_of_the_newest_shape_is_read() -> None:
    yaml = pytest.importorskip("yaml")
    path = shared_data("llm-d-benchmark/tests/fixtures/inference_perf_lifecycle.yaml")
    found = record(yaml.safe_load(path.read_text()), path.name)
    # successes.latency.time_to_first_token.median, 0.030000000000000027 s
    assert found.ttft_p50_ms == 30.000000000000027
    assert (found.request_rate, found.request_count) == (1.0, 3)
