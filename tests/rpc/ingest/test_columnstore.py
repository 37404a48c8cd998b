"""Days that are compressed take late rows as exactly as others, and are read as before."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings

from servemark.ingest.v1.benchmark_result_pb2 import ResultRow
from servemark.ingest.v1.result_query_pb2 import (
    GetBenchmarkResultRequest,
    ListBenchmarkResultsRequest,
)
from servemark.ingest.v1.result_stream_pb2 import BatchAck, ResultBatch, StreamHeader
from servemark.runtime.app import App
from servemark.type.v1.error_reason_pb2 import ErrorReason
from services.ingest.recorded_profile import RecordedProfile
from services.ingest.records import Day
from tests.rpc.ingest.archiving import (
    OLD_DAY,
    archiving,
    contents,
    count_of,
    gone,
    put_results,
)
from tests.rpc.ingest.builders import as_columns, batch, header, now_ms, row, rows
from tests.rpc.ingest.mixes import STEPS, check
from tests.rpc.ingest.serving import Served, append, serving
from tests.support import servers
from tests.support.timescale import compress, has_columnstore, require_timescale

require_timescale()
pytestmark = [
    pytest.mark.timescale,
    pytest.mark.parametrize("storage_server", ["timescaledb"], indirect=True, scope="session"),
]

DAY = 86_400_000


@pytest.fixture(scope="module", autouse=True)
def columnstore(timescale_server: str) -> None:
    """Skips the module where there is none."""
    with servers.database(timescale_server) as dsn:
        servers.execute(dsn, "CREATE EXTENSION timescaledb")
        if not has_columnstore(dsn):
            pytest.skip("the server's licence has no columnstore")


@pytest_asyncio.fixture(scope="module")
async def shared(storage_server: str, ingest_template: str) -> AsyncIterator[Served]:
    """One service for all examples; each example has ids of its own."""
    with servers.database(storage_server, ingest_template) as dsn:
        async with serving(dsn) as served:
            yield served


def noon(days_ago: int) -> int:
    """Unix milliseconds of noon UTC of a past day."""
    return now_ms() // DAY * DAY - days_ago * DAY + DAY // 2


def profile_of(app: App) -> RecordedProfile:
    """The storage profile that a service goes by."""
    owners = (getattr(work, "__self__", None) for work in app.background)
    return next(owner for owner in owners if isinstance(owner, RecordedProfile))


def takes_for_compressed(app: App, time_ms: int) -> bool:
    """Whether the service goes by a day's being compressed."""
    day = Day(datetime.fromtimestamp(time_ms / 1000, UTC).date(), 0, 1)
    return profile_of(app).targets([day])[0].columnar


@pytest.mark.parametrize("is_noticed", [True, False])
async def test_answers_and_store_are_what_a_plain_model_says(
    shared: Served, is_noticed: bool
) -> None:
    loop = asyncio.get_running_loop()
    moment = noon(10 + is_noticed)
    await append(shared.stub, header(), batch(0, rows(200, moment)))
    await asyncio.to_thread(compress, shared.dsn)
    if is_noticed:
        await profile_of(shared.app).maintain()
    assert takes_for_compressed(shared.app, moment) == is_noticed

    async def between() -> None:
        await asyncio.to_thread(compress, shared.dsn)

    @settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
    @given(STEPS)
    def examples(steps: Any) -> None:
        # The day before is not compressed at first; the one that is lies beside it in no batch.
        work = check(shared, steps, moment + 3, between)
        asyncio.run_coroutine_threadsafe(work, loop).result(60)

    await asyncio.to_thread(examples)


