"""Whole rows of results of the tools that measure servers with requests.

A row is golden/<name>.json: the record as it is sent, with the counts of its sketches, and of the
tool's own figures only how many are kept. Each was held against its document by hand; where the
figures come from is said beside the name.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from servemark.client.records import ResultRecord
from servemark.ingest.v1.latency_sketch_pb2 import LatencySketch
from tests.support.importing import file_records, records
from tests.support.result_documents import DOCUMENTS
from tests.support.shared_data import shared_data

GOLDEN = Path(__file__).parent / "golden"

REAL = {
    # Plain, `"request_goodput:"` with a colon; "median_ttft_ms", "p90_ttft_ms", "p99_ttft_ms" and
    # the same of tpot; "request_rate": "inf"; no p95. "median_itl_ms" is 44.26, TPOT's 17.39: with
    # speculative decoding a chunk holds several tokens.
    "vllm_kimi_conc4": "inferencex-history/vllm_serve/aa3c148e__kimik2.5_1k1k_int4_vllm_tp8-ep1-"
    "dpafalse_disagg-false_spec-mtp_conc4_MI355-gbt350-odcdh5-wbb3.json",
    # Plain; only "median_…" and "p99_…".
    "vllm_gpt_oss_conc128": "dstack-benchmarks/comparison/pd_ratio/raw_data/"
    "1p3d_conc128_in128_out2048_20250914_020816.json",
    # Arrays of 1000 requests, 379 of them empty: percentiles over 621, "rps_sustained" 621 / 100.67
    # s; "throughput_tokens_sec" is "output_throughput".
    "vllm_llama_16qps_detailed": "dstack-benchmarks/comparison/h100sxm5_vs_mi300x/raw_data/"
    "8xH100SXM5-serving/nvidia-vllm-16.0qps-Llama-3.1-405B-FP8-20241109-150547.json",
    # 128 requests of 128 + 2048 tokens in 214.67 s; without the lengths no output throughput.
    "vllm_throughput_real": "dstack-benchmarks/comparison/h100sxm5_vs_mi300x/raw_data/"
    "8xH100SXM5-throughput/nvidia-throughput_test_ip128_op2048_np128.json",
    # benchmarks[].metrics.{time_to_first_token_ms,inter_token_latency_ms}.successful.percentiles;
    # output_tokens_per_second.successful.mean; scheduler's end in benchmarks[].end_time.
    "guidellm_v2": "llm-d-benchmark/tests/fixtures/guidellm_report_v2.json",
    # time_to_first_token and inter_token_latency; the end is max_response_timestamp, 8 hours from
    # the local end_time; memory and utilization of the one GPU that two exporters watch.
    "aiperf_concurrency4": "aiperf-fixtures/qwen_concurrency2/qwen_concurrency4/"
    "profile_export_aiperf.json",
    # successes.latency.{time_to_first_token,time_per_output_token}.{median,p90,p95,p99} x 1000;
    # load_summary.requested_rate 183.38 (103.08 a second were served).
    "inference_perf_stage_6": "inference-perf/demos/kubecon-na-2025/vllm/results/"
    "stage_6_lifecycle_metrics.json",
    "inference_perf_summary": "inference-perf/demos/kubecon-na-2025/vllm/results/"
    "summary_lifecycle_metrics.json",
    # results_ttft_s_quantiles_* x 1000; results_num_completed_requests_per_min / 60; "timestamp".
    "llmperf_groq_70b": "llmperf-leaderboard/raw_data/summary/groq_70b.json",
}
# Worked out by hand in tests/support/result_documents.py, which names the tools' sources.
MADE = tuple(name for name in DOCUMENTS if name != "vllm_latency")


@pytest.mark.parametrize("name", REAL)
def test_a_real_files_rows_are_the_golden_ones(name: str) -> None:
    assert rows(file_records(shared_data(REAL[name]))) == golden(name)


@pytest.mark.parametrize("name", MADE)
def test_a_made_documents_rows_are_the_golden_ones(name: str) -> None:
    assert rows(records(DOCUMENTS[name])) == golden(name)


def test_every_golden_file_is_held_against() -> None:
    assert {path.stem for path in GOLDEN.glob("*.json")} >= {*REAL, *MADE}


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
    for name in ("ttft_sketch", "tpot_sketch"):
        sketch = getattr(record, name)
        if sketch is not None:
            row[name] = _described(sketch)
    return row


def _described(sketch: LatencySketch) -> str:
    buckets = len(sketch.counts)
    return f"{sum(sketch.counts)} samples in {buckets} buckets from {sketch.first_bucket}"
