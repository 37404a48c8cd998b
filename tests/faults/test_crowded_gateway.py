"""Callers who are too fast, too many, too large, asleep or wrong harm nobody but themselves."""

import asyncio
import random
import time
from contextlib import suppress
from statistics import median
from typing import Any, Final

import grpc
import pytest

from servemark.ingest.v1 import result_stream_pb2 as pb
from servemark.ingest.v1.result_query_pb2 import GetBenchmarkResultRequest
from services.gateway.grants import GRANTS, STORAGE_SERVICE
from tests.faults.conftest import Report
from tests.faults.gateway_place import GatewayPlace, gateway_place
from tests.faults.run import SECONDS
from tests.faults.test_bounded_memory import MIB, memory
from tests.rpc.gateway.behind import PADDED_ROWS
from tests.rpc.gateway.stand import refused

pytestmark = pytest.mark.faults

LONG: Final = SECONDS >= 45
STREAMS: Final = 32 if LONG else 16
IDLE_STREAMS: Final = 300
MALFORMED: Final = 10_000 if LONG else 1_500
LARGE_MIB: Final = (5, 64, 512) if LONG else (5, 64)
AT_ONCE: Final = 20
TOO_MANY: Final = 400 if LONG else 100
# What the allocator keeps.
SLACK: Final = 48 * MIB


def batch(sequence: int, size: int = 0) -> pb.AppendResultsRequest:
    request = pb.AppendResultsRequest()
    request.batch.sequence = sequence
    request.batch.columns.ids = bytes(16)
    request.batch.columns.detailed_metrics_json.append("x" * size)
    return request


def padded(sequence: int) -> pb.AppendResultsRequest:
    """A batch that the services behind answer with 4 KiB."""
    request = pb.AppendResultsRequest()
    request.batch.sequence = sequence
    for _ in range(PADDED_ROWS):
        request.batch.rows.add()
    return request


def get(place: GatewayPlace, stub: Any, result_id: str = "x") -> Any:
    return stub.GetBenchmarkResult(
        GetBenchmarkResultRequest(id=result_id), metadata=place.key, timeout=30
    )


async def test_fast_clients_of_a_slow_handler_wait_and_the_gateway_does_not_grow(
    fresh_database: str, report: Report
) -> None:
    async with gateway_place(fresh_database) as place:
        pid = place.process.pid
        stub = await place.ingest()
        await get(place, stub)
        before = memory(pid, "VmRSS")
        sent = 0

        async def send(call: Any) -> None:
            nonlocal sent
            # The handler behind never gets further than the first.
            for sequence in range(-2, 30):
                await call.write(batch(sequence, MIB))
                sent += 1

        calls = [(await place.ingest()).AppendResults(metadata=place.key) for _ in range(STREAMS)]
        sending = [asyncio.create_task(send(call)) for call in calls]
        seen, quiet = -1, 0
        async with asyncio.timeout(60):
            while quiet < 10:
                seen, quiet = sent, quiet + 1 if sent == seen and sent >= STREAMS else 0
                await asyncio.sleep(0.1)
        grown = memory(pid, "VmHWM") - before
        assert not any(task.done() for task in sending)
        begun = time.monotonic()
        await get(place, stub)
        others = time.monotonic() - begun
        for call in calls:
            call.cancel()
        await asyncio.gather(*sending, return_exceptions=True)
    report(
        [f"F9, {STREAMS} streams to a handler that hangs: {sent} MiB in, {grown / MIB:.0f} held"]
    )
    # Each way a window and a message, as it came and as it goes.
    assert grown < STREAMS * 5 * MIB + SLACK
    assert others < 5


async def test_idle_streams_are_ended_and_the_others_go_on(
    fresh_database: str, report: Report
) -> None:
    async with gateway_place(fresh_database, stream_idle_seconds=2) as place:
        busy_stub = await place.ingest()
        busy = busy_stub.AppendResults(metadata=place.key)
        acknowledged = 0

        async def go_on() -> None:
            nonlocal acknowledged
            while True:
                await busy.write(batch(acknowledged))
                assert (await busy.read()).ack.sequence == acknowledged
                acknowledged += 1
                await get(place, busy_stub)
                await asyncio.sleep(0.1)

        going = asyncio.create_task(go_on())
        idle = []
        for number in range(IDLE_STREAMS):
            if number % 75 == 0:
                stub = await place.ingest()
            idle.append(stub.AppendResults(metadata=place.key))
            await idle[-1].write(batch(0))
            await idle[-1].read()
        before = acknowledged
        async with asyncio.timeout(60):
            ended = await asyncio.gather(*(refused(call.read()) for call in idle))
        assert {(no.code, no.reason) for no in ended} == {
            (grpc.StatusCode.DEADLINE_EXCEEDED, "STREAM_IDLE")
        }
        reached = acknowledged
        async with asyncio.timeout(20):
            while acknowledged < reached + 3:
                await asyncio.sleep(0.05)
        assert not going.done()
        going.cancel()
        busy.cancel()
    report([f"F10, {IDLE_STREAMS} idle streams ended; {reached - before} batches meanwhile"])
    assert reached > before


