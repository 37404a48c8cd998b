"""Each key keeps within its limits, and is told which one it met and when to come back."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import grpc
import pytest
from prometheus_client import generate_latest

from servemark.gateway.v1.api_key_pb2 import ListApiKeysRequest
from servemark.ingest.v1 import result_stream_pb2 as pb
from servemark.ingest.v1.result_query_pb2 import GetBenchmarkResultRequest
from services.gateway.daily_use import DAY_SECONDS, Use
from services.gateway.store_use import UseStore
from services.gateway.tables import DEFAULT_ORGANIZATION_ID
from tests.rpc.gateway.stand import Refusal, Stand, auth, refused, running

EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED


def get(stand: Stand, key: str, result_id: str = "x") -> Any:
    return stand.ingest.GetBenchmarkResult(
        GetBenchmarkResultRequest(id=result_id), metadata=auth(key), timeout=20
    )


def batch(sequence: int, rows: int) -> pb.AppendResultsRequest:
    request = pb.AppendResultsRequest()
    request.batch.sequence = sequence
    for _ in range(rows):
        request.batch.rows.add()
    return request


def columns(sequence: int, rows: int) -> pb.AppendResultsRequest:
    request = pb.AppendResultsRequest()
    request.batch.sequence = sequence
    request.batch.columns.ids = bytes(16 * rows)
    return request


def key_id(key: str) -> str:
    return key.split("_")[1]


def assert_names(no: Refusal, key: str, reason: str, limit: str, most: str) -> None:
    """The refusal has everything a program needs."""
    assert (no.code, no.reason) == (EXHAUSTED, reason)
    assert no.metadata == {"limit": limit, "most": most}
    ((subject, description),) = no.quota
    assert subject == f"caller:{key_id(key)}"
    assert most in description
    assert no.retry_seconds is not None


async def answered_soon(stand: Stand, key: str) -> None:
    """Returns once the key is no longer refused."""
    async with asyncio.timeout(10):
        while await get(stand, key).code() is EXHAUSTED:
            await asyncio.sleep(0.05)


def refused_by(stand: Stand, limit: str) -> float:
    """What the metrics count of a limit."""
    name = f'servemark_gateway_refused_total{{limit="{limit}"}} '
    for line in generate_latest(stand.app.server.registry).decode().splitlines():
        if line.startswith(name):
            return float(line.removeprefix(name))
    return 0.0


async def test_a_key_that_calls_too_often_is_told_when_to_come_back(stand: Stand) -> None:
    key = await stand.key("READ", calls_per_second=2)
    before = refused_by(stand, "calls_per_second")
    await get(stand, key)
    await get(stand, key)
    no = await refused(get(stand, key))
    assert_names(no, key, "RATE_LIMITED", "calls_per_second", "2")
    assert no.retry_seconds is not None
    assert 0 < no.retry_seconds <= 0.5
    assert refused_by(stand, "calls_per_second") == before + 1
    await asyncio.sleep(no.retry_seconds)
    await get(stand, key)


async def test_one_keys_limits_are_not_anothers(stand: Stand) -> None:
    fast, slow = await stand.key("READ"), await stand.key("READ", calls_per_second=0.01)
    await get(stand, slow)
    for _ in range(5):
        assert (await refused(get(stand, slow))).reason == "RATE_LIMITED"
        await get(stand, fast)


async def test_a_key_has_so_many_calls_open_at_once_and_room_again_when_one_ends(
    stand: Stand,
) -> None:
    key = await stand.key("READ", concurrent_calls=3)
    slow = [get(stand, key, "slow") for _ in range(3)]
    async with asyncio.timeout(20):
        while len(stand.behind.seen.calls) < 3:
            await asyncio.sleep(0.01)
    no = await refused(get(stand, key))
    assert_names(no, key, "TOO_MANY_CALLS", "concurrent_calls", "3")
    slow[0].cancel()
    await answered_soon(stand, key)
    for call in slow:
        call.cancel()


async def test_streams_are_counted_apart_from_calls(stand: Stand) -> None:
    key = await stand.key("INGEST", "READ", concurrent_streams=1, concurrent_calls=1)
    for _ in range(3):
        first = stand.ingest.AppendResults(metadata=auth(key))
        await first.write(batch(0, 1))
        await first.read()
        no = await refused(stand.ingest.AppendResults(metadata=auth(key)).read())
        assert_names(no, key, "TOO_MANY_CALLS", "concurrent_streams", "1")
        await get(stand, key)
        await first.done_writing()
        assert await first.read() is grpc.aio.EOF
        assert await first.code() is grpc.StatusCode.OK


@pytest.mark.parametrize("make", [batch, columns])
async def test_a_stream_over_its_row_rate_is_slowed_and_loses_nothing(
    stand: Stand, make: Any
) -> None:
    key = await stand.key("INGEST", rows_per_second=1_000)
    call = stand.ingest.AppendResults(metadata=auth(key))
    begun = time.monotonic()
    for sequence in range(5):
        await call.write(make(sequence, 500))
    await call.done_writing()
    answered = [answer.ack.sequence async for answer in call]
    took = time.monotonic() - begun
    assert (answered, await call.code()) == (list(range(5)), grpc.StatusCode.OK)
    # A second's worth is free, and so is the one that overdraws.
    assert 0.9 < took < 5


async def test_the_day_over_ends_a_stream_after_everything_sent_before_is_answered(
    stand: Stand,
) -> None:
    key = await stand.key("INGEST", rows_per_day=250)
    call = stand.ingest.AppendResults(metadata=auth(key))
    for sequence in range(5):
        try:
            await call.write(columns(sequence, 100))
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            break
    answered = [(await call.read()).ack.sequence for _ in range(2)]
    no = await refused(call.read())
    assert answered == [0, 1]
    assert_names(no, key, "QUOTA_EXCEEDED", "rows_per_day", "250")
    assert no.retry_seconds == pytest.approx(DAY_SECONDS - time.time() % DAY_SECONDS, abs=20)
    # What the service saw was a stream that ended as it should.
    assert (stand.behind.seen.messages, stand.behind.seen.half_closed) == (2, 1)
    # Fifty are left, for a smaller batch.
    call = stand.ingest.AppendResults(metadata=auth(key))
    await call.write(columns(2, 50))
    assert (await call.read()).ack.sequence == 2
    await call.done_writing()


async def test_the_day_over_ends_a_stream_that_is_answered_once(stand: Stand) -> None:
    key = await stand.key("INGEST", rows_per_day=250)

    async def messages() -> AsyncIterator[Any]:
        for sequence in range(5):
            made = columns(sequence, 100)
            yield pb.StreamResultsRequest(batch=made.batch)

    no = await refused(stand.ingest.StreamResults(messages(), metadata=auth(key)))
    assert_names(no, key, "QUOTA_EXCEEDED", "rows_per_day", "250")
    assert stand.behind.seen.messages == 2


async def test_a_quota_is_counted_over_all_gateways_and_survives_their_restart(
    gateway_database: str,
) -> None:
    async with running(gateway_database) as one, running(gateway_database) as other:
        key = await one.key("READ", calls_per_day=10)
        for _ in range(6):
            await get(one, key)
        # Each tells the database within a second, and is told what others used by then.
        await asyncio.sleep(1.5)
        await get(other, key)
        await asyncio.sleep(1.5)
        for _ in range(3):
            await get(other, key)
        no = await refused(get(other, key))
        assert_names(no, key, "QUOTA_EXCEEDED", "calls_per_day", "10")
    async with running(gateway_database) as again:
        assert (await refused(get(again, key))).reason == "QUOTA_EXCEEDED"
        # A refused call is not counted.
        await again.store.set_limits(
            DEFAULT_ORGANIZATION_ID, key_id(key), {"calls_per_day": 11}, "tests"
        )
        await answered_soon(again, key)
        assert (await refused(get(again, key))).reason == "QUOTA_EXCEEDED"


async def test_changed_limits_hold_within_two_seconds_and_are_logged(stand: Stand) -> None:
    key = await stand.key("READ", calls_per_second=0.01)
    await get(stand, key)
    assert (await refused(get(stand, key))).reason == "RATE_LIMITED"
    set_limits, none = stand.store.set_limits, {"calls_per_second": None}
    assert await set_limits(DEFAULT_ORGANIZATION_ID, key_id(key), none, "tests")
    await asyncio.sleep(2.0)
    for _ in range(5):
        await get(stand, key)
    assert not await set_limits(uuid4(), key_id(key), none, "tests")
    async with stand.database.transaction() as connection:
        logged = await connection.exec_driver_sql(
            "SELECT actor, detail FROM gateway.audit_log"
            f" WHERE action = 'api_key.set_limits' AND target = '{key_id(key)}' ORDER BY id"
        )
        assert [tuple(row) for row in logged] == [
            ("tests", {"calls_per_second": None}),
        ]


async def test_what_was_used_long_ago_is_deleted_and_the_rest_kept(gateway_database: str) -> None:
    today = int(time.time() // DAY_SECONDS)
    async with running(gateway_database) as stand:
        store = UseStore(stand.database)
        uses = {(today - age, "of long ago"): Use(1, 1) for age in (0, 399, 401, 2_000)}
        await store.add(uses)
        async with asyncio.timeout(10):
            while await store.load(today - 401):
                await asyncio.sleep(0.05)
        kept = [age for age in (0, 399, 401, 2_000) if await store.load(today - age)]
        assert kept == [0, 399]


async def test_what_is_set_for_all_keys_holds_for_the_gateways_own_methods_too(
    gateway_database: str,
) -> None:
    async with running(gateway_database, key_calls_per_second=1) as stand:
        key = await stand.key("ADMIN")
        await stand.admin.ListApiKeys(ListApiKeysRequest(), metadata=auth(key))
        no = await refused(stand.admin.ListApiKeys(ListApiKeysRequest(), metadata=auth(key)))
        assert_names(no, key, "RATE_LIMITED", "calls_per_second", "1")


async def test_a_stream_that_the_rate_holds_back_is_not_idle(gateway_database: str) -> None:
    async with running(gateway_database, stream_idle_seconds=1) as stand:
        key = await stand.key("INGEST", rows_per_second=100)
        call = stand.ingest.AppendResults(metadata=auth(key))
        for sequence in range(3):
            await call.write(columns(sequence, 300))
        # The third waits three seconds and more.
        assert [(await call.read()).ack.sequence for _ in range(3)] == [0, 1, 2]
        no = await refused(call.read())
        assert (no.code, no.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "STREAM_IDLE")
