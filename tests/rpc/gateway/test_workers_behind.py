"""Where several processes serve behind one port, the gateway gives all of them work."""

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from functools import partial
from typing import Any

import pytest

from servemark.ingest.v1 import result_stream_pb2 as pb
from servemark.runtime.channels import open_channel
from servemark.runtime.settings import ServiceSettings
from services.gateway.grants import INGEST_SERVICE
from services.gateway.upstream import CALLS_PER_CONNECTION, Connection, Upstream
from tests.rpc.gateway.behind import Behind
from tests.rpc.gateway.stand import auth, running
from tests.support.stack import free_block

NOWHERE = "postgresql://nobody@127.0.0.1:1/none"
CURSOR = f"/{INGEST_SERVICE}/GetStreamCursor"


def settings_for(base: int, worker: int | None) -> ServiceSettings:
    return ServiceSettings(
        database_url=NOWHERE,  # type: ignore[arg-type]
        port_base=base,
        metrics_port=0,
        worker=worker,
        shutdown_grace_seconds=0,
    )


@asynccontextmanager
async def worker(base: int, number: int | None) -> AsyncIterator[Behind]:
    """One server of several on the port."""
    behind = Behind(settings_for(base, number))
    await behind.server.start()
    try:
        yield behind
    finally:
        await behind.server.stop(0)


@asynccontextmanager
async def upstream_of(base: int, workers: int) -> AsyncIterator[Upstream]:
    """The gateway's view of the servers on the port."""
    settings = settings_for(base, None)
    upstream = Upstream(
        INGEST_SERVICE, partial(open_channel, settings, "ingest", shared=False), workers
    )
    try:
        yield upstream
    finally:
        await upstream.close()


async def covered(upstream: Upstream, workers: int) -> None:
    """Lets the upstream find every worker: by chance it may take it some rounds."""
    for _ in range(50):
        await upstream.cover_once()
        if len(upstream._connections) == workers:
            return
    raise AssertionError(f"{len(upstream._connections)} connections for {workers} workers")


async def reached(connection: Connection) -> str:
    """The worker that a call on the connection reaches."""
    call = connection.unary(CURSOR)(b"", timeout=5)
    await call
    return str(dict(await call.initial_metadata())["x-servemark-worker"])


async def test_calls_are_spread_evenly_over_the_workers() -> None:
    base = free_block()
    async with worker(base, 1), worker(base, 2), worker(base, 3), upstream_of(base, 3) as upstream:
        await covered(upstream, 3)
        with ExitStack() as open_calls:
            connections = [open_calls.enter_context(upstream.connection()) for _ in range(9)]
            counted = Counter([await reached(one) for one in connections])
            assert counted == {"1": 3, "2": 3, "3": 3}
        # As long as every worker has a connection, no other is opened.
        before = list(upstream._connections)
        await upstream.cover_once()
        assert upstream._connections == before


async def test_the_next_call_goes_to_the_worker_with_the_fewest() -> None:
    base = free_block()
    async with worker(base, 1), worker(base, 2), upstream_of(base, 2) as upstream:
        await covered(upstream, 2)
        with ExitStack() as streams:
            for _ in range(4):
                streams.enter_context(upstream.connection())
            with upstream.connection() as fifth:
                busier = await reached(fifth)
                with upstream.connection() as sixth:
                    assert await reached(sixth) != busier


async def test_a_worker_that_went_away_gets_work_again_when_it_is_back() -> None:
    base = free_block()
    async with worker(base, 1), upstream_of(base, 2) as upstream:
        for _ in range(3):
            async with worker(base, 2):
                await covered(upstream, 2)
            for _ in range(4):
                with upstream.connection() as first, upstream.connection() as second:
                    assert {await reached(first), await reached(second)} == {"1"}
            assert await upstream.serving()
        # What led to the same worker in the end was closed.
        await upstream.cover_once()
        assert len(upstream._connections) == 1


async def test_a_connection_with_calls_is_never_closed() -> None:
    base = free_block()
    async with worker(base, 1), upstream_of(base, 2) as upstream, AsyncExitStack() as second:
        await second.enter_async_context(worker(base, 2))
        await covered(upstream, 2)
        with upstream.connection() as one, upstream.connection() as other:
            await second.aclose()
            assert [await reached(one), await reached(other)] == ["1", "1"]
            assert await upstream.serving()
            await upstream.cover_once()
            assert [await reached(one), await reached(other)] == ["1", "1"]


async def test_a_worker_that_hangs_is_the_last_to_get_calls() -> None:
    base = free_block()
    async with worker(base, 1), upstream_of(base, 2) as upstream, AsyncExitStack() as second:
        await second.enter_async_context(worker(base, 2))
        await covered(upstream, 2)
        await second.aclose()
        with socket.socket() as hanging:
            # The kernel takes its connections, and nobody ever answers on them.
            hanging.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            hanging.bind(("127.0.0.1", base + 2))
            hanging.listen(128)
            assert await upstream.serving(timeout=0.3)
            await upstream.cover_once()
            with upstream.connection() as first, upstream.connection() as other:
                assert [await reached(first), await reached(other)] == ["1", "1"]


async def test_a_single_process_has_one_connection_until_it_is_full() -> None:
    base = free_block()
    async with worker(base, None), upstream_of(base, 1) as upstream:
        assert await upstream.serving()
        with ExitStack() as calls:
            first = {
                calls.enter_context(upstream.connection()) for _ in range(CALLS_PER_CONNECTION)
            }
            assert len(first) == 1
            assert calls.enter_context(upstream.connection()) not in first


async def test_nothing_is_tried_while_nobody_says_which_worker_it_is() -> None:
    base = free_block()
    async with upstream_of(base, 2) as upstream:
        await upstream.cover_once()
        assert not await upstream.serving(timeout=0.3)
        async with worker(base, None), asyncio.timeout(10):
            while not await upstream.serving():
                await asyncio.sleep(0.05)
            await upstream.cover_once()
        assert len(upstream._connections) == 1


@pytest.mark.parametrize("workers", [2, 4])
async def test_streams_through_the_gateway_reach_every_worker(
    gateway_database: str, workers: int
) -> None:
    base = free_block()
    async with AsyncExitStack() as servers:
        for number in range(1, workers + 1):
            await servers.enter_async_context(worker(base, number))
        target = f"127.0.0.1:{base + 2}"
        stand = await servers.enter_async_context(
            running(gateway_database, ingest_workers=workers, ingest_target=target)
        )
        key = auth(await stand.key("INGEST"))
        async with asyncio.timeout(20):
            while set(await open_streams(stand.ingest, key, workers)) != {
                str(number) for number in range(1, workers + 1)
            }:
                await asyncio.sleep(0.05)


async def open_streams(ingest: Any, key: Any, count: int) -> list[str]:
    """The workers that so many streams reach that are open at the same time."""
    calls = [ingest.AppendResults(metadata=key) for _ in range(count)]
    reached_by = []
    for call in calls:
        await call.write(pb.AppendResultsRequest(batch=pb.ResultBatch(sequence=0)))
        await call.read()
        reached_by.append(str(dict(await call.initial_metadata())["x-servemark-worker"]))
    for call in calls:
        await call.done_writing()
        await call.read()
    return reached_by
