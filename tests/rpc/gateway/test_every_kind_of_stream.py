"""The forwarder serves all four kinds of methods from nothing but a descriptor."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import grpc
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from servemark.runtime.server import ServiceServer
from services.gateway import admission
from services.gateway.daily_use import DailyUse, Uses
from services.gateway.forward import Forwarder
from services.gateway.key_limits import KeyLimits
from services.gateway.keys import Caller
from services.gateway.limits import LimitMetrics, Limits
from services.gateway.motion import StreamTimes
from services.gateway.upstream import Upstream
from tests.rpc.gateway.stand import refused
from tests.rpc.runtime.fixture_server import KINDS, SERVICE, Message, Running, serving, settings_for

METHODS = {
    "UnaryUnary": (False, False),
    "UnaryStream": (False, True),
    "StreamUnary": (True, False),
    "StreamStream": (True, True),
    "Written": (True, True),
}


def describe() -> None:
    """Puts the fixture's service into the pool, as generated code would."""
    file = FileDescriptorProto(name="tests/v1/kinds.proto", package="tests.v1", syntax="proto3")
    file.dependency.append("servemark/gateway/v1/api_key.proto")
    service = file.service.add(name="Kinds")
    for name, (takes_many, gives_many) in METHODS.items():
        service.method.add(
            name=name,
            input_type=f".{Message.DESCRIPTOR.full_name}",
            output_type=f".{Message.DESCRIPTOR.full_name}",
            client_streaming=takes_many,
            server_streaming=gives_many,
        )
    descriptor_pool.Default().AddSerializedFile(file.SerializeToString())


async def _somebody(method: str, context: Any) -> None:
    admission._caller.set(Caller("a-key", UUID(int=1), frozenset({"READ"})))


async def _still_good(caller: Caller) -> bool:
    return True


async def _nothing(_: Any) -> Uses:
    return {}


async def _forget(_: int) -> None:
    pass


def _limits() -> Limits:
    most = KeyLimits(1e9, 1e9, 10**9, 10**9, 10**9, 10**9)
    return Limits(most, DailyUse(_nothing, _nothing, _forget), LimitMetrics())


async def _ready() -> bool:
    return True


@pytest.fixture
async def through() -> AsyncIterator[Running]:
    """The fixture's server, called through a forwarder."""
    describe()
    async with serving() as behind:
        upstream = Upstream(
            SERVICE, lambda: grpc.aio.insecure_channel(f"127.0.0.1:{behind.server.port}")
        )
        front = ServiceServer(settings_for(), "gateway", (), ready=_ready, admit=_somebody)
        forwarder = Forwarder(
            (upstream,), still_good=_still_good, limits=_limits(), times=StreamTimes(60, 60)
        )
        front.grpc.add_generic_rpc_handlers((forwarder,))
        await front.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{front.port}") as channel:
            yield Running(front, behind.kinds, channel, {})
        await front.stop(0)
        await upstream.close()


async def test_every_kind_answers_and_fails_through_the_gateway_as_without_it(
    through: Running,
) -> None:
    assert set(METHODS) == set(KINDS)
    for kind in KINDS:
        assert await through.call(kind, "hello") == [Message(page_token="hello")]
        no = await refused(through.call(kind, "error"))
        assert (no.code, no.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ("x", "y"))
        no = await refused(through.call_raw(kind, b"\xff"))
        assert no.reason == "MALFORMED_MESSAGE"
        no = await refused(through.call(kind, "wait", timeout=0.3))
        assert no.code is grpc.StatusCode.DEADLINE_EXCEEDED
