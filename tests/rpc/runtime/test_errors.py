"""Every error of every kind of handler reaches the caller as a status with details, and no more."""

import asyncio
from typing import Any

import asyncpg
import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from servemark.runtime.database import translate_database_error
from servemark.runtime.errors import INTERNAL_TEXT, ServemarkError
from servemark.type.v1.error_reason_pb2 import ErrorReason
from tests.rpc.gateway.stand import refused
from tests.rpc.runtime.fixture_server import KINDS, SERVICE, Message, Running, serving


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_answers(running: Running, kind: str) -> None:
    assert await running.call(kind, "hello") == [Message(page_token="hello")]


@pytest.mark.parametrize("kind", KINDS)
async def test_an_error_has_its_code_and_all_its_details(running: Running, kind: str) -> None:
    no = await refused(running.call(kind, "error"))
    assert no.code is grpc.StatusCode.INVALID_ARGUMENT
    assert no.text == "Something is wrong."
    assert (no.reason, no.metadata) == ("INVALID_FIELD", {"a": "b"})
    assert no.fields == ("x", "y")
    assert no.retry_seconds == 2.0


@pytest.mark.parametrize("kind", KINDS)
async def test_an_unexpected_exception_is_one_sentence_without_internals(
    running: Running, kind: str
) -> None:
    no = await refused(running.call(kind, "bug"))
    assert (no.code, no.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert no.text == INTERNAL_TEXT
    for word in (b"internals", b"row", b"ZeroDivision", b"Traceback"):
        assert word not in no.raw


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("data", [b"\xff", b"\x12\xff", b"\x0a" * 64, b"\x12\x02\xff\xfe"])
async def test_bytes_that_are_no_message_are_malformed(
    running: Running, kind: str, data: bytes
) -> None:
    no = await refused(running.call_raw(kind, data))
    assert (no.code, no.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_MESSAGE")


@pytest.mark.parametrize("kind", ["StreamUnary", "StreamStream", "Written"])
async def test_a_malformed_message_in_the_middle_ends_a_stream(running: Running, kind: str) -> None:
    method: Any = running.channel.stream_stream(f"/{SERVICE}/{kind}")
    live = method()
    await live.write(Message(page_token="fine").SerializeToString())
    await live.write(b"\xff")

    async def read_all() -> None:
        async for _ in live:
            pass

    no = await refused(read_all())
    assert no.reason == "MALFORMED_MESSAGE"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_status_set_by_hand_stays(running: Running, kind: str) -> None:
    no = await refused(running.call(kind, "abort"))
    assert (no.code, no.text) == (grpc.StatusCode.DATA_LOSS, "aborted by hand")


@pytest.mark.parametrize("word", ["upstream", "late"])
async def test_another_server_that_is_away_is_unavailable_with_a_time_to_come_back(
    running: Running, word: str
) -> None:
    no = await refused(running.call("UnaryUnary", word))
    assert (no.code, no.reason) == (grpc.StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE")
    assert no.retry_seconds == 1.0
    assert b"10.0.0.1" not in no.raw


async def test_a_method_that_is_not_there_is_not_offered(running: Running) -> None:
    for method in ("/tests.v1.Kinds/Missing", "/no.such.Service/Get"):
        no = await refused(running.call(method))
        assert (no.code, no.reason) == (grpc.StatusCode.UNIMPLEMENTED, "METHOD_NOT_OFFERED")


async def test_the_call_is_over_at_its_deadline_and_the_handler_knows_it(running: Running) -> None:
    await running.call("UnaryUnary", timeout=5)
    assert running.kinds.left is not None
    assert 4 < running.kinds.left < 5.1
    no = await refused(running.call("UnaryUnary", "wait", timeout=0.3))
    assert no.code is grpc.StatusCode.DEADLINE_EXCEEDED
    await asyncio.wait_for(running.kinds.cancelled.wait(), 5)


async def test_a_call_without_a_deadline_gets_thirty_seconds_and_a_stream_none(
    running: Running,
) -> None:
    await running.call("UnaryUnary")
    assert running.kinds.left is not None
    assert 29 < running.kinds.left <= 30
    await running.call("StreamStream")
    assert running.kinds.left is None


async def test_a_server_ends_a_call_without_a_deadline_at_its_cap(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("servemark.runtime.deadline.UNARY_CAP_SECONDS", 0.2)
    async with serving() as running:
        no = await refused(running.call("UnaryUnary", "wait"))
        assert (no.code, no.reason) == (
            grpc.StatusCode.DEADLINE_EXCEEDED,
            "DEADLINE_EXCEEDED",
        )


async def test_calls_over_the_limit_are_refused_at_once_and_health_is_not_counted() -> None:
    async with serving(max_concurrent_calls=3) as running:
        waiting = [asyncio.create_task(running.call("UnaryUnary", "wait")) for _ in range(3)]
        watch = health_pb2_grpc.HealthStub(running.channel).Watch(health_pb2.HealthCheckRequest())
        await watch.read()
        async with asyncio.timeout(20):
            while running.server.registry.get_sample_value("servemark_grpc_in_flight") != 4:
                await asyncio.sleep(0.01)
        for kind in KINDS:
            no = await refused(running.call(kind))
            assert (no.code, no.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
            assert no.retry_seconds == 1.0
        running.kinds.release.set()
        await asyncio.gather(*waiting)
        assert await running.call("UnaryUnary") == [Message()]
        watch.cancel()


async def test_who_is_not_admitted_is_refused_before_the_request_is_looked_at() -> None:
    async def nobody(method: str, context: Any) -> None:
        raise ServemarkError(ErrorReason.ERROR_REASON_KEY_INVALID, "Nobody gets in.")

    async with serving(admit=nobody) as running:
        for kind in KINDS:
            no = await refused(running.call_raw(kind, b"\xff"))
            assert no.code is grpc.StatusCode.UNAUTHENTICATED


async def test_the_internal_token_opens_everything_and_health_needs_none() -> None:
    async with serving(internal_token="between us") as running:
        for kind in KINDS:
            for sent in ((), (("x-servemark-internal-token", "between them"),)):
                no = await refused(running.call(kind, metadata=sent))
                assert (no.code, no.reason) == (grpc.StatusCode.UNAUTHENTICATED, "KEY_INVALID")
            token = (("x-servemark-internal-token", "between us"),)
            assert await running.call(kind, metadata=token) == [Message()]
        stub = health_pb2_grpc.HealthStub(running.channel)
        assert (await stub.Check(health_pb2.HealthCheckRequest())).status


@pytest.mark.parametrize("kind", ["StreamUnary", "StreamStream", "Written"])
async def test_a_caller_who_goes_away_is_never_taken_for_one_who_has_finished(
    running: Running, kind: str
) -> None:
    method: Any = running.channel.stream_stream(f"/{SERVICE}/{kind}")
    for _ in range(30):
        running.kinds.finished.clear()
        live = method()
        await live.write(Message().SerializeToString())
        await asyncio.sleep(0.005)
        live.cancel()
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    assert running.kinds.finished == []


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (asyncpg.AdminShutdownError("bye"), ErrorReason.ERROR_REASON_DEPENDENCY_UNAVAILABLE),
        (asyncpg.DiskFullError("full"), ErrorReason.ERROR_REASON_DEPENDENCY_UNAVAILABLE),
        (ConnectionRefusedError(), ErrorReason.ERROR_REASON_DEPENDENCY_UNAVAILABLE),
        (asyncpg.QueryCanceledError("late"), ErrorReason.ERROR_REASON_DEADLINE_EXCEEDED),
    ],
)
def test_database_errors_mean_try_again_or_out_of_time(error: Exception, reason: int) -> None:
    known = translate_database_error(error)
    assert known is not None
    assert known.reason == reason


def test_other_errors_are_not_the_databases() -> None:
    assert translate_database_error(ValueError()) is None
    assert translate_database_error(asyncpg.UniqueViolationError("twice")) is None
