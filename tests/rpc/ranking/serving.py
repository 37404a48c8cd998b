"""Services in this process on free ports: the ranking, and those it reads from."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc

from servemark.ranking.v1.ranking_service_pb2_grpc import RankingServiceStub
from servemark.runtime.ending import end_tasks
from services.ranking import app as ranking_app
from services.ranking.settings import RankingSettings

# Nothing listens there: port 1 is reserved, and a test's process may not bind it.
NOWHERE = "127.0.0.1:1"
# What an answer with a hundred thousand rows needs; clients take 4 MiB by default.
LARGE_ANSWERS = [("grpc.max_receive_message_length", 16 * 1024 * 1024)]


@asynccontextmanager
async def running(app: Any, *, background: bool = True) -> AsyncIterator[str]:
    """Serves an app, with its background loops, until the end of the block; yields its address."""
    await app.server.start()
    tasks = [asyncio.ensure_future(work()) for work in app.background] if background else []
    try:
        yield f"127.0.0.1:{app.server.port}"
    finally:
        await end_tasks(tasks)
        await app.server.stop(0)
        await app.close()


@asynccontextmanager
async def ranking(
    dsn: str,
    *,
    catalog: str = NOWHERE,
    ingest: str = NOWHERE,
    background: bool = False,
    **settings: Any,
) -> AsyncIterator[Any]:
    """A ranking service; yields its stub. Without its loops it changes only when it is called."""
    app = await ranking_app.create(
        RankingSettings(
            database_url=dsn,  # type: ignore[arg-type]
            port_base=0,
            metrics_port=0,
            catalog_target=catalog,
            ingest_target=ingest,
            database_pool_size=8,
            **settings,
        )
    )
    async with (
        running(app, background=background) as address,
        grpc.aio.insecure_channel(address, options=LARGE_ANSWERS) as channel,
    ):
        yield RankingServiceStub(channel)
