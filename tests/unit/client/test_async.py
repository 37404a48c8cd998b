"""The asynchronous client does what the other does, and never holds the event loop."""

import asyncio
import time
from pathlib import Path

import grpc
import pytest

from servemark.catalog.v1.use_case_pb2 import ListUseCasesResponse
from servemark.client.async_channel import AsyncClient, connect_async
from servemark.client.errors import ServemarkCallError
from servemark.client.ledger import StreamError
from servemark.client.policy import Timeouts
from servemark.client.push import push
from servemark.client.retry import RetryPolicy
from servemark.client.spool import Spool
from servemark.ingest.v1 import result_stream_pb2 as stream_pb2
from servemark.ingest.v1.time_series_pb2 import QueryTimeSeriesRequest
from tests.support.answering_server import answering_server
from tests.unit.client.serving import Served
from tests.unit.client.test_runner_stream import CONFIG


def client(served: Served) -> AsyncClient:
    return connect_async(f"127.0.0.1:{served.port}")


async def test_results_are_streamed_and_calls_awaited(served: Served) -> None:
    protocol = served.start()
    async with client(served) as connected:
        async with connected.stream(tool="mine", provenance="measured") as results:
            for _ in range(12):
                await results.add_result(CONFIG, ttft_p50_ms=40.0)
            summary = await results.close()
        cursor = await connected.ingest.GetStreamCursor(
            stream_pb2.GetStreamCursorRequest(stream_id=summary.stream_ids[0])
        )
    assert (summary.stored, cursor.stored_count, protocol.result_count()) == (12, 12, 12)


async def test_a_failed_call_raises_our_error_after_its_retries(served: Served) -> None:
    served.start()
    async with client(served) as connected:
        with pytest.raises(ServemarkCallError) as refused:
            await connected.ingest.GetStreamCursor(
                stream_pb2.GetStreamCursorRequest(stream_id="none")
            )
    assert refused.value.reason == "RESOURCE_NOT_FOUND"
    patient = RetryPolicy(max_attempts=50, first_delay=0.02, max_delay=0.05)
    served.stop()
    async with connect_async(
        f"127.0.0.1:{served.port}", retry=patient, timeouts=Timeouts(unary=20)
    ) as connected:
        asked = connected.ingest.GetStreamCursor(
            stream_pb2.GetStreamCursorRequest(stream_id="none")
        )
        await asyncio.sleep(0.2)
        served.start()
        with pytest.raises(ServemarkCallError) as later:
            await asked
    assert later.value.code() is grpc.StatusCode.NOT_FOUND


async def test_the_key_goes_with_calls_of_one_answer_and_of_many() -> None:
    with answering_server(ListUseCases=ListUseCasesResponse(), QueryTimeSeries=()) as server:
        async with connect_async(server.target, key="sm_secret") as connected:
            await connected.ping()
            async for _ in connected.ingest.QueryTimeSeries(QueryTimeSeriesRequest()):
                pass
    assert {meta["authorization"] for _, _, meta in server.asked} == {"Bearer sm_secret"}
    assert [name for name, _, _ in server.asked] == ["ListUseCases", "QueryTimeSeries"]


async def test_a_stream_that_waits_leaves_the_loop_alone(served: Served, tmp_path: Path) -> None:
    """The server is away: closing waits for it, and other tasks go on."""
    spool = Spool(tmp_path / "spool")
    longest, last = 0.0, time.monotonic()

    async def beat() -> None:
        nonlocal longest, last
        while True:
            await asyncio.sleep(0.005)
            longest, last = max(longest, time.monotonic() - last), time.monotonic()

    async with connect_async("127.0.0.1:9") as connected:
        beating = asyncio.create_task(beat())
        async with connected.stream(
            tool="mine", provenance="measured", spool=spool, idle_timeout=1.0
        ) as results:
            await results.add_result(CONFIG, ttft_p50_ms=40.0)
            summary = await results.close()
        beating.cancel()
    assert summary.spooled == 1
    assert longest < 0.5
    served.start()
    with served.client() as later:
        assert push(later, spool.paths()).stored == 1


async def test_a_block_that_raises_abandons_the_stream(served: Served) -> None:
    served.start()
    async with client(served) as connected:
        results = connected.stream(tool="mine", provenance="measured")

        async def fail() -> None:
            async with results:
                await results.add_result(CONFIG, ttft_p50_ms=40.0)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        with pytest.raises(StreamError, match="closed"):
            await results.add_result(CONFIG, ttft_p50_ms=40.0)
        with pytest.raises(ValueError, match="provenance"):
            await connected.stream(tool="mine", provenance="guessed").__aenter__()
