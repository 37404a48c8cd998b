import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from servemark.client.records import DRY_RUN_KEYS
from tests.support.command import Run
from tests.support.ingest_protocol import IngestProtocol, serve
from tests.unit.importers.test_reading import LINE, write_lines
from tests.unit.importers.test_vllm import CONTEXT, PLAIN


@pytest.fixture
def ingest(tmp_path: Path) -> Iterator[tuple[IngestProtocol, str]]:
    protocol = IngestProtocol(tmp_path / "state")
    server, port = serve(protocol)
    yield protocol, f"127.0.0.1:{port}"
    server.stop(None).wait()


@pytest.fixture
def vllm_file(tmp_path: Path) -> Path:
    path = tmp_path / "result.json"
    path.write_text(json.dumps(PLAIN))
    return path


@pytest.fixture
def context_file(tmp_path: Path) -> Path:
    path = tmp_path / "context.toml"
    path.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in CONTEXT.items()))
    return path


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_dry_run_prints_the_contracts_keys_one_object_a_line(
    run: Run, vllm_file: Path, context_file: Path
) -> None:
    done = run("import", vllm_file, "--context", context_file, "--dry-run", "--json")
    assert (done.code, done.err) == (0, "")
    (shown,) = lines(done.out)
    assert list(shown) == list(DRY_RUN_KEYS)
    assert shown["format"] == "vllm"
    assert shown["benchmarked_at"] == "2025-09-14T02:09:03Z"


def test_a_rejected_record_is_an_object_with_its_reason_and_the_exit_code_is_3(
    run: Run, vllm_file: Path
) -> None:
    done = run("import", vllm_file, "--dry-run", "--json")
    assert done.code == 3
    (shown,) = lines(done.out)
    assert list(shown) == ["rejected", "detail"]
    assert shown["rejected"] == "CONTEXT_MISSING"
    for key in CONTEXT:
        assert key in shown["detail"]


def test_a_dry_run_for_people_is_a_table_within_100_columns(
    run: Run, vllm_file: Path, context_file: Path
) -> None:
    done = run("import", vllm_file, "--context", context_file, "--dry-run")
    assert done.code == 0
    assert "openai/gpt-oss-120b fp8" in done.out
    assert "1 result would be sent." in done.out
    assert max(map(len, done.out.splitlines())) <= 100


def test_results_are_streamed_and_the_same_file_again_stores_nothing(
    run: Run, tmp_path: Path, ingest: tuple[IngestProtocol, str]
) -> None:
    protocol, target = ingest
    path = write_lines(tmp_path / "r.jsonl", LINE, {**LINE, "ttft_p90_ms": 99})
    first = run("import", path, "--target", target)
    assert (first.code, first.out) == (0, "Stored 2 results.\n")
    again = run("import", path, "--target", target, "--json")
    assert lines(again.out) == [
        {
            "stored": 0,
            "duplicates": 2,
            "rejected": 0,
            "replayed": 2,
            "files": 1,
            "formats": {"jsonl": {"stored": 0, "duplicates": 2, "rejected": 0}},
            "reasons": {},
        }
    ]
    assert protocol.result_count() == 2


def test_what_the_server_refuses_is_shown_with_its_place(
    run: Run, tmp_path: Path, ingest: tuple[IngestProtocol, str]
) -> None:
    path = write_lines(tmp_path / "r.jsonl", LINE, {**LINE, "hardware": "unknown"})
    done = run("import", path, "--target", ingest[1])
    assert done.code == 3
    assert done.out == "Stored 1 result; 1 rejected.\n"
    assert "CONFIG_UNRESOLVED: No hardware is named unknown." in done.err
    assert "r.jsonl:2" in done.err
    as_json = run("import", path, "--target", ingest[1], "--json")
    assert as_json.code == 3
    assert lines(as_json.out)[0] == {
        "rejected": "CONFIG_UNRESOLVED",
        "detail": "No hardware is named unknown.",
    }


