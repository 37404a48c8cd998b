"""Health follows what a process can do, and a stop harms no call that can still end."""

import asyncio
import os
import signal
import sys
import time

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from servemark.runtime.ports import PortTakenError
from servemark.runtime.server import ServiceServer
from tests.rpc.gateway.stand import refused
from tests.rpc.runtime.fixture_server import SERVICE, Message, Running, serving, settings_for

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


def watch(running: Running, service: str = "") -> grpc.aio.UnaryStreamCall[object, object]:
    stub = health_pb2_grpc.HealthStub(running.channel)
    call: grpc.aio.UnaryStreamCall[object, object] = stub.Watch(
        health_pb2.HealthCheckRequest(service=service)
    )
    return call


async def read(call: grpc.aio.UnaryStreamCall[object, object]) -> int:
    answer = await asyncio.wait_for(call.read(), 5)
    assert isinstance(answer, health_pb2.HealthCheckResponse)
    status: int = answer.status
    return status


async def until(call: grpc.aio.UnaryStreamCall[object, object], wanted: int) -> None:
    while await read(call) != wanted:
        pass


async def test_a_watcher_sees_every_change() -> None:
    async with serving() as running:
        whole, one = watch(running), watch(running, SERVICE)
        await until(whole, SERVING)
        await until(one, SERVING)
        running.ready[""] = False
        assert await read(whole) == NOT_SERVING
        running.ready[""] = True
        assert await read(whole) == SERVING
        running.ready[SERVICE] = False
        assert await read(one) == NOT_SERVING


async def test_a_service_that_is_not_here_is_unknown() -> None:
    async with serving() as running:
        assert await read(watch(running, "no.such.Service")) == UNKNOWN
        stub = health_pb2_grpc.HealthStub(running.channel)
        no = await refused(stub.Check(health_pb2.HealthCheckRequest(service="no.such.Service")))
        assert (no.code, no.reason) == (grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND")


async def test_a_readiness_that_fails_or_hangs_is_not_serving() -> None:
    async def fails() -> bool:
        raise RuntimeError("no database")

    server = ServiceServer(settings_for(), "catalog", (SERVICE,), ready=fails)
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        await asyncio.sleep(0.2)
        stub = health_pb2_grpc.HealthStub(channel)
        for name in ("", SERVICE):
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=name))
            assert answer.status == NOT_SERVING
    await server.stop(0)


async def test_a_stop_says_not_serving_first_and_lets_a_call_end() -> None:
    async with serving() as running:
        watcher = watch(running)
        await until(watcher, SERVING)
        call = asyncio.create_task(running.call("UnaryUnary", "wait"))
        await asyncio.wait_for(running.kinds.started.wait(), 5)
        stop = asyncio.create_task(running.server.stop(10))
        assert await read(watcher) == NOT_SERVING
        assert await asyncio.wait_for(watcher.read(), 5) is grpc.aio.EOF
        assert not stop.done()
        assert not call.done()
        running.kinds.release.set()
        assert len(await asyncio.wait_for(call, 5)) == 1
        await asyncio.wait_for(stop, 5)


async def test_watchers_do_not_hold_up_a_stop() -> None:
    async with serving() as running:
        watchers = [watch(running, name) for name in ("", SERVICE, "no.such.Service")]
        for watcher in watchers:
            await read(watcher)
        begun = time.monotonic()
        await running.server.stop(10)
        assert time.monotonic() - begun < 2


async def test_a_call_that_does_not_end_is_ended_after_the_grace() -> None:
    async with serving() as running:
        call = asyncio.create_task(running.call("UnaryUnary", "wait"))
        await asyncio.wait_for(running.kinds.started.wait(), 5)
        await asyncio.wait_for(running.server.stop(0.2), 5)
        no = await refused(call)
        assert no.code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


async def test_a_port_in_use_is_said_in_a_sentence() -> None:
    async def ready() -> bool:
        return True

    async with serving() as running:
        # The catalog's port is the base and one.
        other = ServiceServer(
            settings_for(port_base=running.server.port - 1), "catalog", (SERVICE,), ready=ready
        )
        with pytest.raises(PortTakenError, match="SERVEMARK_PORT_BASE"):
            await other.start()


_PROGRAM = """
import asyncio, sys
from servemark.runtime.telemetry import configure_logging
from tests.rpc.runtime.fixture_server import Kinds, SERVICE, settings_for
from servemark.runtime.server import ServiceServer

async def main():
    async def ready(): return True
    configure_logging("info", "json", "catalog")
    server = ServiceServer(settings_for(), "catalog", (SERVICE,), ready=ready)
    kinds = Kinds()
    server.grpc.add_generic_rpc_handlers((kinds.handlers(),))
    turns = 0
    async def failing():
        nonlocal turns
        turns += 1
        if turns == 1:
            raise RuntimeError("once")
        print("again", flush=True)
        kinds.release.set()
        await asyncio.sleep(3600)
    async def tell():
        while not server.port:
            await asyncio.sleep(0.01)
        print(server.port, flush=True)
        await kinds.started.wait()
        print("started", flush=True)
    await server.run(tell, failing)

asyncio.run(main())
"""


async def test_sigterm_lets_the_call_end_then_the_process_with_0() -> None:
    """Also: background work that fails is begun again and takes nothing down."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        _PROGRAM,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    port = int(await asyncio.wait_for(process.stdout.readline(), 30))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        method = channel.unary_unary(
            f"/{SERVICE}/UnaryUnary",
            request_serializer=Message.SerializeToString,
            response_deserializer=Message.FromString,
        )
        call = method(Message(page_token="wait"))
        lines = {(await process.stdout.readline()).strip() for _ in range(1)}
        process.send_signal(signal.SIGTERM)
        assert (await asyncio.wait_for(call, 20)).page_token == "wait"
        lines |= {(await process.stdout.readline()).strip() for _ in range(1)}
    _, log = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 0
    assert lines == {b"started", b"again"}
    assert b"background work failed" in log
