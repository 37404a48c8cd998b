"""Folders of other people's results, imported as their owner would: one command, one context.

Every real folder of the shared data goes through the real services. The golden file has the counts
by format and by reason.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from servemark.client.record_fields import METRICS
from servemark.ingest.v1.result_query_pb2 import ListBenchmarkResultsRequest
from servemark.stack.files import sample_dir
from servemark.stack.seed import load_catalog
from tests.support.command import Run, run
from tests.support.shared_data import shared_data
from tests.support.stack import RunningStack, golden

__all__ = ["run"]

GOLDEN = Path(__file__).parent / "golden" / "import_folders.json"
KUBECON = "inference-perf/demos/kubecon-na-2025"
STATED: Mapping[str, Any] = {
    "workload_type": "random",
    "benchmarked_at": "2025-11-05T12:00:00Z",
    "provenance": "measured",
}
LLAMA_405B = {
    "model": "meta-llama/Llama-3.1-405B-FP8",
    "hardware": "H100",
    "gpu_count": 8,
    "framework": "vllm",
    "framework_version": "0.6.3.post2.dev308+gb489fc3c",
}
FOLDERS: Mapping[str, Mapping[str, Any]] = {
    "aiconfigurator": {},
    "aiperf-fixtures": {
        "quantization": "bf16",
        "hardware": "rental/h100-80gb-1",
        "gpu_count": 1,
        "framework": "vllm/vllm-openai:v0.11.0",
    },
    "dstack-benchmarks/amd": {
        **LLAMA_405B,
        "hardware": "AMD Instinct MI300X",
        "framework_version": "0.6.3.dev116+g151ef4ef",
    },
    "dstack-benchmarks/comparison/h100sxm5_vs_mi300x": {
        **LLAMA_405B,
        "hardware": "lambda/gpu-8x-h100-sxm",
    },
    "dstack-benchmarks/comparison/pd_ratio": {
        "quantization": "mxfp4",
        "hardware": "rental/h200-141gb-8",
        "gpu_count": 8,
        "framework": "lmsysorg/sglang:latest",
        "framework_version": "latest-2025-09",
    },
    f"{KUBECON}/vllm": {"quantization": "bf16", "hardware": "gcp/a3-highgpu-1g"},
    f"{KUBECON}/vllm+quantization": {"quantization": "nf4", "hardware": "gcp/a3-highgpu-1g"},
    f"{KUBECON}/vllm+batch_size": {"quantization": "bf16"},
    "inferencex-history": {
        "model": "Kimi-K2.5",
        "quantization": "int4",
        "gpu_count": 8,
        "hardware": "mi355x-amds_07",
        "framework": "vllm",
        "framework_version": "0.21.0",
    },
    "llm-d-benchmark": {
        "model": "Qwen/Qwen3-0.6B",
        "quantization": "bf16",
        "gpu_count": 1,
        "hardware": "rental/h100-80gb-1",
        "framework": "vllm/vllm-openai:v0.11.0",
    },
    "llm-d-planner": {"quantization": "fp8"},
    "llmperf-leaderboard": {
        "quantization": "bf16",
        "hardware": "rental/h100-80gb-1",
        "gpu_count": 1,
        "framework": "openai-compatible",
        "framework_version": "unspecified",
    },
    "openshift-psap-performance-dashboard": {
        "quantization": "fp8",
        "framework": "tensorrt",
        "framework_version": "10.8",
        "names": {
            "hardware": {
                "8 x NVIDIA H200-SXM-141GB": "rental/h200-141gb-8",
                "8 x NVIDIA B200-SXM-180GB": "rental/b200-180gb-8",
            }
        },
    },
}


@pytest.fixture(scope="module")
def catalogued(stack: RunningStack) -> RunningStack:
    """The stack with the shipped catalog and no result."""
    with stack.client() as client:
        load_catalog(client.catalog, sample_dir() / "catalog", lambda _: None)
    return stack


def imported(run: Run, folder: str, context: Path) -> dict[str, Any]:
    done = run("import", shared_data(folder), "--context", context, "--json")
    counts: dict[str, Any] = json.loads(done.out.splitlines()[-1])
    assert done.code == (3 if counts["rejected"] else 0), done.err
    assert "Traceback" not in done.err
    return counts


def test_every_real_folder_is_stored_once_and_each_refusal_has_a_reason(
    catalogued: RunningStack, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SERVEMARK_TARGET", catalogued.target)
    monkeypatch.setenv("SERVEMARK_API_KEY", catalogued.key)
    context = tmp_path / "context.json"
    first, again = {}, {}
    for folder, stated in FOLDERS.items():
        context.write_text(json.dumps({**STATED, **stated}))
        first[folder] = imported(run, folder, context)
        again[folder] = imported(run, folder, context)
    for folder, counts in first.items():
        repeated = again[folder]
        assert repeated["stored"] == 0, folder
        assert repeated["duplicates"] == counts["stored"] + counts["duplicates"], folder
        assert repeated["reasons"] == counts["reasons"], folder
    shown = ("files", "stored", "duplicates", "rejected", "formats", "reasons")
    golden(GOLDEN, {name: {key: each[key] for key in shown} for name, each in first.items()})
    with catalogued.client() as client:
        request = ListBenchmarkResultsRequest(page_size=1000)
        page = client.ingest.ListBenchmarkResults(request).benchmark_results
    assert len(page) == min(1000, sum(each["stored"] for each in first.values()))


KINDS: Mapping[str, str] = {
    "vllm": "dstack-benchmarks/comparison/pd_ratio",
    "inference-perf": f"{KUBECON}/vllm",
    "aiperf": "aiperf-fixtures",
}
"""A folder with a file of each format that is followed to its stored row."""


@pytest.mark.parametrize("file_format", KINDS)
def test_a_files_record_is_the_row_that_is_listed(
    catalogued: RunningStack,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    file_format: str,
) -> None:
    monkeypatch.setenv("SERVEMARK_TARGET", catalogued.target)
    monkeypatch.setenv("SERVEMARK_API_KEY", catalogued.key)
    folder = KINDS[file_format]
    context = tmp_path / "context.json"
    context.write_text(json.dumps({**STATED, **FOLDERS[folder]}))
    arguments = ("import", shared_data(folder), "--context", context, "--json")
    printed = [json.loads(line) for line in run(*arguments, "--dry-run").out.splitlines()]
    wanted = next(one for one in printed if one.get("format") == file_format)
    assert run(*arguments).code in (0, 3)
    with catalogued.client() as client:
        request = ListBenchmarkResultsRequest(page_size=1000)
        listed = client.ingest.ListBenchmarkResults(request).benchmark_results
    (row,) = (one for one in listed if one.source_sha256.hex() == wanted["source_sha256"])
    stored = {field.name: value for field, value in row.metrics.ListFields()}
    assert stored == pytest.approx(
        {name: wanted[name] for name in METRICS if wanted[name] is not None}
    )
    # The server keeps milliseconds.
    measured_at = datetime.fromisoformat(wanted["benchmarked_at"])
    assert timedelta(0) <= measured_at - row.benchmark_time.ToDatetime(UTC) < timedelta(0, 0, 1000)
    assert row.config.workload.workload_type == wanted["workload_type"]
    assert row.config.workload.concurrency == (wanted["concurrency"] or 0)
