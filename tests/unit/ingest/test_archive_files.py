"""Files of the archive: what is in them, where they lie, and what is said when they cannot."""

import io
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, date, datetime
from pathlib import Path
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.ingest.archive.layout import COLUMNS, CONFIG_COLUMNS, RESULT_COLUMNS
from services.ingest.archive.manifest import manifest_of, object_name, read_manifest
from services.ingest.archive.objects import ArchiveObjects, check_location, open_objects
from services.ingest.archive.parquet import DayReader, DayWriter
from services.ingest.archive.records import (
    ArchiveAwayError,
    ArchiveNotUsableError,
    DamagedError,
    Fingerprint,
    WrittenDay,
)
from services.ingest.settings import IngestSettings
from services.ingest.tables import benchmark_configs, benchmark_results
from tests.rpc.ingest.archiving import s3_archive

WRITTEN = WrittenDay(
    day=date(2026, 2, 28),
    object_name="day=2026-02-28/results-0198c1d2-7f00-7abc-8def-0123456789ab.parquet",
    byte_size=123,
    sha256=bytes(range(32)),
    fingerprint=Fingerprint(7, bytes(range(32, 64))),
    archived_at=datetime(2026, 11, 22, 12, 0, 0, 123_456, tzinfo=UTC),
)


@pytest.fixture(params=["folder", "s3"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ArchiveObjects]:
    """An empty archive in a folder, then in a bucket."""
    with ExitStack() as stack:
        if request.param == "s3":
            yield open_objects(stack.enter_context(s3_archive()))
        else:
            yield open_objects((tmp_path / "with space" / "archive").as_uri())


def test_the_file_has_every_column_of_results_and_configurations() -> None:
    assert [column.name for column in RESULT_COLUMNS] == list(benchmark_results.columns.keys())
    own = {column.name.removeprefix("config_") for column in CONFIG_COLUMNS} | {"id", "model_id"}
    assert own == set(benchmark_configs.columns.keys())
    assert len({column.name for column in COLUMNS}) == len(COLUMNS)
    computed = [column.name for column in COLUMNS if not column.is_written_back]
    assert computed == ["benchmark_date"]


def test_an_object_is_there_once_it_is_committed_and_not_before(objects: ArchiveObjects) -> None:
    # More than one part of an upload.
    content = b"0123456789abcdef" * 3 * 2**20
    sink = objects.create("day=2026-02-28/a.parquet")
    for start in range(0, len(content), 2**20):
        sink.write(content[start : start + 2**20])
    assert not objects.exists("day=2026-02-28/a.parquet")
    assert list(objects.names()) == []
    sink.commit()
    assert list(objects.names()) == ["day=2026-02-28/a.parquet"]
    assert b"".join(objects.pieces("day=2026-02-28/a.parquet")) == content
    with objects.open("day=2026-02-28/a.parquet") as file:
        file.seek(-5, io.SEEK_END)
        assert (file.read(), file.read()) == (b"bcdef", b"")
        file.seek(16)
        assert file.read(4) == b"0123"
        assert file.tell() == 20
    sink.abort()
    assert objects.exists("day=2026-02-28/a.parquet")


def test_what_is_given_up_leaves_nothing(objects: ArchiveObjects) -> None:
    sink = objects.create("day=2026-02-28/a.parquet")
    sink.write(b"x" * 40 * 2**20)
    sink.abort()
    sink.abort()
    assert not objects.exists("day=2026-02-28/a.parquet")
    assert list(objects.names()) == []
    objects.put("small.json", b"{}")
    assert objects.get("small.json") == b"{}"
    objects.delete("small.json")
    objects.delete("small.json")
    assert not objects.exists("small.json")
    for read in (objects.get, objects.open, lambda name: list(objects.pieces(name))):
        with pytest.raises(DamagedError, match=r"small\.json is missing"):
            read("small.json")


def test_a_folder_that_cannot_be_one_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    objects = open_objects((tmp_path / "file" / "archive").as_uri())
    with pytest.raises(ArchiveAwayError, match="archive refuses: File exists"):
        objects.put("a.json", b"{}")


def test_files_in_a_folder_are_for_their_owner(tmp_path: Path) -> None:
    objects = open_objects((tmp_path / "archive").as_uri())
    objects.put("day=2026-02-28/a.json", b"{}")
    file = tmp_path / "archive/day=2026-02-28/a.json"
    assert [path.stat().st_mode & 0o777 for path in (file, file.parent)] == [0o600, 0o700]


def test_a_manifest_says_what_was_noted() -> None:
    name = WRITTEN.object_name.replace(".parquet", ".json")
    assert read_manifest(name, manifest_of(WRITTEN)) == WRITTEN
    assert object_name(WRITTEN.day, UUID(WRITTEN.object_name[-44:-8])) == WRITTEN.object_name


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"servemark.results/1", b"servemark.results/2"),
        (b'"day"', b'"date"'),
        (b"2026-02-28", b"yesterday"),
        (b'"row_count": 7', b'"row_count": "many"'),
        (b"+00:00", b""),
        (b'"results-', b'"../results-'),
        (b"{", b"[{"),
    ],
)
def test_a_manifest_that_is_not_ours_is_refused(old: bytes, new: bytes) -> None:
    content = manifest_of(WRITTEN)
    assert old in content
    with pytest.raises(DamagedError, match=r"results\.json is not a manifest"):
        read_manifest("day=2026-02-28/results.json", content.replace(old, new))


