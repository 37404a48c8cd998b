"""What is wrong in the archive is found, said, and never brought back as if it were right."""

import hashlib
import json
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from servemark.ingest.v1 import storage_pb2 as storage
from services.ingest.archive import objects_local, parquet
from tests.rpc.ingest.archiving import (
    OLD_DAY,
    Archiving,
    archiving,
    contents,
    count_of,
    files,
    gone,
    put_results,
)
from tests.support import servers

pytestmark = pytest.mark.every_profile


@pytest.fixture
async def archive(ingest_dsn: str, tmp_path: Path) -> AsyncIterator[Archiving]:
    """A service whose archive holds a day that is no longer in the database."""
    async with archiving(ingest_dsn, (tmp_path / "archive").as_uri()) as made:
        await put_results(ingest_dsn, OLD_DAY)
        await made.maintain()
        yield made


def _flip(place: float) -> Callable[[Path], None]:
    def flip(file: Path) -> None:
        content = bytearray(file.read_bytes())
        content[int(place * (len(content) - 1))] ^= 1
        file.write_bytes(content)

    return flip


def _truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def _lengthen(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"\0")


def _empty(file: Path) -> None:
    file.write_bytes(b"")


DAMAGES = [
    *((_flip(place), "SHA-256") for place in (0.0, 0.1, 0.5, 0.9, 0.999, 1.0)),
    (_truncate, "bytes, not"),
    (_lengthen, "bytes, not"),
    (_empty, "bytes, not"),
    (Path.unlink, ".parquet is missing"),
]


async def test_a_damaged_file_is_found_and_not_restored(archive: Archiving) -> None:
    (file,) = files(archive.url)
    whole = file.read_bytes()
    for damage, says in DAMAGES:
        damage(file)
        for full in (False, True):
            assert says in (await archive.verify(full=full))[str(OLD_DAY)]
        answer = await archive.restore(OLD_DAY)
        assert says in answer.problem
        assert answer.restored_count == 0
        assert not answer.HasField("keep_until_time")
        assert count_of(archive.served.dsn, OLD_DAY) == 0
        file.write_bytes(whole)
    assert await archive.verify(full=True) == {str(OLD_DAY): ""}


async def test_a_wrong_file_does_not_hide_the_right_ones(archive: Archiving) -> None:
    other = OLD_DAY + timedelta(days=1)
    await put_results(archive.served.dsn, other, 5)
    await archive.maintain()
    wrong, _ = files(archive.url)
    _flip(0.5)(wrong)
    verified = await archive.verify()
    assert "SHA-256" in verified[str(OLD_DAY)]
    assert verified[str(other)] == ""
    request = storage.RestoreArchivedDaysRequest(
        start_date=str(OLD_DAY), end_date=str(other + timedelta(days=1))
    )
    answers = [answer async for answer in archive.stub.RestoreArchivedDays(request)]
    assert [(answer.restored_count, bool(answer.problem)) for answer in answers] == [
        (0, True),
        (5, False),
    ]


async def test_a_manifest_that_is_missing_or_says_something_else_is_found(
    archive: Archiving,
) -> None:
    (file,) = files(archive.url)
    manifest = file.with_suffix(".json")
    text = manifest.read_text()
    manifest.write_text(text.replace('"row_count": 40', '"row_count": 41'))
    assert "manifest says something else" in (await archive.verify())[str(OLD_DAY)]
    manifest.write_text("no JSON")
    assert "is not a manifest" in (await archive.verify())[str(OLD_DAY)]
    manifest.unlink()
    assert ".json is missing" in (await archive.verify())[str(OLD_DAY)]
    manifest.write_text(text)
    assert await archive.verify() == {str(OLD_DAY): ""}


def _rewrite(archive: Archiving, change: Callable[[Any], Any]) -> None:
    """Writes the file with other rows, and makes everything that is noted of its bytes right."""
    (file,) = files(archive.url)
    table = pq.read_table(file)
    pq.write_table(change(table).replace_schema_metadata(_metadata_of(file)), file)
    content = file.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    manifest = file.with_suffix(".json")
    document = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(document | {"sha256": digest, "byte_size": len(content)}))
    servers.execute(
        archive.served.dsn,
        f"UPDATE ingest.archived_days SET sha256 = '\\x{digest}', byte_size = {len(content)}",
    )


def _metadata_of(file: Path) -> Any:
    return pq.ParquetFile(file).metadata.metadata


def _one_bit(table: Any) -> Any:
    """The smallest change there is: 0.0 becomes -0.0 in one row."""
    place = table.column_names.index("ttft_p50_ms")
    values = table["ttft_p50_ms"].to_pylist()
    assert values[0] == 0.0
    values[0] = -values[0]
    return table.set_column(place, "ttft_p50_ms", pa.array(values, pa.float64()))


def _one_row_less(table: Any) -> Any:
    return table.slice(1)


