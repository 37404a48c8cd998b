"""Services in this process on free ports: the ranking, and those it reads from."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2

from servemark.ranking.v1.ranking_service_pb2_grpc import RankingServiceStub
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
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
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


@dataclass(frozen=True)
class Failure:
    """What a refused call says: the status code and the details a program reads."""

    code: grpc.StatusCode
    reason: str
    metadata: dict[str, str]
    fields: dict[str, str]
    retry_seconds: float | None
    message: str


async def failure(call: Awaitable[Any]) -> Failure:
    """The failure of a call that must be refused."""
    try:
        answer = await call
    except grpc.aio.AioRpcError as error:
        return _read(error)
    raise AssertionError(f"the call was answered: {answer}")


def _read(error: grpc.aio.AioRpcError) -> Failure:
    trailing = dict(error.trailing_metadata() or ())
    status = status_pb2.Status.FromString(trailing["grpc-status-details-bin"])
    info = error_details_pb2.ErrorInfo()
    bad = error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    has_retry = False
    for detail in status.details:
        detail.Unpack(info)
        detail.Unpack(bad)
        has_retry |= detail.Unpack(retry)
    return Failure(
        error.code(),
        info.reason,
        dict(info.metadata),
        {violation.field: violation.description for violation in bad.field_violations},
        retry.retry_delay.ToMilliseconds() / 1000 if has_retry else None,
        status.message,
    )
