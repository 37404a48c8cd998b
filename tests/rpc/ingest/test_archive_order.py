"""Whatever happens on a day's way into the archive: first it lies there, then it goes, once."""

import asyncio
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import pytest

from servemark.ingest.v1 import storage_pb2 as storage
from servemark.ingest.v1.result_query_pb2 import ListDailyModelStatsRequest
from servemark.ingest.v1.storage_service_pb2_grpc import StorageServiceStub
from services.ingest import maintenance
from services.ingest.archive.objects import open_objects
from services.ingest.retention import first_day_kept
from tests.rpc.ingest.archiving import (
    OLD_DAY,
    RETENTION_DAYS,
    archiving,
    contents,
    count_of,
    files,
    gone,
    put_results,
)
from tests.rpc.ingest.builders import batch, header, row
from tests.rpc.ingest.process import ingest_process
from tests.rpc.ingest.serving import Served, append, serving
from tests.support import servers
from tests.support.days import table_of
from tests.support.failures import failure

pytestmark = pytest.mark.every_profile

# A late row like one that is there, of the day's last second.
LATE_ROW = f"""
    INSERT INTO ingest.benchmark_results (
        id, benchmarked_at, config_id, model_id, model_version_id, hardware_config_id,
        framework_id, stream_id, workload_type, percentile_source, tool, tool_version
    )
    SELECT gen_random_uuid(), '{OLD_DAY} 23:59:59+00', config_id, model_id, model_version_id,
        hardware_config_id, framework_id, stream_id, workload_type, percentile_source, tool, 'late'
    FROM ingest.benchmark_results WHERE benchmark_date = '{OLD_DAY}' LIMIT 1
"""
MARK = f"""
    INSERT INTO ingest.dirty_days (model_id, stats_date)
    VALUES (gen_random_uuid(), '{OLD_DAY}')
"""


