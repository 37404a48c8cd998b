"""Streams through the gateway: every message once and in order, at the pace of who reads them."""

import asyncio
import resource
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import grpc
import pytest

from servemark.gateway.v1.api_key_pb2 import RevokeApiKeyRequest
from servemark.ingest.v1 import result_stream_pb2 as pb
from servemark.ingest.v1.time_series_pb2 import QueryTimeSeriesRequest
from servemark.runtime.errors import status_of
from services.gateway.ending import Ending
from tests.rpc.gateway.behind import PADDED_ROWS, teaching_error
from tests.rpc.gateway.stand import Stand, auth, refused, running


def batch(sequence: int, rows: int = 0) -> pb.AppendResultsRequest:
    request = pb.AppendResultsRequest()
    request.batch.sequence = sequence
    for _ in range(rows):
        request.batch.rows.add(id="r" * 128)
    return request


def streamed(sequence: int) -> pb.StreamResultsRequest:
    return pb.StreamResultsRequest(batch=pb.ResultBatch(sequence=sequence))


async def test_each_batch_is_acknowledged_while_the_stream_is_open(stand: Stand) -> None:
    call = stand.ingest.AppendResults(metadata=auth(await stand.key("INGEST")))
    for sequence in range(20):
        await call.write(batch(sequence, rows=2))
        answer = await call.read()
        assert (answer.ack.sequence, answer.ack.stored_count) == (sequence, 2)
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK
    assert stand.behind.seen.half_closed == 1


async def test_a_summary_follows_the_last_message(stand: Stand) -> None:
    async def messages() -> AsyncIterator[Any]:
        for sequence in range(250):
            yield streamed(sequence)

    answer = await stand.ingest.StreamResults(messages(), metadata=auth(await stand.key("INGEST")))
    assert answer.stored_count == 250


async def test_one_request_may_be_answered_by_many_messages(stand: Stand) -> None:
    request = QueryTimeSeriesRequest(page_size=250)
    call = stand.ingest.QueryTimeSeries(request, metadata=auth(await stand.key("READ")))
    assert [answer.series_id async for answer in call] == [str(number) for number in range(250)]
    no = await refused(
        stand.ingest.QueryTimeSeries(request, metadata=auth(await stand.key("INGEST"))).read()
    )
    assert no.code is grpc.StatusCode.PERMISSION_DENIED


async def test_a_stream_has_no_deadline_of_the_gateways_own(stand: Stand) -> None:
    key = auth(await stand.key("INGEST"))
    call = stand.ingest.AppendResults(metadata=key)
    await call.write(batch(1))
    await call.read()
    assert stand.behind.seen.time_left == [None]
    await call.done_writing()
    limited = stand.ingest.AppendResults(metadata=key, timeout=20)
    await limited.write(batch(1))
    await limited.read()
    left = stand.behind.seen.time_left[-1]
    assert left is not None
    assert 15 < left < 20.5
    limited.cancel()


async def test_an_error_in_the_middle_comes_after_the_answers_before_it(stand: Stand) -> None:
    call = stand.ingest.AppendResults(metadata=auth(await stand.key("INGEST")))
    for sequence in (1, 2, 3, -1):
        await call.write(batch(sequence))
    answered = [(await call.read()).ack.sequence for _ in range(3)]
    no = await refused(call.read())
    request_id = str(stand.behind.seen.last()["x-request-id"])
    _, status = status_of(teaching_error(), request_id)
    assert answered == [1, 2, 3]
    assert no.raw == status.SerializeToString()


async def test_an_early_error_is_told_as_it_is_however_much_the_caller_still_sends(
    stand: Stand,
) -> None:
    key = auth(await stand.key("INGEST"))
    method: Any = stand.channel.stream_stream("/servemark.ingest.v1.IngestService/StreamResults")
    for _ in range(40):
        call = method(metadata=key)
        # This client is grpc.aio, too, and loses the status just as easily.
        ending = Ending(call)
        with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await call.write(streamed(-1).SerializeToString())
            for sequence in range(5_000):
                await call.write(streamed(sequence).SerializeToString())
        status = await ending.status()
        assert status.code is grpc.StatusCode.INVALID_ARGUMENT
        assert "grpc-status-details-bin" in dict(status.trailers)


