"""The gateway says of each service whether it can be called through here, and of itself of all."""

import asyncio

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.gateway.app import SERVICES_BEHIND, create
from services.gateway.grants import ADMIN_SERVICE, INGEST_SERVICE
from tests.rpc.gateway.stand import running, settings_for

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def becomes(channel: grpc.aio.Channel, expected: dict[str, int]) -> None:
    """Waits until health is as expected, as a probe without any key sees it."""
    stub = health_pb2_grpc.HealthStub(channel)
    seen: dict[str, int] = {}
    for _ in range(100):
        seen = {
            name: (await stub.Check(health_pb2.HealthCheckRequest(service=name))).status
            for name in expected
        }
        if seen == expected:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"health is {seen}, not {expected}")


async def test_each_service_follows_its_own_server_and_the_whole_follows_all(
    gateway_database: str,
) -> None:
    names = ("", ADMIN_SERVICE, *SERVICES_BEHIND)
    async with running(gateway_database) as stand:
        await becomes(stand.channel, dict.fromkeys(names, SERVING))
        stand.behind.serving[INGEST_SERVICE] = False
        await becomes(
            stand.channel,
            {**dict.fromkeys(names, SERVING), "": NOT_SERVING, INGEST_SERVICE: NOT_SERVING},
        )
        stand.behind.serving[INGEST_SERVICE] = True
        await becomes(stand.channel, dict.fromkeys(names, SERVING))
        await stand.behind.server.stop(0)
        await becomes(stand.channel, {**dict.fromkeys(names, NOT_SERVING), ADMIN_SERVICE: SERVING})


async def test_without_postgres_nothing_can_be_called(gateway_database: str) -> None:
    async with running(gateway_database) as stand:
        address = f"127.0.0.1:{stand.behind.server.port}"
        without = await create(
            settings_for("postgresql://nobody@127.0.0.1:1/none", ingest_target=address)
        )
        await without.server.start()
        await asyncio.sleep(0.5)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{without.server.port}") as channel:
            await becomes(channel, dict.fromkeys(("", ADMIN_SERVICE, INGEST_SERVICE), NOT_SERVING))
        await without.server.stop(0)
        await without.close()
