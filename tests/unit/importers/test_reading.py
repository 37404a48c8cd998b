import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from servemark.client.record_fields import RecordError
from servemark.importers.base import Document, Imported, Rejection
from servemark.importers.context import Context
from servemark.importers.detect import read_document
from servemark.importers.documents import find_files, read_documents
from servemark.importers.sidecar import read_context

LINE: dict[str, Any] = {
    "model": "org/model",
    "quantization": "fp8",
    "hardware": "aws/p5.48xlarge",
    "gpu_count": 8,
    "framework": "vllm",
    "framework_version": "0.11.0",
    "workload_type": "random",
    "benchmarked_at": "2025-09-14T02:09:03Z",
    "ttft_p90_ms": 12.5,
    "provenance": "measured",
    "tool": "guidellm",
}


def read(path: Path, context: dict[str, Any] | None = None, **options: Any) -> list[Any]:
    stated = Context.from_values(context or {})
    outcomes: list[Any] = []
    for document in read_documents(path, **options):
        if isinstance(document, Rejection):
            outcomes.append(document)
        else:
            outcomes.extend(read_document(document, stated))
    return outcomes


def write_lines(path: Path, *lines: object) -> Path:
    path.write_text("\n".join(map(json.dumps, lines)) + "\n")
    return path


def test_each_line_is_a_record_and_a_broken_one_does_not_stop_the_others(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "results.jsonl", LINE, {**LINE, "ttft_p90_ms": 13})
    path.write_text(path.read_text() + "{broken\n\n" + json.dumps({**LINE, "gpu_count": -1}))
    first, second, broken, invalid = read(path)
    assert first.record.ttft_p90_ms == 12.5
    assert first.file_format == "jsonl"
    assert second.place.endswith(":2")
    assert broken.reason == "NOT_JSON"
    assert broken.place.endswith(":3")
    assert invalid.reason == "FIELD_INVALID"
    assert "gpu_count" in invalid.detail


def test_lines_in_a_file_named_json_are_read_too(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "appended.json", LINE, {**LINE, "ttft_p90_ms": 13})
    assert [type(outcome) for outcome in read(path)] == [Imported, Imported]


def test_a_table_and_parquet_with_our_columns_are_our_own_format(tmp_path: Path) -> None:
    table, columns = tmp_path / "r.csv", tmp_path / "r.parquet"
    cells = {key: str(value) for key, value in LINE.items()}
    table.write_text(f"{','.join(cells)},ttft_p50_ms\n{','.join(cells.values())},\n")
    parquet.write_table(pa.Table.from_pylist([LINE | {"ttft_p50_ms": None}]), columns)
    (of_table,), (of_parquet,) = read(table), read(columns)
    assert of_table.file_format == of_parquet.file_format == "jsonl"
    assert (of_table.record.gpu_count, of_table.record.ttft_p90_ms) == (8, 12.5)
    line = write_lines(tmp_path / "r.jsonl", LINE)
    assert of_parquet.record.id() == read(line)[0].record.id()


def test_the_same_line_with_other_spacing_is_the_same_record(tmp_path: Path) -> None:
    first = read(write_lines(tmp_path / "a.jsonl", LINE))[0]
    spaced = tmp_path / "b.json"
    spaced.write_text(json.dumps(dict(reversed(LINE.items())), indent=4))
    assert read(spaced)[0].record.id() == first.record.id()


def test_the_context_fills_what_a_line_does_not_say_and_never_replaces_it(tmp_path: Path) -> None:
    partial = {key: value for key, value in LINE.items() if key != "hardware"}
    path = write_lines(tmp_path / "results.jsonl", partial)
    (outcome,) = read(path, {"hardware": "gcp/a3-highgpu-8g", "model": "other/model"})
    assert outcome.record.hardware == "gcp/a3-highgpu-8g"
    assert outcome.record.model == "org/model"


def test_the_files_own_time_counts_only_if_asked_for(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "r.jsonl", {**LINE, "benchmarked_at": None})
    os.utime(path, (1_700_000_000, 1_700_000_000))
    (rejected,) = read(path)
    assert rejected.reason == "TIME_MISSING"
    (outcome,) = read(path, time_from_file=True)
    assert outcome.record.to_json()["benchmarked_at"] == "2023-11-14T22:13:20Z"


def test_an_unknown_format_says_what_was_looked_for_and_what_was_found(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"architectures": [], "hidden_size": 4096}')
    (rejected,) = read(path)
    assert rejected.reason == "FORMAT_UNKNOWN"
    assert "vLLM bench serve" in rejected.detail
    assert "Servemark JSON Lines" in rejected.detail
    assert "architectures, hidden_size" in rejected.detail


def test_a_named_format_is_held_to_its_markers() -> None:
    document = Document(LINE, Path("x.json"), "ab" * 32)
    (rejected,) = read_document(document, Context(), "vllm")
    assert isinstance(rejected, Rejection)
    assert rejected.reason == "FORMAT_UNKNOWN"


@pytest.mark.parametrize("text", ["", "[1, 2", "null", "3", '"text"', "[" * 100_000])
def test_whatever_a_file_holds_it_is_rejected_and_not_raised(tmp_path: Path, text: str) -> None:
    path = tmp_path / "odd.json"
    path.write_text(text)
    (rejected,) = read(path)
    assert rejected.reason in ("NOT_JSON", "FORMAT_UNKNOWN")


def test_bytes_that_are_no_text_are_rejected(tmp_path: Path) -> None:
    path = tmp_path / "odd.json"
    path.write_bytes(b"\xff\xfe\x00\x80")
    assert [outcome.reason for outcome in read(path)] == ["NOT_JSON"]


def test_folders_are_walked_in_order_without_hidden_files_and_without_repeats(
    tmp_path: Path,
) -> None:
    for name in (
        "b.json",
        "a/z.jsonl",
        "servemark.json",
        ".git/x.json",
        "notes.md",
        "a/.hidden.json",
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("{}")
    found = find_files([tmp_path, tmp_path / "b.json", tmp_path / "notes.md"])
    assert [str(one.path.relative_to(tmp_path)) for one in found] == [
        "a/z.jsonl",
        "b.json",
        "notes.md",
    ]


def test_a_context_is_read_from_json_and_from_toml(tmp_path: Path) -> None:
    as_json, as_toml = tmp_path / "c.json", tmp_path / "c.toml"
    as_json.write_text('{"hardware": "h", "benchmarked_at": "2025-01-02T03:04:05Z"}')
    as_toml.write_text('hardware = "h"\nbenchmarked_at = 2025-01-02T03:04:05Z\n')
    assert read_context(as_json) == read_context(as_toml)


def test_a_context_names_all_its_wrong_keys() -> None:
    with pytest.raises(RecordError) as caught:
        Context.from_values({"hardwere": "h", "gpu_count": 0, "ttft_p90_ms": 3})
    assert {item.field for item in caught.value.problems} == {
        "hardwere",
        "gpu_count",
        "ttft_p90_ms",
    }


def test_a_document_nested_deeper_than_can_be_hashed_is_rejected_and_not_raised() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    test = {"build_commit": "x", "n_prompt": 1, "n_gen": 2, "avg_ns": 1, "avg_ts": 3, "x": deep}
    (rejected,) = read_document(Document(test, Path("x.json"), "ab" * 32), Context())
    assert isinstance(rejected, Rejection)
    assert rejected.detail == "The document is nested too deep."