@pytest.mark.parametrize("write_fails", ["before", "after"])
async def test_a_failed_write_does_not_hide_the_services_status(
    stand: Stand, write_fails: str
) -> None:
    method: Any = stand.channel.stream_stream("/servemark.ingest.v1.IngestService/StreamResults")
    call = method(metadata=auth(await stand.key("INGEST")))
    ending = Ending(call)
    await call.write(streamed(-1).SerializeToString())
    if write_fails == "after":
        assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT
    # What grpc.aio does when a write that was under way fails.
    call._cython_call.set_internal_error("the call is over")
    assert await call.code() is grpc.StatusCode.INTERNAL
    status = await ending.status()
    assert status.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "grpc-status-details-bin" in dict(status.trailers)


async def test_a_service_that_ends_the_stream_ends_it_for_the_caller(stand: Stand) -> None:
    call = stand.ingest.AppendResults(metadata=auth(await stand.key("INGEST")))
    await call.write(batch(-3))
    assert await asyncio.wait_for(call.read(), 5) is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK


async def test_a_cancelled_stream_never_looks_finished_to_the_service(stand: Stand) -> None:
    key = auth(await stand.key("INGEST"))
    for _ in range(40):
        stand.behind.forget()
        call = stand.ingest.AppendResults(metadata=key)
        await call.write(batch(1))
        await call.read()
        call.cancel()
        await asyncio.wait_for(stand.behind.seen.cancelled.wait(), 5)
        assert stand.behind.seen.half_closed == 0


async def test_a_stream_ends_when_its_key_is_revoked(stand: Stand) -> None:
    key = await stand.key("INGEST")
    admin = auth(await stand.key("ADMIN"))
    call = stand.ingest.AppendResults(metadata=auth(key))
    await call.write(batch(1))
    await call.read()
    await stand.admin.RevokeApiKey(RevokeApiKeyRequest(id=key.split("_")[1]), metadata=admin)
    no = await asyncio.wait_for(refused(call.read()), 5)
    assert (no.code, no.reason) == (grpc.StatusCode.UNAUTHENTICATED, "KEY_INVALID")
    await asyncio.wait_for(stand.behind.seen.cancelled.wait(), 5)


async def test_ten_thousand_messages_to_a_slow_reader_wait_at_the_sender(stand: Stand) -> None:
    """What a caller does not read must not pile up in the gateway: it stops taking more."""
    call = stand.ingest.AppendResults(metadata=auth(await stand.key("INGEST")))
    sent = 0

    async def send() -> None:
        nonlocal sent
        for sequence in range(10_000):
            await call.write(batch(sequence, PADDED_ROWS))
            sent += 1
        await call.done_writing()

    sender = asyncio.create_task(send())
    # Once the way back is full, nothing moves.
    before = -1
    while sent != before:
        before = sent
        await asyncio.sleep(0.5)
    stuck_at = sent
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    await asyncio.sleep(1.0)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 8 * 1024
    got = 0
    async for answer in call:
        assert answer.ack.sequence == got
        got += 1
    await sender
    assert (got, stand.behind.seen.messages) == (10_000, 10_000)
    # Of 60 MB, what two connections each way hold back: some windows of a mebibyte.
    assert stuck_at < 4_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 64 * 1024


async def test_a_service_killed_in_the_middle_is_unavailable_not_unknown(
    gateway_database: str,
) -> None:
    async with running(gateway_database) as stand:
        call = stand.ingest.AppendResults(metadata=auth(await stand.key("INGEST")))
        await call.write(batch(1))
        await call.read()
        await stand.behind.server.grpc.stop(0)
        no = await asyncio.wait_for(refused(call.read()), 5)
        assert (no.code, no.reason) == (grpc.StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE")
        assert no.retry_seconds == 1.0
