"""Whole rows of published and aggregated results.

A row is golden/<name>.json: the record as it is sent, and of the tool's own figures only how many
are kept. Each was held against its document by hand; where the tricky figures come from is said
beside the name. Nothing is stated but what the document does not say.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from servemark.client.records import ResultRecord
from servemark.importers.base import Imported
from tests.support.importing import CONTEXT, file_outcomes, file_records, records
from tests.support.published_documents import DOCUMENTS
from tests.support.shared_data import shared_data

GOLDEN = Path(__file__).parent / "golden"

# Nothing but a time, which none of these documents has.
NOTHING: dict[str, Any] = {**dict.fromkeys(CONTEXT), "benchmarked_at": CONTEXT["benchmarked_at"]}
ENGINE = {"framework": "tensorrt-llm", "framework_version": "1.0", "quantization": "fp4"}

REAL: dict[str, tuple[str, dict[str, Any]]] = {
    # "median_ttft" 0.2969768075272441 s; "output_tput_per_gpu" 27.678011491816765 x "tp" 8; the
    # version is the tag of "image", vllm/vllm-openai-rocm:v0.21.0.
    "inferencex_kimi_conc4": (
        "inferencex-history/ix_agg/d58b664c__agg_kimik2.5_1k1k_int4_vllm_tp8-ep1-dpafalse_disagg-"
        "false_spec-mtp_conc4_MI355-gbt350-odcdh5-wbb3.json",
        {},
    ),
    # ttft in "s", its p50 to p99; TPOT has a mean only, so none. 2 replicas of count 8 with tp 8:
    # 16 GPUs. gpu_memory_usage 62.4 GiB = 67.0015 GB; "concurrency: .inf" is no limit.
    "llmd_report_v02": (
        "llm-d-benchmark/llmdbenchmark/analysis/benchmark_report/br_v0_2_example.yaml",
        {"quantization": "bf16"},
    ),
    # Units "ms"; only p50 and p90 of ours; 1 + 8 + 8 GPUs; 32 requests, 1 of them incomplete; the
    # run "stopped" before it started, so the later time ended it.
    "llmd_report_v01": (
        "llm-d-benchmark/llmdbenchmark/analysis/benchmark_report/br_v0_1_example.yaml",
        {},
    ),
}

# Of the table of round 5.1: two scenarios of a system with 2 nodes of 8 GPUs each ("Tokens/s"), and
# one where deepseek-r1 and llama3.1-8b stand under "Samples/s" and "Queries/s", and are tokens.
TABLE = ("openshift-psap-performance-dashboard", "mlperf-data", "mlperf-5.1.csv")
TABLE_SYSTEMS = ("5.1-0013", "5.1-0024")

# The first benchmark of each: "ttft_p90"…; "responses_per_second" is what was served, and
# "requests_per_second" where there is no other; tokens_per_second(_mean).
PLANNER = {
    "planner_simulated": ("benchmarks_BLIS.json", {"quantization": "bf16", "workload_type": "x"}),
    "planner_estimated": (
        "benchmarks_estimated_performance.json",
        {**ENGINE, "workload_type": "x"},
    ),
}

MADE: dict[str, dict[str, Any]] = {
    "inferencex_disagg": {},
    "inferencex_agentic": {"framework_version": "0.12"},
    "llm_perf": {},
    "llama_bench_tg": {},
    "llama_bench_pg": {},
    "mlperf_server": {**ENGINE, "model": "m", "hardware": "h", "gpu_count": 8},
    "mlperf_offline": {**ENGINE, "model": "m", "hardware": "h", "gpu_count": 8},
    "mlperf_summary": {},
    "aiconfigurator_agg": {},
    "aiconfigurator_disagg": {"hardware": "h200+h100"},
}


@pytest.mark.parametrize("name", REAL)
def test_a_real_files_rows_are_the_golden_ones(name: str) -> None:
    path, stated = REAL[name]
    assert rows(file_records(shared_data(path), **NOTHING | stated)) == golden(name)


def test_the_rows_of_mlperfs_table_are_the_golden_ones() -> None:
    found = file_outcomes(shared_data(*TABLE), **NOTHING | ENGINE)
    chosen = [
        outcome.record
        for outcome in found
        if isinstance(outcome, Imported)
        and outcome.record.detailed_metrics["reported"]["Public ID"] in TABLE_SYSTEMS
    ]
    assert rows(chosen) == golden("mlperf_table")


@pytest.mark.parametrize("name", PLANNER)
def test_the_planners_first_row_is_the_golden_one(name: str) -> None:
    file, stated = PLANNER[name]
    path = shared_data("llm-d-planner", "data", "benchmarks", "performance", file)
    assert rows(file_records(path, **NOTHING | stated)[:1]) == golden(name)


@pytest.mark.parametrize("name", MADE)
def test_a_made_documents_rows_are_the_golden_ones(name: str) -> None:
    assert rows(records(DOCUMENTS[name], **NOTHING | MADE[name])) == golden(name)


def golden(name: str) -> Any:
    return json.loads((GOLDEN / f"{name}.json").read_text())


def rows(found: list[ResultRecord]) -> list[dict[str, Any]]:
    """The records as JSON says them, with what is long made short."""
    return [_row(record) for record in found]


def _row(record: ResultRecord) -> dict[str, Any]:
    row = record.to_json()
    details = dict(record.detailed_metrics)
    details["reported"] = f"{len(details['reported'])} figures"
    row["detailed_metrics"] = details
    return row
