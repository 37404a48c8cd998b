"""What the caches give: how many reads they answer, and how fast one is that memory answers."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from statistics import median
from typing import Any, Final
from uuid import UUID

import grpc
import numpy as np
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from migrations.runner import migrate_async
from servemark.catalog.v1.catalog_service_pb2_grpc import CatalogServiceStub
from servemark.catalog.v1.model_pb2 import (
    CreateModelRequest,
    GetModelRequest,
    GetModelResponse,
    Model,
)
from servemark.embedded import EmbeddedPostgres, EmbeddedValkey
from servemark.runtime.cache.backlog import outbox_backlog
from servemark.runtime.cache.bumps import Bumps
from servemark.runtime.cache.cache import Cache
from servemark.runtime.cache.metrics import CacheMetrics
from servemark.runtime.database import Database
from servemark.runtime.events.metrics import RelayMetrics
from servemark.runtime.events.relay import OutboxRelay
from servemark.runtime.probe import is_serving
from servemark.runtime.redis_connections import open_cache_redis
from services.catalog.events import catalog_changed, tags_of
from tests.bench.echo import SERVICE
from tests.bench.harness import Bench, Figure, measure
from tests.cache.things import THINGS, World
from tests.support import servers
from tests.support.service_process import service_process
from tests.support.stack import free_block

KEYS: Final = 10_000
READS: Final = 100_000
READS_A_WRITE: Final = 100
READERS: Final = 16
IN_FLIGHT: Final = 64
CALLS: Final = 3_000
"""In each turn."""

Call = Callable[[], Awaitable[Any]]


@measure("cache.hit_ratio_zipf", unit="")
async def hit_ratio_zipf(bench: Bench) -> Figure:
    """The share of reads that no database was asked for, after each key was read once.

    Reads and writes fall on keys by Zipf's law with exponent 1. Baseline: what a cache of unlimited
    size has that hears of each write at once, so that only the first read after it is missed; ours
    may answer a moment longer with what was before, and misses what it cannot be sure of. The note
    says what an empty cache has in its first reads.
    """
    reads = READS // 5 if bench.quick else READS
    with _two_servers() as (dsn, url):
        await migrate_async(dsn, ["catalog"])
        World.prepare(dsn)
        random = np.random.default_rng(1)
        share = 1 / np.arange(1, KEYS + 1)
        keys = random.choice(KEYS, size=2 * reads, p=share / share.sum())
        async with _reader(dsn, url) as (world, cache):
            cold = await _hits(world, cache, keys[:reads])
            await _hits(world, cache, np.arange(KEYS), writes=False)
            began = time.perf_counter()
            warm = await _hits(world, cache, keys[reads:])
            rate = reads / (time.perf_counter() - began)
    note = f"from an empty cache {cold:.3f}; {rate:,.0f} reads/s of {READERS} readers"
    return Figure(warm, _best(keys[reads:]), larger_is_better=True, note=note)


def _best(keys: Any) -> float:
    """The share of hits where each write makes the next read of its key miss, and no other."""
    written: set[int] = set()
    missed = 0
    for place, key in enumerate(keys.tolist()):
        if place % READS_A_WRITE == 0:
            written.add(key)
        if key in written:
            written.discard(key)
            missed += 1
    return 1 - missed / len(keys)


async def _hits(world: World, cache: Cache, keys: Any, *, writes: bool = True) -> float:
    """The share of hits of some readers who read the keys in turn."""
    waiting = iter(enumerate(keys.tolist()))
    hits = 0

    async def read() -> None:
        nonlocal hits
        for place, key in waiting:
            name = str(UUID(int=key))
            if writes and place % READS_A_WRITE == 0:
                async with world.database.transaction() as connection:
                    await world.change(connection, name)
                    await catalog_changed(connection, "things", [UUID(int=key)])
            reply = await cache.get(
                THINGS,
                THINGS.key(name),
                lambda name=name: world.load(name),  # type: ignore[misc]
                tags=(f"catalog:things:{name}",),
            )
            hits += reply.level != "DB"
            # A memory that answers is no reason for the others to wait.
            await asyncio.sleep(0)

    await asyncio.gather(*(read() for _ in range(READERS)))
    return hits / len(keys)


@asynccontextmanager
async def _reader(dsn: str, url: str) -> AsyncIterator[tuple[World, Cache]]:
    """The things, and a cache that hears of their changes."""
    world, apart = World(dsn), Database(dsn, "catalog", pool_size=1)
    redis, carrier = open_cache_redis(url), Redis.from_url(url)
    cache = Cache(redis, outbox_backlog(apart), CacheMetrics(CollectorRegistry()))
    relay = OutboxRelay(
        world.database, carrier, RelayMetrics(CollectorRegistry()), bump=Bumps(carrier, tags_of)
    )
    tasks = [asyncio.ensure_future(work()) for work in (cache.run, relay.run)]
    try:
        yield world, cache
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await cache.close()
        await redis.aclose()
        await carrier.aclose()
        await apart.close()
        await world.database.close()


@measure("read.cached_unary", unit="calls/s")
async def cached_unary(bench: Bench) -> Figure:
    """GetModel of one model that memory has, 64 calls in flight; baseline: an echo.

    Both are processes on the same server stack, and share the machine with the client.
    """
    with _two_servers() as (dsn, url):
        await migrate_async(dsn, ["catalog"])
        base = free_block()
        environment = {"SERVEMARK_DATABASE_URL": dsn, "SERVEMARK_REDIS_URL": url}
        with service_process("catalog", base, environment), _echo_process(base, environment):
            async with (
                grpc.aio.insecure_channel(f"127.0.0.1:{base + 1}") as catalog,
                grpc.aio.insecure_channel(f"127.0.0.1:{base + 3}") as echo,
            ):
                return await _compare(bench, catalog, echo)


async def _compare(bench: Bench, catalog: Any, echo: Any) -> Figure:
    stub: Any = CatalogServiceStub(catalog)
    model = Model(name="acme/model", architecture="llama", parameters=8_000_000_000)
    created = (await stub.CreateModel(CreateModelRequest(model=model))).model
    request = GetModelRequest(id=created.id)
    send = echo.unary_unary(
        f"/{SERVICE}/Echo",
        request_serializer=GetModelRequest.SerializeToString,
        response_deserializer=GetModelRequest.FromString,
    )
    while True:
        call = stub.GetModel(request)
        answer: GetModelResponse = await call
        if "level=L1" in dict(await call.trailing_metadata())["x-servemark-cache"]:
            break
        await asyncio.sleep(0.05)
    if answer.model != created:
        raise AssertionError("another model was answered")
    rates: tuple[list[float], list[float]] = ([], [])
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(bench.rounds + 1):
        for which, ask in enumerate((lambda: stub.GetModel(request), lambda: send(request))):
            taken = await _rush(ask, CALLS // 5 if bench.quick else CALLS)
            # The first turn finishes imports and opens connections.
            if turn:
                rates[which].append(taken[0])
                times[which].extend(taken[1:])
    p99, echo_p99 = (float(np.percentile(seconds, 99)) * 1e3 for seconds in times)
    note = f"p99 {p99:.1f} ms, of the echo {echo_p99:.1f} ms, {IN_FLIGHT} calls in flight"
    return Figure(median(rates[0]), median(rates[1]), larger_is_better=True, note=note)


async def _rush(ask: Call, count: int) -> list[float]:
    """Calls a second, and then the seconds that each of so many calls took."""
    left = iter(range(count))
    taken: list[float] = []

    async def caller() -> None:
        for _ in left:
            began = time.perf_counter()
            await ask()
            taken.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(IN_FLIGHT)))
    return [count / (time.perf_counter() - began), *taken]


@contextmanager
def _two_servers() -> Iterator[tuple[str, str]]:
    """The addresses of a PostgreSQL and a Valkey of this measure's own."""
    with ExitStack() as stack:
        folder = stack.enter_context(servers.temporary_folder())
        postgres = stack.enter_context(EmbeddedPostgres(folder / "postgres"))
        valkey = stack.enter_context(EmbeddedValkey(folder / "valkey"))
        yield postgres.dsn(), valkey.url()


@contextmanager
def _echo_process(base: int, environment: dict[str, str]) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.echo"],
        env={
            **os.environ,
            "SERVEMARK_METRICS_PORT": "0",
            "SERVEMARK_LOG_LEVEL": "warning",
            "SERVEMARK_PORT_BASE": str(base),
            **environment,
        },
    )
    try:
        while not is_serving(f"127.0.0.1:{base + 3}", timeout=0.25):
            if process.poll() is not None:
                raise RuntimeError("the echo did not start")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)
