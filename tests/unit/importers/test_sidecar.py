"""Where an import's context comes from, and which part of it counts."""

import json
from pathlib import Path
from typing import Any

import pytest

from servemark.client.records import ResultRecord
from servemark.importers.base import Imported, Rejection
from servemark.importers.context import Context
from servemark.importers.documents import Found, find_files
from servemark.importers.reading import Reader
from servemark.importers.sidecar import ContextError, ContextSearch
from tests.support.importing import CONTEXT
from tests.support.result_documents import INFERENCE_PERF_UNSTREAMED
from tests.unit.importers.test_reading import LINE, write_lines

MANIFEST = """
apiVersion: apps/v1
kind: Deployment
spec:
  replicas: 1
  template:
    spec:
      nodeSelector: {cloud.google.com/gke-accelerator: nvidia-h100-80gb}
      containers:
      - image: vllm/vllm-openai:v0.11.0
        args: ["--model=$(MODEL_ID)", "--max-num-seqs=128"]
        env: [{name: MODEL_ID, value: org/served}]
        resources: {limits: {nvidia.com/gpu: 2}}
"""
CONFIG = "server: {model_name: org/asked-for, type: vllm}\nload: {type: constant}\n"


def context_of(path: Path, root: Path, **typed: Any) -> dict[str, Any]:
    return ContextSearch(Context.from_values(typed)).of(path, root).stated()


def test_the_nearer_side_car_counts_key_by_key_and_what_is_typed_before_all(tmp_path: Path) -> None:
    deep = tmp_path / "runs" / "h100"
    deep.mkdir(parents=True)
    (tmp_path / "servemark.yaml").write_text("hardware: far\nworkload_type: chat\ngpu_count: 8\n")
    (deep / "servemark.toml").write_text('hardware = "near"\ngpu_count = 4\n')
    assert context_of(deep / "a.json", tmp_path) == {
        "hardware": "near",
        "workload_type": "chat",
        "gpu_count": 4,
    }
    assert context_of(deep / "a.json", tmp_path, gpu_count=2)["gpu_count"] == 2


def test_a_side_car_above_the_folder_that_was_named_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "servemark.json").write_text('{"hardware": "far"}')
    (tmp_path / "runs").mkdir()
    assert context_of(tmp_path / "runs" / "a.json", tmp_path / "runs") == {}


@pytest.mark.parametrize("text", ["hardwere: x\n", "- a\n", "a: [", "gpu_count: eight\n"])
def test_a_wrong_side_car_rejects_its_files_by_name_and_no_others(
    tmp_path: Path, text: str
) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "servemark.yaml").write_text(text)
    write_lines(tmp_path / "bad" / "a.jsonl", LINE)
    write_lines(tmp_path / "good.jsonl", LINE)
    refused, good = (
        outcome for found in find_files([tmp_path]) for outcome in Reader().read(found)
    )
    assert isinstance(refused, Rejection)
    assert refused.reason == "CONTEXT_INVALID"
    assert "bad/servemark.yaml" in refused.detail
    assert isinstance(good, Imported)


def test_two_side_cars_in_one_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "servemark.yaml").write_text("gpu_count: 1\n")
    (tmp_path / "servemark.json").write_text('{"gpu_count": 2}')
    with pytest.raises(ContextError, match="keep one"):
        context_of(tmp_path / "a.json", tmp_path)


def test_manifests_say_model_gpus_framework_and_version_of_the_reports_beside_them(
    tmp_path: Path,
) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "manifests.yaml").write_text(MANIFEST)
    (tmp_path / "config.yaml").write_text(CONFIG)
    (tmp_path / "servemark.yaml").write_text("model: org/side-car\nworkload_type: chat\n")
    said = {
        "model": "org/served",
        "hardware": "nvidia-h100-80gb",
        "gpu_count": 2,
        "framework": "vllm",
        "framework_version": "0.11.0",
        "workload_type": "chat",
    }
    report = tmp_path / "results" / "stage_0_lifecycle_metrics.json"
    assert context_of(report, tmp_path) == said
    assert context_of(report, tmp_path, model="org/typed") == {**said, "model": "org/typed"}
    assert context_of(tmp_path / "results" / "other.json", tmp_path) == {
        "model": "org/side-car",
        "workload_type": "chat",
    }


@pytest.mark.parametrize(
    ("change", "lost"),
    [
        (("v0.11.0", "latest"), {"model", "hardware", "gpu_count", "framework_version"}),
        (("replicas: 1", "replicas: 3"), {"gpu_count"}),
        (("org/served}", "}"), {"model"}),
    ],
)
def test_what_a_manifest_leaves_open_is_not_guessed(
    tmp_path: Path, change: tuple[str, str], lost: set[str]
) -> None:
    (tmp_path / "manifests.yaml").write_text(MANIFEST.replace(*change))
    said = context_of(tmp_path / "summary_lifecycle_metrics.json", tmp_path)
    assert not lost & said.keys()


def test_where_two_servers_differ_neither_counts(tmp_path: Path) -> None:
    other = MANIFEST.replace("org/served", "org/other")
    (tmp_path / "manifests.yaml").write_text(f"{MANIFEST}---{other}")
    said = context_of(tmp_path / "stage_0_lifecycle_metrics.json", tmp_path)
    assert "model" not in said
    assert said["gpu_count"] == 2


def test_manifests_in_a_folder_are_passed_over_and_a_named_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifests.yaml").write_text(MANIFEST)
    (tmp_path / "config.yaml").write_text(CONFIG)
    report = tmp_path / "stage_0_lifecycle_metrics.json"
    report.write_text(json.dumps(INFERENCE_PERF_UNSTREAMED))
    reader = Reader(Context.from_values({key: CONTEXT[key] for key in CONTEXT if key != "model"}))
    (imported,) = (one for found in find_files([tmp_path]) for one in reader.read(found))
    assert isinstance(imported, Imported)
    assert imported.record.model == "org/served"
    (refused, *_) = reader.read(Found(tmp_path / "manifests.yaml", tmp_path, is_named=True))
    assert isinstance(refused, Rejection)
    assert refused.reason == "FORMAT_UNKNOWN"


def test_names_of_a_side_car_replace_what_the_file_says(tmp_path: Path) -> None:
    (tmp_path / "servemark.yaml").write_text(
        "names:\n"
        f"  hardware: {{'{LINE['gpu_count']} x {LINE['hardware']}': rental/mine}}\n"
        f"  model: {{'{LINE['model']}': org/renamed int4}}\n"
        f"  framework: {{'{LINE['framework']}': sglang 0.5.9}}\n"
    )
    record = only(tmp_path, {**LINE})
    assert (record.hardware, record.model, record.quantization) == (
        "rental/mine",
        "org/renamed",
        "int4",
    )
    assert (record.framework, record.framework_version) == ("sglang", "0.5.9")


def test_what_a_name_says_fills_a_gap_and_what_is_stated_stays(tmp_path: Path) -> None:
    line = {**LINE, "model": "org/m-FP8", "framework": "vllm/vllm-openai:v0.11.0"}
    line |= {"quantization": None, "framework_version": None}
    record = only(tmp_path, line)
    assert (record.quantization, record.framework_version) == ("fp8", "0.11.0")
    assert only(tmp_path, {**line, "quantization": "int8"}).quantization == "int8"


def only(folder: Path, line: dict[str, Any]) -> ResultRecord:
    path = write_lines(folder / "r.jsonl", line)
    (imported,) = Reader().read(Found(path, folder, is_named=True))
    assert isinstance(imported, Imported), imported
    return imported.record