def test_the_files_time_counts_only_if_asked_for(run: Run, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "r.jsonl", {**LINE, "benchmarked_at": None})
    os.utime(path, (1_700_000_000, 1_700_000_000))
    assert run("import", path, "--dry-run", "--json").code == 3
    done = run("import", path, "--dry-run", "--json", "--time-from-file")
    assert lines(done.out)[0]["benchmarked_at"] == "2023-11-14T22:13:20Z"


def test_a_folder_is_walked(run: Run, tmp_path: Path) -> None:
    (tmp_path / "runs" / "deep").mkdir(parents=True)
    write_lines(tmp_path / "runs" / "a.jsonl", LINE)
    write_lines(tmp_path / "runs" / "deep" / "b.jsonl", {**LINE, "ttft_p90_ms": 3})
    assert len(lines(run("import", tmp_path / "runs", "--dry-run", "--json").out)) == 2


@pytest.mark.parametrize(
    "arguments",
    [["import"], ["import", "missing.json"], ["import", ".", "--format", "xml"], ["impart"]],
)
def test_wrong_usage_ends_with_2(run: Run, arguments: list[str]) -> None:
    assert run(*arguments).code == 2


def test_a_wrong_context_names_every_wrong_key(run: Run, tmp_path: Path, vllm_file: Path) -> None:
    path = tmp_path / "context.json"
    path.write_text('{"hardwere": "x", "gpu_count": "eight"}')
    done = run("import", vllm_file, "--context", path, "--dry-run")
    assert done.code == 1
    assert "hardwere is not a key" in done.err
    assert "gpu_count must be a whole number" in done.err


@pytest.mark.parametrize("text", ["{", "[]", "\xff"])
def test_a_context_that_is_no_context_is_an_error_in_words(
    run: Run, tmp_path: Path, vllm_file: Path, text: str
) -> None:
    path = tmp_path / "context.json"
    path.write_bytes(text.encode("latin-1"))
    done = run("import", vllm_file, "--context", path, "--dry-run")
    assert done.code == 1
    assert done.err.startswith("servemark: ")
    assert "Traceback" not in done.err


def test_nobody_there_is_an_error_in_words(run: Run, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "r.jsonl", LINE)
    done = run("--target", "127.0.0.1:1", "import", path)
    assert done.code == 1
    assert "No Servemark answers at 127.0.0.1:1" in done.err
    assert "Traceback" not in done.err


MAPPING = """
[fields]
ttft_p50_ms = { from = "ttft", unit = "s" }
[constants]
tool = "ours"
benchmarked_at = "2025-01-02T03:04:05Z"
provenance = "measured"
model = "org/m"
"""


def test_a_mapping_reads_what_no_format_of_ours_is(
    run: Run, tmp_path: Path, context_file: Path
) -> None:
    table, mapping = tmp_path / "runs.csv", tmp_path / "mapping.toml"
    table.write_text("ttft\n0.25\n0.5\n")
    mapping.write_text(MAPPING)
    arguments = ("import", table, "--context", context_file, "--dry-run", "--json")
    unknown = run(*arguments)
    assert unknown.code == 3
    assert "--mapping FILE" in unknown.out
    done = run(*arguments, "--mapping", mapping)
    assert (done.code, done.err) == (0, "")
    assert [shown["ttft_p50_ms"] for shown in lines(done.out)] == [250.0, 500.0]
    assert {shown["format"] for shown in lines(done.out)} == {"mapping"}


def test_a_wrong_mapping_is_an_error_in_words_that_names_the_line(
    run: Run, vllm_file: Path, tmp_path: Path
) -> None:
    mapping = tmp_path / "mapping.toml"
    mapping.write_text(MAPPING.replace("ttft_p50_ms", "ttft_p50"))
    done = run("import", vllm_file, "--dry-run", "--mapping", mapping)
    assert done.code == 1
    assert "mapping.toml:3: fields.ttft_p50 is not known" in " ".join(done.err.split())


def test_a_mapping_is_the_format(run: Run, vllm_file: Path, tmp_path: Path) -> None:
    mapping = tmp_path / "mapping.toml"
    mapping.write_text(MAPPING)
    done = run("import", vllm_file, "--dry-run", "--mapping", mapping, "--format", "vllm")
    assert done.code == 2
    assert "leave --format out" in " ".join(done.err.split())
