import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from servemark.client.records import ResultRecord
from servemark.client.sketch import sketch_of
from servemark.importers.base import Document, Imported, Rejection
from servemark.importers.context import Context
from servemark.importers.detect import read_document
from servemark.importers.documents import read_documents
from servemark.importers.samples import NOTE_EMPTY
from servemark.importers.serving import NOTE_ZERO_TTFT
from servemark.importers.vllm import NOTE_ZONE
from tests.support.result_documents import VLLM_NEW
from tests.support.shared_data import shared_data

CONTEXT = {
    "quantization": "fp8",
    "hardware": "rental/h100-80gb-8",
    "gpu_count": 8,
    "framework": "vllm",
    "framework_version": "0.6.4",
    "workload_type": "sharegpt",
}
PLAIN: dict[str, Any] = {
    "date": "20250914-020903",
    "model_id": "openai/gpt-oss-120b",
    "num_prompts": 10,
    "completed": 9,
    "request_rate": "inf",
    "max_concurrency": None,
    "duration": 2.0,
    "request_throughput": 4.5,
    "output_throughput": 90.0,
    "request_goodput:": 3.5,
    "median_ttft_ms": 20.0,
    "p99_ttft_ms": 40.0,
    "p99.9_ttft_ms": 50.0,
    "median_tpot_ms": 5.0,
    "p99_tpot_ms": 6.0,
}
# Four requests: two that answered with three tokens, one empty, one failed.
ARRAYS: dict[str, Any] = {
    "ttfts": [0.1, 0.0, 0.3, 0.2],
    "itls": [[0.01, 0.03], [], [0.02, 0.02], []],
    "output_lens": [3, 0, 3, 0],
    "errors": ["", "", "", "refused"],
}


def outcome_of(data: Any, **context: Any) -> Imported | Rejection:
    document = Document(data, Path("result.json"), "ab" * 32)
    stated = Context.from_values({**CONTEXT, **context})
    (outcome,) = read_document(document, stated)
    return outcome


def record_of(data: Any, **context: Any) -> ResultRecord:
    outcome = outcome_of(data, **context)
    assert isinstance(outcome, Imported), outcome
    assert outcome.file_format == "vllm"
    return outcome.record


def import_file(path: Path) -> ResultRecord:
    (document,) = read_documents(path)
    assert isinstance(document, Document)
    (outcome,) = read_document(document, Context.from_values(CONTEXT))
    assert isinstance(outcome, Imported), outcome
    return outcome.record


def test_a_plain_file_gives_what_it_reports_and_nothing_else() -> None:
    record = record_of(PLAIN)
    assert record.model == "openai/gpt-oss-120b"
    assert record.to_json()["benchmarked_at"] == "2025-09-14T02:09:03Z"
    assert (record.ttft_p50_ms, record.ttft_p90_ms, record.ttft_p99_ms) == (20.0, None, 40.0)
    assert (record.tpot_p50_ms, record.tpot_p95_ms, record.tpot_p99_ms) == (5.0, None, 6.0)
    assert record.throughput_tokens_sec == 90.0
    assert record.rps_sustained == 4.5
    assert (record.request_count, record.failed_request_count) == (9, 1)
    assert record.percentile_source == "measured"
    assert record.provenance == "measured"
    assert record.source_sha256 == "ab" * 32


def test_an_infinite_rate_and_a_null_concurrency_are_no_limits() -> None:
    record = record_of(PLAIN)
    assert (record.request_rate, record.concurrency) == (None, None)
    other = record_of({**PLAIN, "request_rate": 16.0, "max_concurrency": 128})
    assert (other.request_rate, other.concurrency) == (16.0, 128)


def test_the_tools_own_figures_are_kept_with_the_colon_key_repaired() -> None:
    reported = record_of(PLAIN).detailed_metrics["reported"]
    assert reported["p99.9_ttft_ms"] == 50.0
    assert reported["request_goodput"] == 3.5
    assert reported["request_rate"] == "inf"
    assert "max_concurrency" not in reported


