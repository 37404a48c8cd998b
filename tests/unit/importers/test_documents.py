import codecs
import hashlib
import json
import sys
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from servemark.importers import bounds
from servemark.importers.base import Document, Rejection, canonical_sha256
from servemark.importers.documents import find_files, read_documents
from servemark.importers.documents_table import Table


def documents(path: Path) -> list[Document]:
    found = list(read_documents(path))
    assert not [item for item in found if isinstance(item, Rejection)], found
    return [item for item in found if isinstance(item, Document)]


def rejection(path: Path) -> Rejection:
    (found,) = read_documents(path)
    assert isinstance(found, Rejection)
    return found


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (b"", "utf-8"),
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (b"", "utf-16-le"),
        (b"", "utf-16-be"),
    ],
)
@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
def test_a_table_in_any_encoding_of_a_spreadsheet_gives_the_same_rows(
    tmp_path: Path, mark: bytes, encoding: str, delimiter: str
) -> None:
    path = tmp_path / "table.csv"
    text = f'model{delimiter}ttft\r\nµ"{delimiter}1.5\r\n"a{delimiter}b\nc"{delimiter}\r\n'
    path.write_bytes(mark + text.encode(encoding))
    first, second = documents(path)
    assert first.data == {"model": 'µ"', "ttft": "1.5"}
    assert second.data == {"model": f"a{delimiter}b\nc"}
    assert (first.line, second.line) == (2, 4)
    assert first.sha256 == canonical_sha256(first.data)


def test_a_row_with_more_cells_than_columns_is_rejected_and_the_next_one_read(
    tmp_path: Path,
) -> None:
    path = tmp_path / "table.csv"
    path.write_text("a,b\n1,2,3\n4\n,\n")
    wrong, right = read_documents(path)
    assert isinstance(wrong, Rejection)
    assert wrong.detail == "The row has 3 cells, the table 2 columns."
    assert wrong.place.endswith(":2")
    assert isinstance(right, Document)
    assert right.data == {"a": "4"}


