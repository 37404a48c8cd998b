"""What dies in the middle of a batch leaves nothing half-stored, and a repeat loses nothing."""

import asyncio
import os
import signal
import time

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from servemark.embedded import EmbeddedPostgres
from servemark.ingest.v1.ingest_service_pb2_grpc import IngestServiceStub
from servemark.ingest.v1.result_stream_pb2 import (
    GetStreamCursorRequest,
    ResultBatch,
    StreamHeader,
)
from tests.rpc.ingest.builders import batch, header, now_ms, row, rows
from tests.rpc.ingest.holding import held, waiting_backends
from tests.rpc.ingest.process import ingest_process
from tests.rpc.ingest.serving import AppendCall, Served, append, seed, serving, stream
from tests.support import servers
from tests.support.failures import failure

pytestmark = pytest.mark.every_profile


def retry_delay(error: grpc.aio.AioRpcError) -> float:
    """Seconds after which the caller is told to try again."""
    trailing = dict(error.trailing_metadata() or ())
    status = status_pb2.Status.FromString(trailing["grpc-status-details-bin"])
    info = error_details_pb2.RetryInfo()
    for detail in status.details:
        detail.Unpack(info)
    return float(info.retry_delay.ToNanoseconds()) / 1e9


async def test_a_backend_ended_in_the_middle_of_a_copy_stores_nothing(ingest: Served) -> None:
    message, moment = header(), now_ms()
    await append(ingest.stub, message, batch(0, rows(3)))
    content = [row(moment + index) for index in range(2000)]
    for _ in range(3):
        call = AppendCall(ingest.stub)
        await call.open(message)
        async with held(ingest.dsn, content[1000]) as connection:
            await call.send(batch(1, content))
            (pid,) = await waiting_backends(ingest.dsn)
            assert await connection.fetchval("SELECT pg_terminate_backend($1)", pid)
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call.read()
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        assert retry_delay(refused.value) > 0
        assert "Send the batch again" in (refused.value.details() or "")
        assert ingest.stored() == 3
    _, acks = await append(ingest.stub, message, batch(0, rows(3)), batch(1, content))
    assert [(ack.stored_count, ack.replayed) for ack in acks] == [(0, True), (2000, False)]
    assert ingest.stored() == 2003
    cursor = await ingest.stub.GetStreamCursor(GetStreamCursorRequest(stream_id=message.stream_id))
    assert (cursor.next_sequence, cursor.stored_count) == (2, 2003)


async def until_stored(ingest: Served, message: StreamHeader, *batches: ResultBatch) -> int:
    """Sends the batches until they are acknowledged; the number of refused calls before."""
    deadline = time.monotonic() + 10
    refusals = 0
    while True:
        try:
            await append(ingest.stub, message, *batches)
            return refusals
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE or time.monotonic() > deadline:
                raise
            refusals += 1
            await asyncio.sleep(0.1)


async def test_ended_idle_connections_cost_one_call_not_one_each(ingest: Served) -> None:
    await asyncio.gather(*(append(ingest.stub, header(), batch(0, rows(1))) for _ in range(8)))
    ended = ingest.value(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
        "WHERE application_name = 'servemark-ingest' AND datname = current_database()"
    )
    assert ended > 2
    assert await until_stored(ingest, header(), batch(0, rows(5))) <= 1
    assert ingest.stored() == 13


async def test_a_killed_server_recovers_and_nothing_is_lost_or_doubled() -> None:
    with servers.temporary_folder() as folder, EmbeddedPostgres(folder / "postgres") as server:
        dsn = server.dsn()
        await asyncio.to_thread(asyncio.run, seed(dsn))
        async with serving(dsn) as ingest:
            message, moment = header(), now_ms()
            await append(ingest.stub, message, batch(0, rows(3)))
            content = [row(moment + index) for index in range(2000)]
            call = AppendCall(ingest.stub)
            await call.open(message)
            async with held(dsn, content[1000]) as connection:
                await call.send(batch(1, content))
                # SIGKILL of one backend makes the server end all of them and recover.
                os.kill((await waiting_backends(dsn))[0], signal.SIGKILL)
                refused = await failure(call.read())
                assert refused.code is grpc.StatusCode.UNAVAILABLE
                await connection.close()
            await until_stored(ingest, message, batch(1, content))
            assert ingest.stored() == 2003


@pytest.mark.parametrize(
    ("place", "durable"),
    [
        ("before_tx", 2),
        ("after_rows", 2),
        ("before_commit", 2),
        ("after_commit_before_ack", 3),
    ],
)
async def test_a_crash_at_any_point_of_a_batch_leaves_exact_counts(
    ingest: Served, place: str, durable: int
) -> None:
    message = header()
    # Later batches hold rows of earlier ones, so that both ways of storing are taken.
    contents = [rows(40) for _ in range(5)]
    batches = [
        batch(sequence, [*content, *contents[sequence - 1][:5]] if sequence else content)
        for sequence, content in enumerate(contents)
    ]
    crash = f"{place}=crash@3"
    with ingest_process(ingest.dsn, ingest.catalog_port, FAILPOINTS=crash) as service:
        async with grpc.aio.insecure_channel(service.target) as channel:
            refused = None
            try:
                await stream(IngestServiceStub(channel), message, *batches)
            except grpc.aio.AioRpcError as error:
                refused = error
        assert await asyncio.to_thread(service.started.wait, 10) == -signal.SIGKILL
    assert refused is not None
    assert refused.code() is grpc.StatusCode.UNAVAILABLE
    cursor = await ingest.stub.GetStreamCursor(GetStreamCursorRequest(stream_id=message.stream_id))
    assert cursor.next_sequence == durable
    assert ingest.stored() == cursor.stored_count == durable * 40
    summary = await stream(ingest.stub, message, *batches)
    assert summary.stored_count == (5 - durable) * 40
    assert ingest.stored() == 200
    assert ingest.value("SELECT count(*) FROM ingest.outbox") == 5
