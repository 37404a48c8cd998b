"""One request, one answer, through the gateway: nothing is added, lost or changed on the way."""

import asyncio
from typing import Any
from uuid import uuid4

import grpc
import pytest

from servemark.ingest.v1.result_query_pb2 import GetBenchmarkResultRequest
from servemark.runtime.errors import status_of
from services.gateway.tables import DEFAULT_ORGANIZATION_ID
from tests.rpc.gateway.behind import BIG_BYTES, HEAD, TRAILERS, teaching_error
from tests.rpc.gateway.stand import Stand, auth, refused, running

METHOD = "/servemark.ingest.v1.IngestService/GetBenchmarkResult"


def get(ref: str) -> GetBenchmarkResultRequest:
    return GetBenchmarkResultRequest(id=ref)


async def test_an_answer_comes_back(stand: Stand) -> None:
    key = await stand.key("READ")
    answer = await stand.ingest.GetBenchmarkResult(get("plain"), metadata=auth(key))
    assert answer.benchmark_result.id == "plain"


async def test_large_messages_pass_both_ways(stand: Stand) -> None:
    key = auth(await stand.key("READ"))
    answer = await stand.ingest.GetBenchmarkResult(get("big"), metadata=key)
    assert len(answer.benchmark_result.id) == BIG_BYTES
    answer = await stand.ingest.GetBenchmarkResult(get("y" * BIG_BYTES), metadata=key)
    assert answer.benchmark_result.id == "y" * BIG_BYTES


async def test_a_message_over_four_mebibytes_is_refused(stand: Stand) -> None:
    key = await stand.key("READ")
    no = await refused(
        stand.ingest.GetBenchmarkResult(get("z" * 5 * 1024 * 1024), metadata=auth(key))
    )
    assert no.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert not stand.behind.seen.calls


async def test_head_and_trailers_pass_untouched(stand: Stand) -> None:
    call = stand.ingest.GetBenchmarkResult(get("trailers"), metadata=auth(await stand.key("READ")))
    await call
    head = await call.initial_metadata()
    assert [(key, value) for key, value in head if key.startswith("x-")] == list(HEAD)
    assert list(await call.trailing_metadata()) == list(TRAILERS)


async def test_the_details_of_an_error_are_byte_for_byte_those_of_the_service(
    stand: Stand,
) -> None:
    request_id = str(uuid4())
    no = await refused(
        stand.ingest.GetBenchmarkResult(
            get("error"),
            metadata=(*auth(await stand.key("READ")), ("x-request-id", request_id)),
        )
    )
    code, status = status_of(teaching_error(), request_id)
    assert (no.code, no.text) == (code, status.message)
    assert no.raw == status.SerializeToString()


