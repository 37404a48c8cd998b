"""Tables and lists of results: optimum-benchmark, llama-bench, llm-d-planner, aiconfigurator."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from servemark.importers.base import Imported, Rejection
from tests.support.importing import file_outcomes, file_records, outcomes, record, rejection
from tests.support.published_documents import (
    AICONFIGURATOR_AGG,
    AICONFIGURATOR_DISAGG,
    LLAMA_BENCH_PG,
    LLAMA_BENCH_PP,
    LLAMA_BENCH_TG,
    LLM_PERF,
    LLM_PERF_FAILED,
)
from tests.support.shared_data import shared_data

PLANNER = ("llm-d-planner", "data", "benchmarks", "performance")


def write_table(path: Path, *rows: dict[str, Any]) -> Path:
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_a_failed_run_of_a_table_is_rejected_with_what_it_said(tmp_path: Path) -> None:
    path = write_table(tmp_path / "perf-df.csv", LLM_PERF, LLM_PERF_FAILED)
    good, failed = file_outcomes(path)
    assert isinstance(good, Imported)
    assert isinstance(failed, Rejection)
    assert failed.reason == "RUN_FAILED"
    assert failed.detail == "The run failed: MemoryError: CUDA out of memory."


def test_not_a_number_is_not_measured() -> None:
    assert record(LLM_PERF).tpot_p90_ms is None
    empty = {key: "NaN" if key.startswith("report.") else cell for key, cell in LLM_PERF.items()}
    assert rejection(empty).reason == "NO_METRICS"


def test_the_time_of_all_tokens_is_no_time_for_each() -> None:
    older = {key: cell for key, cell in LLM_PERF.items() if "per_token" not in key}
    assert record(older).tpot_p50_ms is None


def test_optimums_own_file_is_the_same_nested() -> None:
    nested: dict[str, Any] = {}
    for key, cell in LLM_PERF.items():
        place = nested
        *path, last = key.split(".")
        for part in path:
            place = place.setdefault(part, {})
        place[last] = cell
    assert record(nested).to_json() == record(LLM_PERF).to_json()


@pytest.mark.parametrize("suffix", ["json", "jsonl", "csv"])
def test_a_test_of_llama_bench_is_the_same_in_each_of_its_outputs(
    tmp_path: Path, suffix: str
) -> None:
    tests = [LLAMA_BENCH_PP, LLAMA_BENCH_TG]
    path = tmp_path / f"llama.{suffix}"
    if suffix == "csv":
        write_table(
            path, *({k: v for k, v in test.items() if "samples" not in k} for test in tests)
        )
    elif suffix == "json":
        path.write_text(json.dumps(tests, indent=2))
    else:
        path.write_text("\n".join(map(json.dumps, tests)))
    prompt, generation = file_outcomes(path)
    assert isinstance(prompt, Rejection)
    assert prompt.detail.startswith("The test pp512 only processes a prompt")
    assert isinstance(generation, Imported)
    assert generation.record.throughput_tokens_sec == 118.881588
    assert generation.record.framework_version == "b5163"


def test_a_test_of_both_counts_the_generated_tokens_alone() -> None:
    found = record(LLAMA_BENCH_PG)
    # 128 of 640 tokens, of 500 a second.
    assert found.throughput_tokens_sec == 100.0
    assert (found.input_tokens, found.output_tokens) == (512 + 256, 128)
    assert (found.ttft_p50_ms, found.percentile_source) == (None, "absent")


@pytest.mark.parametrize(
    ("kind", "quantization"),
    [
        ("qwen2 7B Q4_K - Medium", "q4_k_m"),
        ("llama 8B F16", "f16"),
        ("llama 70B IQ2_XS - 2.3125 bpw", "iq2_xs"),
        ("gpt-oss 120B MXFP4 MoE", "mxfp4"),
        ("llama 7B mostly Q4_0", "q4_0"),
    ],
)
def test_the_quantization_is_that_of_the_models_type(kind: str, quantization: str) -> None:
    assert record(LLAMA_BENCH_TG | {"model_type": kind}).quantization == quantization


def test_every_simulated_row_of_the_planner_keeps_its_own_percentiles() -> None:
    path = shared_data(*PLANNER, "benchmarks_BLIS.json")
    rows, found = json.loads(path.read_text())["benchmarks"], file_records(path)
    assert len(found) == len(rows) == 1383
    for row, result in zip(rows, found, strict=True):
        assert result.provenance == "simulated"
        assert [result.ttft_p90_ms, result.ttft_p95_ms, result.ttft_p99_ms] == [
            row[f"ttft_p{percent}"] for percent in (90, 95, 99)
        ]
        assert (result.ttft_p50_ms, result.tpot_p90_ms) == (None, None)
        assert result.rps_sustained == row["responses_per_second"]
        assert (result.model, result.gpu_count) == (row["model_hf_repo"], row["hardware_count"])


def test_every_estimated_row_of_the_planner_is_called_so() -> None:
    found = file_records(shared_data(*PLANNER, "benchmarks_estimated_performance.json"))
    assert len(found) == 70
    assert {result.provenance for result in found} == {"estimated"}


def test_a_planners_file_that_does_not_say_how_it_came_about_is_not_taken_for_measured() -> None:
    path = shared_data("llm-d-planner", "tests", "fixtures", "test_benchmarks.json")
    found = file_outcomes(path)
    assert len(found) == 6
    assert {outcome.reason for outcome in found if isinstance(outcome, Rejection)} == {
        "CONTEXT_MISSING"
    }
    assert [result.provenance for result in file_records(path, provenance="simulated")] == [
        "simulated"
    ] * 6


def test_an_estimate_is_called_so_and_its_one_value_is_no_percentile() -> None:
    found = record(AICONFIGURATOR_AGG, provenance="measured")
    assert found.provenance == "estimated"
    assert (found.ttft_p50_ms, found.percentile_source) == (None, "absent")
    assert found.detailed_metrics["reported"]["ttft"] == 542.58
    assert (found.throughput_tokens_sec, found.gpu_count) == (3125.0, 8)


def test_a_disaggregated_estimate_is_of_all_gpus_and_of_what_both_sides_share() -> None:
    found = record(AICONFIGURATOR_DISAGG)
    assert (found.throughput_tokens_sec, found.gpu_count) == (250.0 * 16, 16)
    assert found.framework == "trtllm"
    assert "hardware" in rejection(AICONFIGURATOR_DISAGG, hardware=None).detail


def test_the_real_table_of_means_is_rejected_row_by_row() -> None:
    found = file_outcomes(shared_data("aiconfigurator", "silicon_sample.dev.csv"))
    assert len(found) == 349
    assert {outcome.reason for outcome in found if isinstance(outcome, Rejection)} == {"NO_METRICS"}
    assert "--mapping" in found[0].detail if isinstance(found[0], Rejection) else False


def test_a_list_of_results_is_read_element_by_element() -> None:
    found = outcomes([LLAMA_BENCH_TG, {"unknown": 1}, LLAMA_BENCH_TG])
    assert [type(outcome) for outcome in found] == [Imported, Rejection, Imported]
