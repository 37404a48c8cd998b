"""Whatever is wrong with a document, an importer says so and raises nothing."""

import json
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from servemark.client.records import row_to_proto
from servemark.importers.base import Imported
from servemark.importers.detect import IMPORTERS
from servemark.runtime.validation import json_problem
from tests.support.importing import outcomes
from tests.support.mutations import mutated
from tests.support.result_documents import DOCUMENTS, VLLM_NEW
from tests.support.shared_data import shared_data

REASONS = {"FORMAT_UNKNOWN", "CONTEXT_MISSING", "TIME_MISSING", "NO_METRICS", "FIELD_INVALID"}
# Four requests with every array of `--save-detailed`.
DETAILED = VLLM_NEW | {
    "ttfts": [0.1, 0.2, 0.0, 0.3],
    "itls": [[0.01], [0.02], [], []],
    "output_lens": [2, 2, 0, 0],
    "latencies": [0.11, 0.22, 0.0, 0.3],
    "errors": ["", "", "", "refused"],
}
MADE = {**DOCUMENTS, "vllm_detailed": DETAILED}
REAL = {
    "guidellm_v2": "llm-d-benchmark/tests/fixtures/guidellm_report_v2.json",
    "aiperf": "aiperf-fixtures/qwen_concurrency1/profile_export_aiperf.json",
    "inference_perf": "inference-perf/demos/kubecon-na-2025/vllm/results/"
    "stage_6_lifecycle_metrics.json",
    "llmperf": "llmperf-leaderboard/raw_data/summary/groq_70b.json",
    "vllm": "dstack-benchmarks/comparison/pd_ratio/raw_data/"
    "1p3d_conc128_in128_out2048_20250914_020816.json",
    "vllm_throughput": "dstack-benchmarks/comparison/h100sxm5_vs_mi300x/raw_data/"
    "8xH100SXM5-throughput/nvidia-throughput_test_ip128_op2048_np128.json",
}
some = settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow], deadline=None)


@pytest.mark.parametrize("name", MADE)
@some
@given(data=st.data())
def test_a_made_document_gone_wrong_gives_records_or_reasons(name: str, data: Any) -> None:
    assert_read(data.draw(mutated(MADE[name])))


@pytest.mark.parametrize("name", REAL)
@some
@given(data=st.data())
def test_a_real_document_gone_wrong_gives_records_or_reasons(name: str, data: Any) -> None:
    document = json.loads(shared_data(REAL[name]).read_text())
    assert_read(data.draw(mutated(document)))


def assert_read(document: Any) -> None:
    """Reads a document as any format, and holds what comes of it to what the server takes."""
    found = outcomes(document)
    assert found
    for outcome in found:
        if isinstance(outcome, Imported):
            record = outcome.record
            row = row_to_proto(record)
            assert row.id
            details = row.detailed_metrics_json
            assert json_problem(json.loads(details), len(details.encode())) is None
            for figure in (record.ttft_p50_ms, record.tpot_p99_ms, record.throughput_tokens_sec):
                assert figure is None or math.isfinite(figure)
        else:
            assert outcome.reason in REASONS
            assert outcome.detail.endswith(".")


def test_every_importer_reads_something_here() -> None:
    read = {item.file_format for name in MADE for item in made_records(name)}
    assert {*read, "vllm-latency", "inference-perf", "llmperf", "jsonl"} <= set(IMPORTERS)


def made_records(name: str) -> list[Imported]:
    return [outcome for outcome in outcomes(MADE[name]) if isinstance(outcome, Imported)]