def test_the_date_without_a_zone_is_noted() -> None:
    assert record_of(PLAIN).detailed_metrics["notes"] == [NOTE_ZONE]


def test_per_request_arrays_are_counted_over_the_requests_that_answered() -> None:
    record = record_of({**PLAIN, **ARRAYS})
    assert (record.request_count, record.failed_request_count) == (2, 2)
    assert record.ttft_p50_ms == pytest.approx(200.0)
    assert record.ttft_p90_ms == pytest.approx(280.0)
    assert record.tpot_p50_ms == pytest.approx(20.0)
    assert record.rps_sustained == 1.0
    assert record.percentile_source == "computed_from_samples"
    assert record.detailed_metrics["notes"] == [NOTE_ZONE, NOTE_EMPTY]
    assert record.detailed_metrics["reported"]["median_ttft_ms"] == 20.0
    assert record.detailed_metrics["computed"]["e2el_p50_ms"] == pytest.approx(240.0)


def test_samples_become_sketches_of_the_requests_that_answered() -> None:
    record = record_of({**PLAIN, **ARRAYS})
    # 100 and 300 ms; both TPOTs are 20 ms.
    assert record.ttft_sketch == sketch_of([100.0, 300.0])
    assert record.tpot_sketch is not None
    assert sum(record.tpot_sketch.counts) == 2
    assert record_of(PLAIN).ttft_sketch is None


def test_what_newer_versions_write_is_read_and_kept() -> None:
    record = record_of(VLLM_NEW)
    assert (record.ttft_p50_ms, record.ttft_p90_ms, record.ttft_p95_ms) == (20.0, 22.0, 23.0)
    assert (record.tpot_p95_ms, record.tpot_p99_ms) == (8.0, 9.0)
    assert (record.concurrency, record.request_rate) == (8, 4.0)
    # "failed", which older versions leave to num_prompts - completed.
    assert (record.request_count, record.failed_request_count) == (8, 2)
    reported = record.detailed_metrics["reported"]
    assert reported["p99.9_e2el_ms"] == 405.0
    assert reported["request_goodput"] == 3.5
    assert reported["spec_decode_acceptance_rate"] == 61.5
    assert reported["probe_median_e2el_ms"] == 12.0


def test_numbers_written_as_text_are_numbers_and_what_is_none_is_absent() -> None:
    record = record_of({**PLAIN, "median_ttft_ms": "20.0", "p99_ttft_ms": "NaN"})
    assert (record.ttft_p50_ms, record.ttft_p99_ms) == (20.0, None)
    assert record_of({**PLAIN, "max_concurrency": "16"}).concurrency == 16


def test_figures_beyond_what_a_row_takes_are_left_to_the_original() -> None:
    record = record_of({**PLAIN, **{f"note_{index}": "x" * 300 for index in range(500)}})
    reported = record.detailed_metrics["reported"]
    assert 30 < len(reported) < 60
    assert reported["note_0"] == "x" * 256


def test_tpot_is_the_tools_own_where_the_file_has_latencies() -> None:
    record = record_of({**PLAIN, **ARRAYS, "latencies": [0.3, 0.0, 0.5, 0.0]})
    assert record.tpot_p50_ms == pytest.approx(100.0)


def test_a_median_ttft_of_zero_is_no_measurement() -> None:
    record = record_of({**PLAIN, "median_ttft_ms": 0.0})
    assert (record.ttft_p50_ms, record.ttft_p99_ms) == (None, None)
    assert NOTE_ZERO_TTFT in record.detailed_metrics["notes"]


def test_a_run_in_which_nothing_answered_is_rejected() -> None:
    for data in ({**PLAIN, "completed": 0}, {**PLAIN, **ARRAYS, "output_lens": [0, 0, 0, 0]}):
        outcome = outcome_of(data)
        assert isinstance(outcome, Rejection)
        assert outcome.reason == "NO_METRICS"