def test_columns_of_the_same_name_are_rejected(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("a,b,a\n1,2,3\n")
    assert rejection(path).detail == "Columns occur twice: a."


def test_a_table_with_several_rows_of_names_comes_whole(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(",,,Benchmark\n,,,llama2-70b\nID,System,Nodes,Server\n")
    (document,) = documents(path)
    assert isinstance(document.data, Table)
    assert document.data.rows[1] == ["", "", "", "llama2-70b"]


@pytest.mark.parametrize("content", [b'a,b\n"x', b"a,b\n\xff\xfe,1", b"a\n" + b"x" * 2**21])
def test_what_is_no_table_is_rejected(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    assert rejection(path).reason == "NOT_TABLE"


def test_an_empty_table_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("")
    assert documents(path) == []


def test_yaml_times_stay_texts_and_infinity_is_a_number(tmp_path: Path) -> None:
    path = tmp_path / "report.yaml"
    path.write_text("a: 2025-11-05T18:00:42Z\nb: .inf\nc: &x [1]\nd: *x\n---\n---\nnext: 0.2\n")
    first, second = documents(path)
    assert first.data == {"a": "2025-11-05T18:00:42Z", "b": float("inf"), "c": [1], "d": [1]}
    assert second.data == {"next": 0.2}
    assert first.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


_LAUGHS = "a0: &a0 [x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (_LAUGHS, "unfolds to more than 1000000 values"),
        ("[" * 200, "nested more than 100 deep"),
        ("a: &x [*x]", "contains itself"),
        ("!!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("a: *nobody", "undefined alias"),
        ("? [1]\n: 2", "unhashable key"),
        ("a: [", "expected"),
    ],
)
def test_yaml_that_is_wrong_or_unfolds_without_end_is_rejected(
    tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "report.yml"
    path.write_text(text)
    found = rejection(path)
    assert found.reason == "NOT_YAML"
    assert said in found.detail


def test_parquet_rows_hold_what_json_can_hold(tmp_path: Path) -> None:
    path = tmp_path / "results.parquet"
    rows = [
        {"model": "a", "time": datetime(2025, 1, 2, 3, tzinfo=UTC), "figures": {"p50": 1.5}},
        {"model": "b", "time": None, "figures": None},
    ]
    parquet.write_table(pa.Table.from_pylist(rows), path)
    first, second = documents(path)
    assert first.data == {
        "model": "a",
        "time": "2025-01-02T03:00:00+00:00",
        "figures": {"p50": 1.5},
    }
    assert second.data == {"model": "b"}
    assert (first.line, second.line) == (1, 2)


def test_what_is_no_parquet_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "results.parquet"
    path.write_bytes(b"PAR1 and nothing else")
    assert rejection(path).reason == "NOT_PARQUET"


@pytest.mark.parametrize(
    ("name", "module", "package"),
    [("a.parquet", "pyarrow", "pyarrow"), ("a.yaml", "yaml", "pyyaml")],
)
def test_without_its_parser_a_file_is_rejected_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, module: str, package: str
) -> None:
    path = tmp_path / name
    path.write_text("a: 1")
    monkeypatch.setitem(sys.modules, module, None)
    found = rejection(path)
    assert found.reason == "PARSER_MISSING"
    assert f"pip install {package}" in found.detail


def test_half_a_character_is_rejected_where_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": "\\ud83d"}\n{"a": "\\ud83d\\ude00"}\n')
    wrong, right = read_documents(path)
    assert isinstance(wrong, Rejection)
    assert wrong.reason == "NOT_JSON"
    assert isinstance(right, Document)
    assert right.data == {"a": "😀"}


def test_a_byte_order_mark_does_not_hide_json(tmp_path: Path) -> None:
    for name, text in (("a.json", '{"a": 1}'), ("a.jsonl", '{"a": 1}\n')):
        path = tmp_path / name
        path.write_bytes(codecs.BOM_UTF8 + text.encode())
        assert [document.data for document in documents(path)] == [{"a": 1}]


@pytest.fixture
def small_documents(monkeypatch: pytest.MonkeyPatch) -> int:
    """Documents of at most 64 KiB, read a few hundred bytes at a time."""
    monkeypatch.setattr(bounds, "MAX_DOCUMENT_BYTES", 2**16)
    monkeypatch.setattr("servemark.importers.documents_json._CHUNK", 300)
    return 2**16


def test_a_document_above_the_bound_is_rejected_with_what_to_do(
    tmp_path: Path, small_documents: int
) -> None:
    path = tmp_path / "large.json"
    path.write_text(json.dumps({"text": "x" * small_documents}))
    found = rejection(path)
    assert found.reason == "TOO_LARGE"
    assert "JSON Lines" in found.detail


def test_a_line_above_the_bound_is_rejected_after_the_lines_before_it(
    tmp_path: Path, small_documents: int
) -> None:
    path = tmp_path / "large.jsonl"
    path.write_text('{"a": 1}\n' + json.dumps({"text": "x" * small_documents}) + "\n")
    first, second = read_documents(path)
    assert isinstance(first, Document)
    assert isinstance(second, Rejection)
    assert second.reason == "TOO_LARGE"
    assert second.place.endswith(":2")


def test_the_elements_of_a_large_array_are_read_one_by_one(
    tmp_path: Path, small_documents: int
) -> None:
    path = tmp_path / "large.json"
    elements = [{"n": n, "text": "[{é" * (n % 700)} for n in range(300)]
    path.write_text(json.dumps(elements, indent=2, ensure_ascii=False), encoding="utf-8")
    assert path.stat().st_size > small_documents
    found = documents(path)
    assert [document.data for document in found] == elements
    assert found[7].sha256 == canonical_sha256(elements[7])
    assert found[7].place.endswith(":8")


@pytest.mark.parametrize("end", ["{]", '{"a": 1', "17]", ""])
def test_a_large_array_that_breaks_off_gives_what_came_before(
    tmp_path: Path, small_documents: int, end: str
) -> None:
    path = tmp_path / "large.json"
    path.write_text("[" + ('{"a": "' + "x" * 1000 + '"},') * 100 + end)
    found = list(read_documents(path))
    assert len(found) == 101
    assert isinstance(found[-1], Rejection)
    assert found[-1].reason == "NOT_JSON"
    assert found[-1].place.endswith(":101")


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".json", ".parquet"])
def test_a_file_of_many_results_takes_constant_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.setattr(bounds, "MAX_DOCUMENT_BYTES", 2**20)
    path = tmp_path / f"large{suffix}"
    row = {"model": "m", "text": "x" * 1000}
    count = 12_000
    if suffix == ".parquet":
        table = pa.Table.from_pylist([row] * count)
        parquet.write_table(table, path, row_group_size=1000, use_dictionary=False)
    elif suffix == ".csv":
        path.write_text("model,text\n" + f"m,{row['text']}\n" * count)
    elif suffix == ".json":
        path.write_text("[" + ",".join([json.dumps(row)] * count) + "]")
    else:
        path.write_text((json.dumps(row) + "\n") * count)
    tracemalloc.start()
    read = sum(1 for _ in read_documents(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert read == count
    assert peak < 6 * 2**20, f"{peak / 2**20:.0f} MiB for a file of {count // 1000} MB"


def test_a_folder_gives_tables_yaml_and_result_logs_but_no_other_texts(tmp_path: Path) -> None:
    for name in ("a.csv", "b.yaml", "c.parquet", "d.tsv", "notes.txt", "e.py"):
        (tmp_path / name).write_text("x")
    (tmp_path / "summary.txt").write_text("=====\nMLPerf Results Summary\n=====\n")
    names = [found.path.name for found in find_files([tmp_path])]
    assert names == ["a.csv", "b.yaml", "c.parquet", "d.tsv", "summary.txt"]
