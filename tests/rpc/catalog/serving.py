"""A catalog service in this process on a database of its own, and what its failures say."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import asyncpg
import grpc

from migrations.runner import migrate_async
from servemark.catalog.v1.catalog_service_pb2_grpc import CatalogServiceStub
from servemark.runtime.app import App
from servemark.runtime.ending import end_tasks
from services.catalog.app import create
from services.catalog.settings import CatalogSettings
from tests.support import servers

T = TypeVar("T")


@dataclass(frozen=True)
class Served:
    """The service as a client sees it, and its database for looking behind it."""

    stub: Any
    app: App
    dsn: str

    def value(self, query: str, *arguments: object) -> Any:
        """The first value a query finds, as a superuser."""
        return servers.fetch_value(self.dsn, query, *arguments)


@contextmanager
def migrated_template(admin_dsn: str) -> Iterator[str]:
    """The name of a database with an empty catalog, to copy from."""
    with servers.database(admin_dsn) as dsn:
        servers.run_apart(migrate_async(dsn, ["catalog"]))
        yield servers.database_name(dsn)


@asynccontextmanager
async def serving(dsn: str, redis_url: str | None = None, **settings: Any) -> AsyncIterator[Served]:
    """The service on free ports, with its background loops, until the end of the block."""
    app = await create(
        CatalogSettings(
            database_url=dsn,  # type: ignore[arg-type]
            redis_url=redis_url,  # type: ignore[arg-type]
            port_base=0,
            metrics_port=0,
            database_pool_size=8,
            **settings,
        )
    )
    await app.server.start()
    background = [asyncio.ensure_future(work()) for work in app.background]
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{app.server.port}") as channel:
            yield Served(CatalogServiceStub(channel), app, dsn)
    finally:
        await end_tasks(background)
        await app.server.stop(0)
        await app.close()


@asynccontextmanager
async def waits_for(
    dsn: str, statement: str, call: Awaitable[T]
) -> AsyncIterator[asyncio.Future[T]]:
    """Starts `call` while a transaction with `statement` is open, and commits once it waits for it.

    So two changes meet in the order that a race would hide. The block runs after the commit.
    """
    # Two connections: within one transaction, what others wait for is read once and kept.
    connection, watcher = await asyncpg.connect(dsn), await asyncpg.connect(dsn)
    blocked = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    try:
        async with connection.transaction():
            await connection.execute(statement)
            running = asyncio.ensure_future(call)
            async with asyncio.timeout(10):
                while not await watcher.fetchval(blocked):
                    assert not running.done(), "the call did not wait"
                    await asyncio.sleep(0.01)
        yield running
    finally:
        await connection.close()
        await watcher.close()
