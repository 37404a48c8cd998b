"""A day of results leaves for the archive, and comes back, bit for bit."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from unittest import mock

import grpc
import pytest

from servemark.ingest.v1 import storage_pb2 as storage
from services.ingest.archive.objects import open_objects
from tests.rpc.ingest.archiving import (
    OLD_DAY,
    archiving,
    contents,
    count_of,
    gone,
    put_many,
    put_results,
    s3_archive,
    step_of,
)
from tests.support import servers
from tests.support.failures import failure

pytestmark = pytest.mark.every_profile


@pytest.fixture(params=["folder", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of an empty archive: a folder, then a bucket."""
    with ExitStack() as stack:
        if request.param == "s3":
            yield stack.enter_context(s3_archive())
        else:
            yield (tmp_path / "archive").as_uri()


async def test_a_day_over_retention_goes_and_comes_back_bit_for_bit(
    ingest_dsn: str, url: str
) -> None:
    async with archiving(ingest_dsn, url) as archive:
        await put_results(ingest_dsn, OLD_DAY, 40)
        before = await contents(ingest_dsn, OLD_DAY)
        assert await archive.maintain() == gone(OLD_DAY, 40)
        assert count_of(ingest_dsn, OLD_DAY) == 0
        assert await archive.maintain() == []
        (listed,) = await archive.listed()
        assert (listed.day, listed.row_count) == (str(OLD_DAY), 40)
        assert listed.HasField("drop_time")
        assert await archive.verify(full=True) == {str(OLD_DAY): ""}
        answer = await archive.restore(OLD_DAY)
        assert (answer.restored_count, answer.present_count, answer.problem) == (40, 0, "")
        assert await contents(ingest_dsn, OLD_DAY) == before
        (again,) = await archive.listed()
        assert again.content_checksum == listed.content_checksum
        assert not again.HasField("drop_time")


async def test_a_restored_day_stays_for_a_time_and_then_goes_with_the_file_it_has(
    ingest_dsn: str, url: str
) -> None:
    async with archiving(ingest_dsn, url) as archive:
        await put_results(ingest_dsn, OLD_DAY)
        await archive.maintain()
        (first,) = await archive.listed()
        answer = await archive.restore(OLD_DAY, keep_days=3)
        kept_for = answer.keep_until_time.ToDatetime(tzinfo=UTC) - datetime.now(UTC)
        assert timedelta(days=2.9) < kept_for < timedelta(days=3.1)
        assert await archive.maintain() == [("KEPT", str(OLD_DAY), 0)]
        assert count_of(ingest_dsn, OLD_DAY) == 40
        servers.execute(ingest_dsn, "UPDATE ingest.archived_days SET keep_until = now()")
        assert await archive.maintain() == [("DROPPED", str(OLD_DAY), 40)]
        (second,) = await archive.listed()
        assert second.object_name == first.object_name
        assert second.HasField("drop_time")
        assert not second.HasField("keep_until_time")


async def test_a_fresh_database_restores_from_the_archive_alone(
    ingest_dsn: str, migrated_database: str, url: str
) -> None:
    async with archiving(ingest_dsn, url) as archive:
        await put_results(ingest_dsn, OLD_DAY)
        before = await contents(ingest_dsn, OLD_DAY)
        await archive.maintain()
    async with archiving(migrated_database, url) as elsewhere:
        assert await elsewhere.listed() == []
        answer = await elsewhere.restore(OLD_DAY)
        assert (answer.restored_count, answer.problem) == (40, "")
        assert await contents(migrated_database, OLD_DAY) == before
        assert await elsewhere.verify(full=True) == {str(OLD_DAY): ""}
        # Its statistics were never calculated here.
        total = "SELECT sum(total_benchmarks) FROM ingest.daily_model_stats"
        async with asyncio.timeout(10):
            while servers.fetch_value(migrated_database, total) != 40:
                await asyncio.sleep(0.02)


async def test_what_lies_in_the_archive_does_not_change_when_a_day_is_written_again(
    ingest_dsn: str, url: str
) -> None:
    async with archiving(ingest_dsn, url) as archive:
        await put_results(ingest_dsn, OLD_DAY)
        await archive.maintain()
        (first,) = await archive.listed()
        # The day takes results again, as after a retention that was made longer and shorter.
        await put_results(ingest_dsn, OLD_DAY, 3)
        assert await archive.maintain() == gone(OLD_DAY, 43)
        (second,) = await archive.listed()
        assert second.object_name > first.object_name
        answer = await archive.restore(OLD_DAY)
        assert answer.restored_count == 43
        assert await archive.verify(full=True) == {str(OLD_DAY): ""}
        # The older file is whole, too, and nothing but files and manifests lies there.
        objects = open_objects(url)
        names = sorted(objects.names())
        assert [name.rpartition(".")[2] for name in names] == ["json", "parquet"] * 2
        assert names[1] == first.object_name
        assert sha256(b"".join(objects.pieces(first.object_name))).hexdigest() == first.sha256


async def test_a_call_that_ends_half_way_is_finished_by_the_next(ingest_dsn: str, url: str) -> None:
    async with archiving(ingest_dsn, url) as archive:
        await put_many(ingest_dsn, OLD_DAY, 5_000)
        before = await contents(ingest_dsn, OLD_DAY)
        call = archive.stub.MaintainStorage(storage.MaintainStorageRequest())
        assert step_of(await call.read())[0] == "ARCHIVING"
        call.cancel()
        # The first thing it may say is that it waits for the other to end.
        assert (await archive.maintain())[-3:] == gone(OLD_DAY, 5_000)
        assert len(list(open_objects(url).names())) == 2
        assert (await archive.restore(OLD_DAY)).restored_count == 5_000
        assert await contents(ingest_dsn, OLD_DAY) == before


async def test_neither_status_nor_log_tells_a_secret(
    ingest_dsn: str, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with archiving(ingest_dsn, url) as archive:
        await put_results(ingest_dsn, OLD_DAY)
        await archive.maintain()
        answer = await archive.stub.GetStorage(storage.GetStorageRequest())
        assert answer.storage.archive_location == url
        assert "for-tests" not in str(answer)
    said = capsys.readouterr()
    assert "for-tests" not in said.out + said.err


async def test_an_archive_that_is_away_is_said_and_nothing_is_lost(ingest_dsn: str) -> None:
    with s3_archive() as url:
        pass
    async with archiving(ingest_dsn, url) as archive:
        await put_results(ingest_dsn, OLD_DAY)
        with mock.patch.dict(os.environ, {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}):
            no = await failure(archive.maintain())
        assert no.code is grpc.StatusCode.UNAVAILABLE
        assert no.reason == "DEPENDENCY_UNAVAILABLE"
        assert "The archive at s3://results/some/prefix does not answer" in no.message
        assert count_of(ingest_dsn, OLD_DAY) == 40