async def test_a_stream_that_is_not_read_is_ended_and_holds_no_place(fresh_database: str) -> None:
    limits = {"stream_stall_seconds": 1, "key_concurrent_streams": 1}
    async with gateway_place(fresh_database, **limits) as place:
        stub = await place.ingest()
        unread = stub.AppendResults(metadata=place.key)

        async def send() -> None:
            with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                for sequence in range(10_000):
                    await unread.write(padded(sequence))

        sending = asyncio.create_task(send())
        await unread.read()
        assert (await refused(stub.AppendResults(metadata=place.key).read())).reason == (
            "TOO_MANY_CALLS"
        )
        async with asyncio.timeout(30):
            while True:
                other = stub.AppendResults(metadata=place.key)
                with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                    await other.write(batch(0))
                    if await other.read() is not grpc.aio.EOF:
                        break
                await asyncio.sleep(0.1)
        # Who reads after all is told why it ended.
        with suppress(grpc.aio.AioRpcError):
            while await unread.read() is not grpc.aio.EOF:
                pass
        assert await unread.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await sending


async def test_malformed_messages_are_the_callers_mistake_each_time(
    fresh_database: str, report: Report
) -> None:
    mistakes = random.Random(1)
    codes: dict[grpc.StatusCode, int] = {}
    async with gateway_place(fresh_database) as place:
        channel = await place.channel()

        async def send(method: str, body: bytes) -> None:
            call = channel.stream_stream(method)(metadata=place.key, timeout=30)
            with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                await call.write(body)
                await call.done_writing()
            with suppress(grpc.aio.AioRpcError):
                while await call.read() is not grpc.aio.EOF:
                    pass
            code = await call.code()
            codes[code] = codes.get(code, 0) + 1

        methods = [method for method in GRANTS if STORAGE_SERVICE not in method]
        left = iter(range(MALFORMED))

        async def sender() -> None:
            for number in left:
                # Half of them a batch's beginning, so that the gateway's own parser has its share.
                body = mistakes.randbytes(mistakes.randrange(1, 300))
                method = methods[number % len(methods)]
                await send(method, b"\x12" + body if number % 2 else body)

        await asyncio.gather(*(sender() for _ in range(16)))
        # It serves as before.
        await get(place, await place.ingest())
    report([f"F11, {MALFORMED} malformed messages: { ({c.name: n for c, n in codes.items()}) }"])
    assert sum(codes.values()) == MALFORMED
    assert set(codes) <= {grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT}
    assert codes[grpc.StatusCode.INVALID_ARGUMENT] > MALFORMED / 50


@pytest.mark.parametrize("method", ["GetBenchmarkResult", "AppendResults"])
async def test_large_messages_are_refused_and_take_no_memory(
    fresh_database: str, method: str, report: Report
) -> None:
    async with gateway_place(fresh_database) as place:
        pid = place.process.pid
        channel = await place.channel()
        await get(place, await place.ingest())
        before = memory(pid, "VmRSS")
        for size in LARGE_MIB:
            call = channel.stream_stream(f"/servemark.ingest.v1.IngestService/{method}")(
                metadata=place.key, timeout=60
            )
            with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                await call.write(bytes(size * MIB))
            with suppress(grpc.aio.AioRpcError):
                await call.read()
            assert await call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED, size
        grown = memory(pid, "VmHWM") - before
        await get(place, await place.ingest())
        assert place.behind.seen.messages == 0
    report([f"F12, {method} with {LARGE_MIB} MiB: {grown / MIB:.0f} MiB grown"])
    assert grown < SLACK


async def test_under_overload_the_limit_is_accepted_and_the_rest_refused_at_once(
    fresh_database: str, report: Report
) -> None:
    async with gateway_place(fresh_database, max_concurrent_calls=AT_ONCE) as place:
        stub = await place.ingest()
        slow = [get(place, stub, "slow") for _ in range(AT_ONCE)]
        async with asyncio.timeout(30):
            while len(place.behind.seen.calls) < AT_ONCE:
                await asyncio.sleep(0.01)
        seconds = []
        other = await place.ingest()
        left = iter(range(TOO_MANY))

        async def caller() -> None:
            for _ in left:
                begun = time.perf_counter()
                no = await refused(get(place, other))
                seconds.append(time.perf_counter() - begun)
                assert (no.reason, no.retry_seconds) == ("OVERLOADED", 1.0)

        await asyncio.gather(*(caller() for _ in range(8)))
        assert len(place.behind.seen.calls) == AT_ONCE
        assert not any(call.done() for call in slow)
        for call in slow:
            call.cancel()
        async with asyncio.timeout(20):
            while await get(place, other).code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
                await asyncio.sleep(0.05)
    report(
        [
            f"F13, {AT_ONCE} calls in flight and {TOO_MANY} more: refused in "
            f"{median(seconds) * 1e3:.1f} ms, the slowest in {max(seconds) * 1e3:.1f} ms"
        ]
    )
    assert median(seconds) < 0.1