@pytest.fixture
def url(tmp_path: Path) -> str:
    """The address of an empty archive in a folder."""
    return (tmp_path / "archive").as_uri()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A day that cannot go is not waited for for long."""
    monkeypatch.setattr(maintenance, "_DROP_PAUSES_SECONDS", (0.0, 0.1))


@pytest.mark.parametrize(
    ("place", "is_archived"),
    [
        ("archive_writing", False),
        ("archive_written", False),
        ("archive_verified", False),
        # Whole, but not recorded: the file that is there is taken.
        ("archive_described", True),
        ("archive_recorded", True),
        ("day_dropped", True),
        ("drop_committed", True),
    ],
)
async def test_a_crash_at_any_point_loses_nothing_and_the_next_run_finishes(
    ingest_dsn: str, url: str, place: str, is_archived: bool
) -> None:
    settings = {
        "ARCHIVE_URL": url,
        "RETENTION_DAYS": RETENTION_DAYS,
        "FAILPOINTS": f"{place}=crash",
    }
    with ingest_process(ingest_dsn, 1, **settings) as service:
        await put_results(ingest_dsn, OLD_DAY)
        before = await contents(ingest_dsn, OLD_DAY)
        async with grpc.aio.insecure_channel(service.target) as channel:
            request = storage.MaintainStorageRequest()
            with pytest.raises(grpc.aio.AioRpcError):
                async for _ in StorageServiceStub(channel).MaintainStorage(request):
                    pass
        assert await asyncio.to_thread(service.started.wait, 10) == -signal.SIGKILL
    dropped = place == "drop_committed"
    assert count_of(ingest_dsn, OLD_DAY) == (0 if dropped else 40)
    async with archiving(ingest_dsn, url) as archive:
        expected = gone(OLD_DAY, 40)
        assert await archive.maintain() == ([] if dropped else expected[2 * is_archived :])
        assert count_of(ingest_dsn, OLD_DAY) == 0
        assert len(list(open_objects(url).names())) == 2
        assert not [path for path in Path(url[7:]).rglob("*") if path.suffix == ".part"]
        assert await archive.verify(full=True) == {str(OLD_DAY): ""}
        assert (await archive.restore(OLD_DAY)).restored_count == 40
    assert await contents(ingest_dsn, OLD_DAY) == before
    assert servers.fetch_value(ingest_dsn, "SELECT count(*) FROM ingest.archive_uploads") == 0


async def test_two_maintainers_at_once_archive_each_day_once(ingest_dsn: str, url: str) -> None:
    days = [OLD_DAY + timedelta(days=offset) for offset in range(3)]
    async with archiving(ingest_dsn, url) as one, archiving(ingest_dsn, url) as other:
        for day in days:
            await put_results(ingest_dsn, day, 8)
        both = await asyncio.gather(one.maintain(), other.maintain())
        waited, worked = sorted(both, key=len)
        assert waited == [("WAITING", "", 0)]
        assert worked == [step for day in days for step in gone(day, 8)]
    assert len(files(url)) == 3


async def test_a_row_that_is_being_stored_while_its_day_goes_is_archived_too(
    ingest_dsn: str, url: str
) -> None:
    async with archiving(ingest_dsn, url) as archive:
        await put_results(ingest_dsn, OLD_DAY)
        writer = await asyncpg.connect(ingest_dsn)
        transaction = writer.transaction()
        await transaction.start()
        await writer.execute(LATE_ROW)
        call = archive.stub.MaintainStorage(storage.MaintainStorageRequest())
        steps = [await call.read(), await call.read()]
        # The day lies in the archive without the row, and waits for who writes into it.
        assert steps[1].row_count == 40
        await _until_somebody_waits(ingest_dsn)
        await transaction.commit()
        await writer.close()
        rest = []
        while (step := await call.read()) is not grpc.aio.EOF:
            rest.append((step.step, step.row_count))
        assert rest == [
            (storage.MAINTENANCE_STEP_ARCHIVING, 0),
            (storage.MAINTENANCE_STEP_ARCHIVED, 41),
            (storage.MAINTENANCE_STEP_DROPPED, 41),
        ]
        assert (await archive.restore(OLD_DAY)).restored_count == 41


async def _until_somebody_waits(dsn: str) -> None:
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
        "AND datname = current_database()"
    )
    async with asyncio.timeout(10):
        while not servers.fetch_value(dsn, query):
            await asyncio.sleep(0.01)


async def test_a_row_that_came_after_its_day_was_archived_is_archived_before_it_goes(
    ingest_dsn: str, url: str
) -> None:
    async with archiving(ingest_dsn, url, failpoints="archive_recorded=error") as archive:
        await put_results(ingest_dsn, OLD_DAY)
        assert (await failure(archive.maintain())).code is grpc.StatusCode.UNAVAILABLE
        servers.execute(ingest_dsn, LATE_ROW)
        assert await archive.maintain() == gone(OLD_DAY, 41)
        assert (await archive.restore(OLD_DAY)).restored_count == 41


@pytest.mark.usefixtures("impatient")
async def test_a_day_that_is_being_read_stays_and_readers_behind_do_not_wait(
    ingest_dsn: str, url: str
) -> None:
    async with archiving(ingest_dsn, url) as archive:
        await put_results(ingest_dsn, OLD_DAY)
        reader = await asyncpg.connect(ingest_dsn)
        async with reader.transaction():
            await reader.fetchval("SELECT count(*) FROM ingest.benchmark_results")
            steps = await archive.maintain()
            assert steps[-1] == ("KEPT", str(OLD_DAY), 0)
            assert count_of(ingest_dsn, OLD_DAY) == 40
        await reader.close()
        assert await archive.maintain() == [("DROPPED", str(OLD_DAY), 40)]


@pytest.mark.usefixtures("impatient")
async def test_a_day_stays_until_its_statistics_are_calculated(ingest_dsn: str, url: str) -> None:
    async with archiving(ingest_dsn, url, roll_up_seconds=3600) as archive:
        await put_results(ingest_dsn, OLD_DAY)
        servers.execute(ingest_dsn, MARK)
        request = storage.MaintainStorageRequest()
        *_, last = [step async for step in archive.stub.MaintainStorage(request)]
        assert last.step == storage.MAINTENANCE_STEP_KEPT
        assert "statistics are still to be calculated" in last.detail
        servers.execute(ingest_dsn, "DELETE FROM ingest.dirty_days")
        assert await archive.maintain() == [("DROPPED", str(OLD_DAY), 40)]
        # What was condensed from its rows is marked, for they are not among the runs any more.
        marks = f"SELECT count(*) FROM ingest.dirty_days WHERE stats_date = '{OLD_DAY}'"
        assert servers.fetch_value(ingest_dsn, marks) == 1


async def test_the_statistics_of_a_day_stay_when_it_goes_and_when_it_comes_back(
    ingest_dsn: str, url: str
) -> None:
    moment = datetime.combine(OLD_DAY, datetime.min.time(), UTC) + timedelta(hours=7)
    milliseconds = int(moment.timestamp() * 1000)
    async with serving(ingest_dsn) as sender:
        rows = [row(milliseconds + index) for index in range(20)]
        await append(sender.stub, header(), batch(0, rows))
        await _until_calculated(ingest_dsn)
    async with archiving(ingest_dsn, url) as archive:

        async def figures() -> list[tuple[object, ...]]:
            await _until_calculated(ingest_dsn)
            answer = await archive.served.stub.ListDailyModelStats(ListDailyModelStatsRequest())
            return [
                (day.model_id, day.stats_date, day.avg_throughput, day.p95_latency_ms,
                 day.total_benchmarks)
                for day in answer.daily_model_stats
            ]  # fmt: skip

        before = await figures()
        assert [one[-1] for one in before] == [20]
        assert await archive.maintain() == gone(OLD_DAY, 20)
        assert await figures() == before
        await archive.restore(OLD_DAY)
        assert await figures() == before


async def _until_calculated(dsn: str) -> None:
    async with asyncio.timeout(10):
        while servers.fetch_value(dsn, "SELECT count(*) FROM ingest.dirty_days"):
            await asyncio.sleep(0.02)


async def test_whoever_loses_its_turn_commits_nothing(ingest_dsn: str, url: str) -> None:
    # Who has the storage's turn, and no roll-up that may have a lock of its own.
    turn = (
        "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_stat_activity USING (pid) "
        "WHERE locktype = 'advisory' AND datname = current_database() "
        "AND (classid::bigint << 32) | objid::bigint = hashtextextended('ingest.storage', 0)"
    )
    async with archiving(ingest_dsn, url) as archive:
        await put_results(ingest_dsn, OLD_DAY)
        blocker = await asyncpg.connect(ingest_dsn)
        async with blocker.transaction():
            await blocker.execute(
                f"LOCK TABLE {table_of(ingest_dsn, OLD_DAY)} IN ACCESS EXCLUSIVE MODE"
            )
            maintaining = asyncio.ensure_future(failure(archive.maintain()))
            async with asyncio.timeout(10):
                while not servers.fetch_value(ingest_dsn, turn):
                    await asyncio.sleep(0.01)
        await blocker.close()
        assert (await maintaining).code is grpc.StatusCode.UNAVAILABLE
        assert await archive.listed() == []
        assert await archive.maintain() == gone(OLD_DAY, 40)


async def test_only_days_that_take_no_more_results_go(ingest_dsn: str, url: str) -> None:
    kept = first_day_kept(datetime.now(UTC), RETENTION_DAYS)
    last = kept - timedelta(days=1)
    async with archiving(ingest_dsn, url) as archive:
        for day in (last, kept, kept + timedelta(days=1)):
            await put_results(ingest_dsn, day, 4)
        assert await archive.maintain() == gone(last, 4)
        assert count_of(ingest_dsn, kept) == 4


async def test_without_an_archive_nothing_is_dropped_and_that_is_said(ingest_dsn: str) -> None:
    async with archiving(ingest_dsn, "") as archive:
        await put_results(ingest_dsn, OLD_DAY)
        steps = [
            step async for step in archive.stub.MaintainStorage(storage.MaintainStorageRequest())
        ]
        assert [step.step for step in steps] == [storage.MAINTENANCE_STEP_KEPT]
        assert "no archive is set (SERVEMARK_ARCHIVE_URL)" in steps[0].detail
        assert count_of(ingest_dsn, OLD_DAY) == 40
        for call in (archive.verify(), archive.restore(OLD_DAY)):
            no = await failure(call)
            assert (no.code, no.reason) == (
                grpc.StatusCode.FAILED_PRECONDITION,
                "ARCHIVE_NOT_USABLE",
            )
            assert "SERVEMARK_ARCHIVE_URL" in no.message


async def test_an_empty_old_day_goes_without_a_file(ingest_dsn: str, url: str) -> None:
    async with archiving(ingest_dsn, url) as archive:
        await put_results(ingest_dsn, OLD_DAY, 0)
        assert await archive.maintain() == [("DROPPED", str(OLD_DAY), 0)]
        assert await archive.listed() == []
        assert files(url) == []


async def test_a_day_whose_rows_were_deleted_by_hand_is_known_to_be_gone(
    ingest_dsn: str, url: str
) -> None:
    async with archiving(ingest_dsn, url) as archive:
        await put_results(ingest_dsn, OLD_DAY)
        await archive.maintain()
        await archive.restore(OLD_DAY)
        servers.execute(
            ingest_dsn,
            "DELETE FROM ingest.benchmark_results",
            "UPDATE ingest.archived_days SET keep_until = NULL",
        )
        assert await archive.maintain() == [("DROPPED", str(OLD_DAY), 0)]
        (listed,) = await archive.listed()
        assert listed.HasField("drop_time")
        assert (await archive.restore(OLD_DAY)).restored_count == 40


async def test_pages_and_spans_of_archived_days(ingest_dsn: str, url: str) -> None:
    days = [OLD_DAY + timedelta(days=offset) for offset in range(5)]
    async with archiving(ingest_dsn, url) as archive:
        for day in days:
            await put_results(ingest_dsn, day, 1)
        await archive.maintain()
        first = await archive.stub.ListArchivedDays(storage.ListArchivedDaysRequest(page_size=3))
        rest = await archive.stub.ListArchivedDays(
            storage.ListArchivedDaysRequest(page_token=first.next_page_token)
        )
        listed = [day.day for day in (*first.archived_days, *rest.archived_days)]
        assert listed == [str(day) for day in reversed(days)]
        assert rest.next_page_token == ""
        span: dict[str, Any] = {"start_date": str(days[1]), "end_date": str(days[3])}
        assert [day.day for day in await archive.listed(**span)] == [str(days[2]), str(days[1])]
        request = storage.VerifyArchivedDaysRequest(**span)
        verified = [answer.day async for answer in archive.stub.VerifyArchivedDays(request)]
        assert verified == [str(days[1]), str(days[2])]
        answer = await archive.stub.GetStorage(storage.GetStorageRequest())
        assert (answer.storage.archived_day_count, answer.storage.dropped_day_count) == (5, 5)
        assert (answer.storage.overdue_day_count, answer.storage.row_count) == (0, 0)


@pytest.mark.parametrize(
    ("call", "fields"),
    [
        ({"start_date": "yesterday"}, {"start_date"}),
        ({"start_date": "2026-02-30", "end_date": "20260228"}, {"start_date", "end_date"}),
        ({"keep_days": -1}, {"start_date", "keep_days"}),
        ({"start_date": "2026-02-28", "keep_days": 3651}, {"keep_days"}),
    ],
)
async def test_a_wrong_request_names_its_fields(
    ingest: Served, call: dict[str, Any], fields: set[str]
) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{ingest.app.server.port}") as channel:
        stub: Any = StorageServiceStub(channel)
        request = storage.RestoreArchivedDaysRequest(**call)
        no = await failure(anext(aiter(stub.RestoreArchivedDays(request))))
        assert (no.code, set(no.fields)) == (grpc.StatusCode.INVALID_ARGUMENT, fields)
        listed = storage.ListArchivedDaysRequest(page_token="made up")
        assert (await failure(stub.ListArchivedDays(listed))).reason == "PAGE_TOKEN_INVALID"


async def test_a_day_that_is_not_in_the_archive_cannot_be_restored(
    ingest_dsn: str, url: str
) -> None:
    async with archiving(ingest_dsn, url) as archive:
        no = await failure(archive.restore(OLD_DAY))
        assert (no.code, no.reason) == (grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND")


async def test_the_service_maintains_by_itself(ingest_dsn: str, url: str) -> None:
    await put_results(ingest_dsn, OLD_DAY)
    async with archiving(ingest_dsn, url, maintenance_seconds=0.1) as archive:
        async with asyncio.timeout(20):
            # Not by a query from here: it would hold up the loop in which the service commits.
            while not [day for day in await archive.listed() if day.HasField("drop_time")]:
                await asyncio.sleep(0.05)
        assert count_of(ingest_dsn, OLD_DAY) == 0