async def test_malformed_requests_are_answered_by_the_service_behind(stand: Stand) -> None:
    key = await stand.key("READ")
    raw: Any = stand.channel.unary_unary(METHOD)
    no = await refused(raw(b"\xff\xff\xff", metadata=auth(key)))
    assert (no.code, no.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_MESSAGE")


async def test_a_fault_of_the_service_stays_its_own_and_tells_nothing(stand: Stand) -> None:
    key = await stand.key("READ")
    no = await refused(stand.ingest.GetBenchmarkResult(get("bug"), metadata=auth(key)))
    assert (no.code, no.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert b"secret of the house" not in no.raw


async def test_the_service_learns_the_caller_and_the_request_but_not_the_key(
    stand: Stand,
) -> None:
    key, request_id = await stand.key("READ"), str(uuid4())
    forged = (
        ("x-request-id", request_id),
        ("x-servemark-caller", "somebody-else"),
        ("x-servemark-organization", "0190a3b4-0000-7000-8000-000000000001"),
        ("x-servemark-publishes", "0"),
        ("x-servemark-hardware", "anything"),
        ("x-servemark-internal-token", "guess"),
        ("cookie", "session=1"),
        ("traceparent", "00-1-2-01"),
        ("x-blob-bin", b"\x00\x07"),
    )
    await stand.ingest.GetBenchmarkResult(get("plain"), metadata=(*auth(key), *forged))
    seen = stand.behind.seen.last()
    assert seen["x-servemark-caller"] == key.split("_")[1]
    assert seen["x-servemark-organization"] == str(DEFAULT_ORGANIZATION_ID)
    assert seen["x-servemark-publishes"] == "1"
    assert "x-servemark-hardware" not in seen
    assert seen["x-request-id"] == request_id
    assert seen["traceparent"] == "00-1-2-01"
    assert seen["x-blob-bin"] == b"\x00\x07"
    assert not {"authorization", "x-servemark-internal-token", "cookie"} & set(seen)
    assert key not in str(stand.behind.seen.calls)


async def test_a_request_id_that_is_not_one_is_replaced(stand: Stand) -> None:
    key = await stand.key("READ")
    await stand.ingest.GetBenchmarkResult(
        get("plain"), metadata=(*auth(key), ("x-request-id", "'; DROP TABLE"))
    )
    assert len(str(stand.behind.seen.last()["x-request-id"])) == 36


@pytest.mark.parametrize(("asked", "low", "high"), [(None, 25, 30), (5.0, 3, 5), (90.0, 80, 90)])
async def test_what_is_left_of_the_deadline_goes_on(
    stand: Stand, asked: float | None, low: float, high: float
) -> None:
    key = await stand.key("READ")
    await stand.ingest.GetBenchmarkResult(get("plain"), metadata=auth(key), timeout=asked)
    left = stand.behind.seen.time_left[-1]
    assert left is not None
    # gRPC rounds the time up to three digits for the way.
    assert low < left <= high * 1.02


async def test_a_call_ends_at_its_deadline_on_both_sides(stand: Stand) -> None:
    key = await stand.key("READ")
    no = await refused(
        stand.ingest.GetBenchmarkResult(get("slow"), metadata=auth(key), timeout=0.5)
    )
    assert no.code is grpc.StatusCode.DEADLINE_EXCEEDED
    await asyncio.wait_for(stand.behind.seen.cancelled.wait(), 5)


async def test_a_caller_who_goes_away_takes_the_call_behind_along(stand: Stand) -> None:
    key = await stand.key("READ")
    call = stand.ingest.GetBenchmarkResult(get("slow"), metadata=auth(key))
    await asyncio.wait_for(stand.behind.seen.started.wait(), 5)
    call.cancel()
    await asyncio.wait_for(stand.behind.seen.cancelled.wait(), 5)


async def test_a_service_that_is_down_is_unavailable_with_a_time_to_come_back(
    gateway_database: str,
) -> None:
    async with running(gateway_database) as stand:
        key = await stand.key("READ")
        await stand.behind.server.stop(0)
        no = await refused(stand.ingest.GetBenchmarkResult(get("plain"), metadata=auth(key)))
        assert (no.code, no.reason) == (
            grpc.StatusCode.UNAVAILABLE,
            "DEPENDENCY_UNAVAILABLE",
        )
        assert no.metadata == {"dependency": "IngestService"}
        assert no.retry_seconds == 1.0


async def test_more_calls_than_one_connection_takes_do_not_wait_for_one_another(
    stand: Stand,
) -> None:
    key = auth(await stand.key("READ"))
    slow = [stand.ingest.GetBenchmarkResult(get("slow"), metadata=key) for _ in range(60)]
    async with grpc.aio.insecure_channel(
        stand.target, options=[("grpc.use_local_subchannel_pool", 1)]
    ) as other:
        raw: Any = other.unary_unary(METHOD)
        slow += [raw(get("slow").SerializeToString(), metadata=key) for _ in range(60)]
        async with asyncio.timeout(20):
            while len(stand.behind.seen.calls) < 120:
                await asyncio.sleep(0.01)
        answer = await raw(get("plain").SerializeToString(), metadata=key, timeout=5)
        assert answer
        for call in slow:
            call.cancel()
        await asyncio.gather(*slow, return_exceptions=True)