@pytest.mark.parametrize(
    "arrays",
    [
        {"output_lens": [3, 0]},
        {"ttfts": ["0.1", 0, 0, 0]},
        {"itls": [[None], [], [], []]},
        {"itls": [[0.01, float("nan")], [], [], []]},
        {"output_lens": [10**400, 0, 3, 0]},
        # A request that ends before its first token; one that takes 12 days.
        {"latencies": [0.05, 0, 0.4, 0]},
        {"ttfts": [1.1e6, 0, 0.3, 0.2]},
    ],
)
def test_arrays_that_contradict_each_other_are_rejected(arrays: dict[str, Any]) -> None:
    outcome = outcome_of({**PLAIN, **ARRAYS, **arrays})
    assert isinstance(outcome, Rejection)
    assert outcome.reason == "FIELD_INVALID"


@pytest.mark.parametrize("key", sorted(CONTEXT))
def test_what_nobody_says_is_rejected_by_name_and_never_guessed(key: str) -> None:
    outcome = outcome_of(PLAIN, **{key: None})
    assert isinstance(outcome, Rejection)
    assert outcome.reason == "CONTEXT_MISSING"
    assert f"does not say {key};" in outcome.detail


def test_a_file_without_a_date_takes_it_from_the_context_or_is_rejected() -> None:
    undated = {key: value for key, value in PLAIN.items() if key != "date"}
    outcome = outcome_of(undated)
    assert isinstance(outcome, Rejection)
    assert outcome.reason == "TIME_MISSING"
    assert "--time-from-file" in outcome.detail
    stated = record_of(undated, benchmarked_at="2025-01-02T03:04:05Z")
    assert stated.to_json()["benchmarked_at"] == "2025-01-02T03:04:05Z"


def test_the_context_names_the_model_a_server_was_called_by_another_name() -> None:
    assert record_of({**PLAIN, "model_id": "/models/x"}, model="org/x").model == "org/x"
    assert record_of(PLAIN, provenance="simulated").provenance == "simulated"


def test_sglangs_file_is_not_taken_for_vllms() -> None:
    outcome = outcome_of({**PLAIN, "mean_e2e_latency_ms": 3.0})
    assert isinstance(outcome, Rejection)
    assert outcome.reason == "FORMAT_UNKNOWN"


def test_the_real_detailed_file_gives_the_percentiles_of_the_621_that_answered() -> None:
    path = shared_data(
        "dstack-benchmarks/comparison/h100sxm5_vs_mi300x/raw_data/8xH100SXM5-serving",
        "nvidia-vllm-16.0qps-Llama-3.1-405B-FP8-20241109-150547.json",
    )
    record = import_file(path)
    assert record.ttft_p50_ms is not None
    assert record.ttft_p90_ms is not None
    assert record.ttft_p99_ms is not None
    assert round(record.ttft_p50_ms, 3) == 956.390
    assert round(record.ttft_p90_ms, 3) == 7999.707
    assert round(record.ttft_p99_ms, 3) == 10040.932
    assert (record.request_count, record.failed_request_count) == (621, 379)
    reported = record.detailed_metrics["reported"]
    assert round(reported["median_ttft_ms"], 3) == 403.316
    assert round(reported["p99_ttft_ms"], 3) == 9912.536
    assert record.percentile_source == "computed_from_samples"
    assert record.source_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert record.ttft_sketch is not None
    assert sum(record.ttft_sketch.counts) == 621
    assert record.request_rate == 16.0


def test_every_real_plain_file_keeps_the_tools_own_percentiles() -> None:
    folders = (
        shared_data("dstack-benchmarks/comparison/pd_ratio/raw_data"),
        shared_data("inferencex-history/vllm_serve"),
    )
    files = [path for folder in folders for path in sorted(folder.glob("*.json"))]
    assert len(files) == 13
    for path in files:
        data, record = json.loads(path.read_text()), import_file(path)
        assert record.ttft_p50_ms == data["median_ttft_ms"]
        assert record.ttft_p90_ms == data.get("p90_ttft_ms")
        assert record.ttft_p95_ms is None
        assert record.ttft_p99_ms == data["p99_ttft_ms"]
        assert record.tpot_p99_ms == data["p99_tpot_ms"]
        assert record.concurrency == data["max_concurrency"]
        assert record.request_rate is None
        assert record.failed_request_count == 0
