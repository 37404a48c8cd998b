"""A gateway as a process of its own, before services whose answers tests can foresee."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc

from migrations.runner import migrate_async
from servemark.ingest.v1.ingest_service_pb2_grpc import IngestServiceStub
from servemark.runtime.settings import ServiceSettings
from services.gateway.bootstrap import create_key
from services.gateway.settings import GatewaySettings
from tests.rpc.gateway.behind import Behind
from tests.rpc.gateway.stand import PEPPER, Pairs, auth
from tests.support.service_process import service_process
from tests.support.stack import free_block

# Of its own: channels with the same options share a connection, on which 100 calls have room.
_OWN_CONNECTION = [
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
]


@dataclass(frozen=True)
class GatewayPlace:
    """The process, the services behind it, and a key that may do everything."""

    process: "subprocess.Popen[bytes]"
    behind: Behind
    target: str
    key: Pairs
    _channels: AsyncExitStack

    async def channel(self) -> Any:
        """A new connection to the gateway."""
        channel = grpc.aio.insecure_channel(self.target, options=_OWN_CONNECTION)
        return await self._channels.enter_async_context(channel)

    async def ingest(self) -> Any:
        """A stub on a connection of its own."""
        return IngestServiceStub(await self.channel())


@asynccontextmanager
async def gateway_place(dsn: str, **settings: float) -> AsyncIterator[GatewayPlace]:
    """A gateway that serves, until the end of the block; it has to be alive then."""
    await migrate_async(dsn, ["gateway"])
    values: dict[str, Any] = {"database_url": dsn, "key_pepper": PEPPER}
    key = await create_key(GatewaySettings(**values), "faults", ["ADMIN"], None)
    plain = ServiceSettings(database_url=values["database_url"], port_base=0, metrics_port=0)
    behind = Behind(plain)
    await behind.server.start()
    base = free_block()
    address = f"127.0.0.1:{behind.server.port}"
    environment = {
        "SERVEMARK_DATABASE_URL": dsn,
        "SERVEMARK_KEY_PEPPER": PEPPER,
        # Refusals are what happens here all the time.
        "SERVEMARK_LOG_LEVEL": "error",
        **{f"SERVEMARK_{name}_TARGET": address for name in ("CATALOG", "INGEST", "RANKING")},
        **{f"SERVEMARK_{name.upper()}": str(value) for name, value in settings.items()},
    }
    async with AsyncExitStack() as stack:
        stack.push_async_callback(behind.server.stop, 0)
        # In a thread: it waits for its health, which asks the services in this one.
        process = await asyncio.to_thread(
            stack.enter_context, service_process("gateway", base, environment)
        )
        channels = await stack.enter_async_context(AsyncExitStack())
        yield GatewayPlace(process, behind, f"127.0.0.1:{base}", auth(key), channels)
        assert process.poll() is None, "the gateway ended"
