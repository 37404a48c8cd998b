import json
from pathlib import Path
from typing import Any

import pytest

from servemark.importers.documents import read_documents
from tests.support.importing import file_records, record, rejection
from tests.support.published_documents import INFERENCEX_AGENTIC, INFERENCEX_DISAGG
from tests.support.shared_data import shared_data

FOLDER = ("inferencex-history", "ix_agg")
PLAIN: dict[str, Any] = {
    "hw": "mi355x-amds_07",
    "conc": 8,
    "image": "vllm/vllm-openai:v0.19.0-cu130",
    "framework": "vllm",
    "precision": "fp8",
    "disagg": "false",
    "is_multinode": "false",
    "tp": 4,
    "tput_per_gpu": 20.0,
    "output_tput_per_gpu": 10.0,
    "median_ttft": 0.5,
}


def test_every_real_aggregate_has_its_seconds_as_milliseconds_and_all_gpus_throughput() -> None:
    files = sorted(shared_data(*FOLDER).glob("*.json"))
    assert len(files) == 3
    for path in files:
        data, (found,) = json.loads(path.read_text()), file_records(path)
        for metric in ("ttft", "tpot"):
            for percent, key in ((50, "median"), (90, "p90"), (99, "p99")):
                expected = data[f"{key}_{metric}"] * 1000
                assert getattr(found, f"{metric}_p{percent}_ms") == expected
            assert getattr(found, f"{metric}_p95_ms") is None
        assert found.throughput_tokens_sec == data["output_tput_per_gpu"] * data["tp"]
        assert (found.gpu_count, found.concurrency) == (8, data["conc"])


@pytest.mark.parametrize(
    ("name", "hardware"),
    [("b200-dgxc", "b200"), ("mi355x-amds_07", "mi355x"), ("h100", "h100"), ("gb200_nv", "gb200")],
)
def test_the_clusters_name_is_no_part_of_the_hardware(name: str, hardware: str) -> None:
    assert record(PLAIN | {"hw": name}, hardware=None).hardware == hardware


def test_output_is_times_the_gpus_that_decode_and_the_others_count_as_well() -> None:
    found = record(INFERENCEX_DISAGG)
    assert (found.throughput_tokens_sec, found.gpu_count) == (130.0 * 8, 16)
    together = record(INFERENCEX_DISAGG | {"num_decode_gpu": 0})
    assert (together.throughput_tokens_sec, together.gpu_count) == (130.0 * 8, 8)


def test_false_in_quotation_marks_is_false() -> None:
    found = record({**PLAIN, "num_prefill_gpu": 4, "num_decode_gpu": 4})
    assert found.gpu_count == 4
    assert found.parallelism == {"tp": 4}


def test_an_agentic_run_has_no_median_no_p99_and_no_lengths() -> None:
    found = record(INFERENCEX_AGENTIC)
    assert (found.ttft_p50_ms, found.ttft_p90_ms, found.ttft_p99_ms) == (None, 1250.0, None)
    assert (found.input_tokens, found.output_tokens) == (None, None)
    assert found.throughput_tokens_sec == 640.0
    assert (found.request_count, found.failed_request_count) == (118, 2)


def test_the_reciprocal_of_a_deviation_is_not_kept() -> None:
    reported = record(INFERENCEX_DISAGG).detailed_metrics["reported"]
    assert "std_intvty" not in reported
    assert reported["p99_tpot"] == 0.015


def test_the_version_is_the_images_tag_unless_that_is_none_or_the_user_knows_better() -> None:
    assert record(PLAIN, framework_version=None).framework_version == "0.19.0"
    assert record(PLAIN, framework_version="0.19.1").framework_version == "0.19.1"
    nightly = PLAIN | {"image": "vllm/vllm-openai:nightly"}
    assert "framework_version" in rejection(nightly, framework_version=None).detail


def test_what_the_file_says_stays() -> None:
    found = record(PLAIN, quantization="int4", gpu_count=8, framework="sglang")
    assert (found.quantization, found.gpu_count, found.framework) == ("fp8", 4, "vllm")


def test_an_aggregate_in_a_file_of_its_own_and_in_the_array_is_one_result(tmp_path: Path) -> None:
    rows = [PLAIN, PLAIN | {"conc": 16}]
    (tmp_path / "agg_bmk.json").write_text(json.dumps(rows, indent=2))
    (tmp_path / "agg_x.json").write_text(json.dumps(PLAIN))
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    first, second = file_records(tmp_path / "agg_bmk.json")
    (alone,) = file_records(tmp_path / "agg_x.json")
    assert first.id() == alone.id() != second.id()
    assert [found.id() for found in file_records(tmp_path / "rows.jsonl")] == [
        first.id(),
        second.id(),
    ]
    assert len(list(read_documents(tmp_path / "agg_bmk.json"))) == 1