@pytest.mark.parametrize(
    "url",
    [
        "file:///var/lib/servemark/archive",
        "file:///var/lib/servemark/archive/",
        "s3://bucket",
        "s3://my-bucket.of.results/some/prefix/",
    ],
)
def test_a_location_is_taken_without_its_last_slash(url: str) -> None:
    assert check_location(url) == url.rstrip("/")


@pytest.mark.parametrize(
    "url",
    [
        "archive",
        "/var/archive",
        "file://archive",
        "file://host/archive",
        "https://bucket.s3.amazonaws.com/",
        "s3://",
        "s3:///prefix",
        "s3://AKIA:secret@bucket/prefix",
        "s3://bucket/prefix?secret=x",
        "s3://Bucket_/",
    ],
)
def test_a_setting_that_is_no_location_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(ValueError, match=r"file:///folder|must have no user") as refused:
        IngestSettings(
            database_url="postgresql://nobody@127.0.0.1/nothing",  # type: ignore[arg-type]
            archive_url=url,
        )
    (problem,) = refused.value.errors(include_url=False, include_input=False)  # type: ignore[attr-defined]
    assert "secret@" not in problem["msg"]


def test_a_missing_package_is_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ArchiveNotUsableError, match=r"package pyarrow.*pip install"):
        DayWriter(io.BytesIO(), COLUMNS)


_START = """
import asyncio, sys
from services.ingest.app import create
from services.ingest.settings import IngestSettings
settings = IngestSettings(
    database_url="postgresql://nobody@127.0.0.1:1/none", archive_url="s3://bucket/prefix"
)
asyncio.run(create(settings))
sys.exit(", ".join({"pyarrow", "obstore"} & set(sys.modules)) or 0)
"""


def test_the_service_starts_without_the_packages_of_the_archive() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _START], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def test_what_is_not_parquet_is_damaged() -> None:
    with pytest.raises(DamagedError, match="cannot be read as Parquet"):
        DayReader(io.BytesIO(b"PAR1 and no more"))


def _csv(*values: str) -> bytes:
    """One row of which only the first columns have values."""
    return (",".join([*values, *[""] * (len(COLUMNS) - len(values))]) + "\n").encode()


def test_the_types_are_those_a_reader_expects() -> None:
    sink = io.BytesIO()
    writer = DayWriter(sink, COLUMNS)
    identifier = "0198c1d2-7f00-7abc-8def-0123456789ab"
    moment = "2026-02-28 12:00:00.123456+00"
    writer.write(_csv(*[identifier] * 7, moment, moment, "-0"))
    writer.write(_csv(*[identifier] * 7, moment, moment, "5e-324"))
    writer.close({"day": "2026-02-28"})
    file = pq.ParquetFile(io.BytesIO(sink.getvalue()))
    types = {field.name: field.type for field in file.schema_arrow}
    assert types["id"] == pa.uuid()
    assert types["benchmarked_at"] == pa.timestamp("us", tz="UTC")
    assert types["ttft_p50_ms"] == pa.float64()
    assert types["ttft_sketch"] == pa.list_(pa.int32())
    assert types["detailed_metrics"] == types["source_sha256"] == pa.string()
    table = file.read()
    assert table["id"].to_pylist() == [UUID(identifier)] * 2
    assert table["benchmarked_at"][0].as_py() == datetime(
        2026, 2, 28, 12, 0, 0, 123_456, tzinfo=UTC
    )
    assert [value.hex() for value in table["ttft_p50_ms"].to_pylist()] == [
        "-0x0.0p+0",
        (5e-324).hex(),
    ]
    group = file.metadata.row_group(0)
    assert (file.num_row_groups, group.num_rows) == (2, 1)
    assert [column.column_index for column in group.sorting_columns] == [0]
    assert {group.column(index).compression for index in range(group.num_columns)} == {"ZSTD"}
    assert DayReader(io.BytesIO(sink.getvalue())).metadata == {"day": "2026-02-28"}
