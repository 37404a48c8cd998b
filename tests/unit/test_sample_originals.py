"""The shipped figures are those of the files they name, wherever these files are at hand."""

import csv
import hashlib
import json
import os
import re
from importlib.resources import files
from pathlib import Path
from statistics import quantiles
from typing import Any

import pytest

from servemark.client.record_fields import METRICS, TPOT

SAMPLE = Path(str(files("servemark.sample")))
ROOT = Path(__file__).resolve().parents[2]


def results(folder: str) -> list[dict[str, Any]]:
    lines = [p.read_text().splitlines() for p in sorted((SAMPLE / folder).glob("*.jsonl"))]
    return [json.loads(line) for part in lines for line in part]


MEASURED = results("results")
SIMULATED = results("results-simulated")


def one(source: str) -> dict[str, Any]:
    (row,) = (row for row in MEASURED if row["source"].startswith(source))
    return row


@pytest.fixture(scope="module")
def shared_data() -> Path:
    """The folder with the files the figures were read from, or a skip that says it is not here."""
    folder = Path(os.environ.get("SERVEMARK_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"{folder} is not here; SERVEMARK_SHARED_DATA names the original files")
    return folder


def test_every_hash_is_that_of_an_original_file(shared_data: Path) -> None:
    known = {
        hashlib.sha256(path.read_bytes()).hexdigest()
        for path in shared_data.rglob("*")
        if path.is_file()
    }
    assert {row["source_sha256"] for row in MEASURED + SIMULATED} <= known


def test_percentiles_of_the_h100_run_leave_out_the_empty_answers(shared_data: Path) -> None:
    (path,) = shared_data.glob("dstack-benchmarks/comparison/*/raw_data/8xH100SXM5-serving/*.json")
    run = json.loads(path.read_text())
    answered = [i for i in range(1000) if run["ttfts"][i] > 0 and run["output_lens"][i] > 0]
    row = one("dstackai/benchmarks comparison/h100sxm5_vs_mi300x/raw_data/8xH100SXM5-serving")
    assert (row["request_count"], row["failed_request_count"]) == (len(answered), 379)
    ttft = quantiles([run["ttfts"][i] * 1e3 for i in answered], n=100, method="inclusive")
    assert [row[f"ttft_p{q}_ms"] for q in (50, 90, 99)] == pytest.approx(
        [ttft[q - 1] for q in (50, 90, 99)], abs=1e-5
    )
    assert row["ttft_p50_ms"] == pytest.approx(956.390, abs=1e-3)
    assert row["detailed_metrics"]["reported"]["median_ttft_ms"] == pytest.approx(403.316, abs=1e-3)
    tpot = [
        sum(run["itls"][i]) / (run["output_lens"][i] - 1) * 1e3
        for i in answered
        if run["output_lens"][i] > 1
    ]
    assert row["tpot_p99_ms"] == pytest.approx(
        quantiles(tpot, n=100, method="inclusive")[98], abs=1e-5
    )


def test_inference_perf_withholds_the_tpot_its_files_contradict(shared_data: Path) -> None:
    folder = shared_data / "inference-perf" / "demos" / "kubecon-na-2025"
    rows = [row for row in MEASURED if row["tool"] == "inference-perf"]
    assert not any(row.get(key) for row in rows for key in TPOT)
    for row in rows:
        path = folder / row["source"].split("kubecon-na-2025/")[1]
        run = json.loads(path.read_text())["successes"]
        latency = run["latency"]
        assert row["ttft_p99_ms"] == pytest.approx(latency["time_to_first_token"]["p99"] * 1e3)
        assert row["throughput_tokens_sec"] == pytest.approx(
            run["throughput"]["output_tokens_per_sec"]
        )
        after_first = latency["request_latency"]["mean"] - latency["time_to_first_token"]["mean"]
        per_token = after_first / (run["output_len"]["mean"] - 1)
        assert per_token / latency["time_per_output_token"]["mean"] > 2


def test_inferencex_throughput_is_per_gpu_times_gpus(shared_data: Path) -> None:
    for path in shared_data.glob("inferencex-history/ix_agg/*.json"):
        run = json.loads(path.read_text())
        row = one(f"SemiAnalysisAI/InferenceX {path.name.split('__')[1]}")
        assert row["throughput_tokens_sec"] == pytest.approx(run["output_tput_per_gpu"] * 8)
        assert row["ttft_p90_ms"] == pytest.approx(run["p90_ttft"] * 1e3)
        assert row["tpot_p50_ms"] == pytest.approx(run["median_tpot"] * 1e3)


def test_rows_of_csv_files_are_those_rows(shared_data: Path) -> None:
    for row in MEASURED:
        if match := re.fullmatch(r"dstackai/benchmarks (amd/\S+\.csv) row (\d+)", row["source"]):
            with (shared_data / "dstack-benchmarks" / match[1]).open() as file:
                original = list(csv.DictReader(file))[int(match[2]) - 1]
            assert row["ttft_p50_ms"] == float(original["Median TTFT (ms)"])
            assert row["tpot_p99_ms"] == float(original["P99 TPOT (ms)"])
            assert row["throughput_tokens_sec"] == float(
                original["Output token throughput (tok/s)"]
            )


def test_mlperf_figures_stand_in_their_column_and_row(shared_data: Path) -> None:
    path = shared_data / "openshift-psap-performance-dashboard/mlperf-data/mlperf-5.1.csv"
    with path.open() as file:
        lines = list(csv.reader(file))
    benchmarks = list(lines[2])
    for column, name in enumerate(benchmarks):
        benchmarks[column] = name or benchmarks[column - 1]
    cells, system = {}, ""
    for line in lines[5:]:
        system = line[0] or system
        if line[14].startswith("Avg. Result"):
            for column in range(15, len(line)):
                cells[system, benchmarks[column], lines[3][column]] = line[column]
    rows = [row for row in MEASURED if row["tool"] == "mlperf-loadgen"]
    for row in rows:
        key = re.search(r"row (\S+) (\S+) (\S+);", row["source"])
        assert key
        assert row["throughput_tokens_sec"] == float(cells[key[1], key[2], key[3]].replace(",", ""))
        assert [name for name in METRICS if name in row] == ["throughput_tokens_sec"]