def _a_foreign_column(table: Any) -> Any:
    return table.append_column("mood", pa.array(["good"] * len(table)))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_one_bit, "checksum of the file's rows"),
        (_one_row_less, "metadata says something else"),
        (_a_foreign_column, "columns that this version does not know: mood"),
    ],
)
async def test_rows_that_are_not_those_that_were_archived_are_found(
    archive: Archiving, change: Callable[[Any], Any], says: str
) -> None:
    _rewrite(archive, change)
    assert says in (await archive.verify(full=True))[str(OLD_DAY)]
    answer = await archive.restore(OLD_DAY)
    assert says in answer.problem
    assert count_of(archive.served.dsn, OLD_DAY) == 0


async def test_rows_that_are_there_already_are_left(archive: Archiving) -> None:
    dsn = archive.served.dsn
    await archive.restore(OLD_DAY)
    before = await contents(dsn, OLD_DAY)
    servers.execute(
        dsn,
        "DELETE FROM ingest.benchmark_results WHERE id IN "
        f"(SELECT id FROM ingest.benchmark_results WHERE benchmark_date = '{OLD_DAY}' LIMIT 7)",
    )
    answer = await archive.restore(OLD_DAY)
    assert (answer.restored_count, answer.present_count) == (7, 33)
    assert await contents(dsn, OLD_DAY) == before


async def test_an_id_that_is_there_with_other_content_is_not_taken_for_the_archived_row(
    archive: Archiving,
) -> None:
    dsn = archive.served.dsn
    await archive.restore(OLD_DAY)
    servers.execute(
        dsn,
        f"DELETE FROM ingest.benchmark_results WHERE benchmark_date = '{OLD_DAY}' AND tool = ''",
    )
    servers.execute(
        dsn,
        "UPDATE ingest.benchmark_results SET ttft_p50_ms = -ttft_p50_ms WHERE ttft_p50_ms = 0",
    )
    here = await contents(dsn, OLD_DAY)
    answer = await archive.restore(OLD_DAY)
    assert "with other content" in answer.problem
    assert await contents(dsn, OLD_DAY) == here


async def test_rows_whose_configuration_is_known_under_another_id_are_refused(
    archive: Archiving, migrated_database: str
) -> None:
    async with archiving(migrated_database, archive.url) as elsewhere:
        await archive.restore(OLD_DAY)
        copied = servers.fetch_value(
            archive.served.dsn,
            "SELECT json_agg(config)::text FROM ingest.benchmark_configs AS config",
        )
        servers.execute(
            migrated_database,
            "INSERT INTO ingest.benchmark_configs SELECT * FROM json_populate_recordset("
            f"NULL::ingest.benchmark_configs, '{copied}')",
            "UPDATE ingest.benchmark_configs SET id = gen_random_uuid()",
        )
        answer = await elsewhere.restore(OLD_DAY)
        assert "is known here under another id" in answer.problem
        assert count_of(migrated_database, OLD_DAY) == 0


async def test_a_file_that_was_lost_before_its_day_went_is_written_again(
    archive: Archiving,
) -> None:
    await archive.restore(OLD_DAY)
    servers.execute(archive.served.dsn, "UPDATE ingest.archived_days SET keep_until = NULL")
    (file,) = files(archive.url)
    _flip(0.5)(file)
    assert await archive.maintain() == gone(OLD_DAY, 40)
    assert await archive.verify(full=True) == {str(OLD_DAY): ""}
    assert (await archive.restore(OLD_DAY)).restored_count == 40


def _flip_after_writing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that keeps something else than it was given."""
    commit = objects_local._FileSink.commit

    def keep_something_else(sink: Any) -> None:
        commit(sink)
        if sink._path.suffix == ".parquet":
            _flip(0.5)(sink._path)

    monkeypatch.setattr(objects_local._FileSink, "commit", keep_something_else)


def _lose_a_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    """A conversion that takes -0.0 for 0.0."""
    convert = parquet._from_csv

    def convert_carelessly(text: bytes, columns: Any) -> Any:
        return convert(text.replace(b",-0,", b",0,"), columns)

    monkeypatch.setattr(parquet, "_from_csv", convert_carelessly)


@pytest.mark.parametrize(
    ("fault", "says"),
    [(_flip_after_writing, "SHA-256"), (_lose_a_sign, "checksum of the file's rows")],
)
async def test_a_day_whose_file_is_not_what_was_written_stays_until_one_is(
    ingest_dsn: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: Callable[[pytest.MonkeyPatch], None],
    says: str,
) -> None:
    async with archiving(ingest_dsn, (tmp_path / "archive").as_uri()) as archive:
        await put_results(ingest_dsn, OLD_DAY)
        with monkeypatch.context() as patched:
            fault(patched)
            request = storage.MaintainStorageRequest()
            *_, last = [step async for step in archive.stub.MaintainStorage(request)]
        assert last.step == storage.MAINTENANCE_STEP_KEPT
        assert says in last.detail
        assert count_of(ingest_dsn, OLD_DAY) == 40
        assert await archive.listed() == []
        assert await archive.maintain() == gone(OLD_DAY, 40)
        # What was wrong is cleared away.
        assert len(files(archive.url)) == 1


async def test_the_rows_of_a_file_are_in_order_of_their_ids(archive: Archiving) -> None:
    (file,) = files(archive.url)
    ids = [identifier.bytes for identifier in pq.read_table(file)["id"].to_pylist()]
    assert ids == sorted(ids)
    assert len(ids) == 40