async def test_a_batch_may_hold_rows_of_compressed_and_other_days(ingest: Served) -> None:
    known = [row(noon(days)) for days in (30, 20, 1, 0)]
    await append(ingest.stub, header(), batch(0, known[:2]))
    assert await asyncio.to_thread(compress, ingest.dsn) == 2
    await append(ingest.stub, header(), batch(0, known[2:]))
    await profile_of(ingest.app).maintain()
    assert [takes_for_compressed(ingest.app, noon(days)) for days in (30, 20, 1, 0)] == [
        True,
        True,
        False,
        False,
    ]
    changed = ResultRow()
    changed.CopyFrom(known[1])
    changed.metrics.ttft_p50_ms += 1
    fresh = [row(noon(days)) for days in (30, 25, 20, 1, 0, 2)]
    _, acks = await append(
        ingest.stub, header(), as_columns(batch(0, [*fresh, known[0], changed, *known[2:]]))
    )
    assert (acks[0].stored_count, acks[0].duplicate_count) == (6, 3)
    (refused,) = acks[0].rejections
    assert (refused.row, refused.reason) == (7, ErrorReason.ERROR_REASON_ID_REUSED)
    assert ingest.stored() == 10


async def until_appended(ingest: Served, message: StreamHeader, content: ResultBatch) -> BatchAck:
    """The acknowledgement of a batch that is sent again while the database is said to be away."""
    async with asyncio.timeout(30):
        while True:
            try:
                _, acks = await append(ingest.stub, message, content)
                return acks[0]
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise


async def test_rows_that_arrive_while_their_day_is_compressed_are_all_stored(
    ingest: Served,
) -> None:
    moment, message = noon(9), header()
    stop = asyncio.Event()

    async def send() -> tuple[int, int]:
        sent = sequence = 0
        known: list[ResultRow] = []
        while not stop.is_set():
            fresh = rows(50, moment + sequence)
            content = batch(sequence, [*fresh, *known[:5]])
            ack = await until_appended(ingest, message, content)
            assert (ack.stored_count, ack.duplicate_count) == (50, len(known[:5]))
            known, sent, sequence = fresh, sent + 50, sequence + 1
        return sent, sequence

    sending = asyncio.create_task(send())
    turns = 0
    while turns < 4:
        await asyncio.sleep(0.1)
        # Either may have to give way: who reads the day, and then writes into it, can meet who
        # compresses it in between.
        with suppress(asyncpg.DeadlockDetectedError, asyncpg.SerializationError):
            turns += await asyncio.to_thread(compress, ingest.dsn, again=True)
        await profile_of(ingest.app).maintain()
    stop.set()
    sent, sequence = await sending
    assert sequence > 4
    assert ingest.stored() == sent
    assert ingest.value("SELECT count(DISTINCT id) FROM ingest.benchmark_results") == sent


async def test_compressed_days_are_listed_and_looked_up_as_before(ingest: Served) -> None:
    sent = [
        row(noon(days) + index, batch_size=index + 1) for days in range(5) for index in range(9)
    ]
    await append(ingest.stub, header(), batch(0, sent))

    async def everything() -> list[Any]:
        request = ListBenchmarkResultsRequest(page_size=1000)
        listed = await ingest.stub.ListBenchmarkResults(request)
        single = [
            (await ingest.stub.GetBenchmarkResult(GetBenchmarkResultRequest(id=one.id)))
            for one in sent[::7]
        ]
        return [listed, single]

    before = await everything()
    assert await asyncio.to_thread(compress, ingest.dsn) == 5
    assert await everything() == before
    assert len(before[0].benchmark_results) == len(sent)


async def test_a_compressed_day_goes_into_the_archive_and_comes_back_bit_for_bit(
    ingest_dsn: str, tmp_path: Path
) -> None:
    async with archiving(ingest_dsn, tmp_path.as_uri()) as archive:
        await put_results(ingest_dsn, OLD_DAY)
        before = await contents(ingest_dsn, OLD_DAY)
        assert await asyncio.to_thread(compress, ingest_dsn) == 1
        assert await contents(ingest_dsn, OLD_DAY) == before
        assert await archive.maintain() == gone(OLD_DAY, 40)
        assert count_of(ingest_dsn, OLD_DAY) == 0
        assert (await archive.restore(OLD_DAY)).restored_count == 40
        assert await contents(ingest_dsn, OLD_DAY) == before
