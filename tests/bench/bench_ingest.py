"""How many rows a second the write path takes, next to a bare COPY of the same rows.

The client, the service (a process of its own, with a catalog beside it) and PostgreSQL (fsync on)
share the machine. The baseline is psql's `\\copy` in binary format, one connection and one
transaction, of the very rows that were stored, into the same table with all its indexes, empty
before every turn; it checks no references and marks nothing. Turns alternate; making the messages
and emptying the table is not timed.
"""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from statistics import median
from typing import Any

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub

from servemark.ingest.v1.ingest_service_pb2_grpc import IngestServiceStub
from servemark.ingest.v1.result_stream_pb2 import (
    AppendResultsRequest,
    ResultBatch,
    StreamHeader,
    StreamResultsRequest,
)
from tests.bench.harness import Bench, Figure, measure
from tests.bench.ingest_place import Place, place
from tests.bench.made_rows import MadeRows
from tests.rpc.ingest.serving import AppendCall

COLUMN_ROWS = 10_000
MESSAGE_ROWS = 2_500

Send = Callable[[Any, StreamHeader, list[ResultBatch]], Awaitable[None]]


@measure("ingest.append_columns", unit="rows/s")
async def append_columns(bench: Bench) -> Figure:
    """Rows a second through AppendResults in columns, up to 16 batches ahead of the acks."""
    return await _compare(bench, _append, columns=True)


@measure("ingest.stream_columns", unit="rows/s")
async def stream_columns(bench: Bench) -> Figure:
    """Rows a second through StreamResults in columns."""
    return await _compare(bench, _stream, columns=True)


@measure("ingest.append_rows", unit="rows/s")
async def append_rows(bench: Bench) -> Figure:
    """Rows a second through AppendResults, one message a row."""
    return await _compare(bench, _append, columns=False)


@measure("ingest.stream_rows", unit="rows/s")
async def stream_rows(bench: Bench) -> Figure:
    """Rows a second through StreamResults, one message a row."""
    return await _compare(bench, _stream, columns=False)


@measure("ingest.repeated_columns", unit="rows/s")
async def repeated_columns(bench: Bench) -> Figure:
    """Rows a second where all are stored already, next to the rate of the same rows when new."""
    count = _row_count(bench)
    again: list[float] = []
    fresh: list[float] = []
    async with place() as here, grpc.aio.insecure_channel(here.target) as channel:
        stub = IngestServiceStub(channel)
        for _ in range(bench.rounds + 1):
            rows = MadeRows(count)
            batches = rows.as_columns(COLUMN_ROWS)
            here.empty()
            fresh.append(await _timed(_stream, stub, rows.header(), batches))
            await here.settle()
            again.append(await _timed(_stream, stub, rows.header(), batches))
            _expect(here, count)
    value, baseline = count / median(again[1:]), count / median(fresh[1:])
    return Figure(value, baseline, larger_is_better=True, note=f"{count:,} rows; new ones first")


@measure("ingest.two_streams", unit="rows/s")
async def two_streams(bench: Bench) -> Figure:
    """Rows a second of two streams of columns into two workers, next to one raw COPY of them all.

    Each stream has as many rows as that of the other measures. Two raw COPYs at once say what the
    machine gives of its two processors.
    """
    count = 2 * _row_count(bench)
    ours: list[float] = []
    raw: list[float] = []
    two_raw: list[float] = []
    async with place(SERVEMARK_INGEST_WORKERS="2") as here, AsyncExitStack() as stack:
        stubs = await _stubs_of_both_workers(here, stack)
        for _ in range(bench.rounds + 1):
            now_ms = time.time_ns() // 1_000_000
            halves = [MadeRows(count // 2, ending_ms=now_ms - 1_000_000 * n) for n in range(2)]
            streams = [(half.header(), half.as_columns(COLUMN_ROWS)) for half in halves]
            here.empty()
            gc.collect()
            started = time.perf_counter()
            await asyncio.gather(
                *(_stream(stub, *one) for stub, one in zip(stubs, streams, strict=True))
            )
            ours.append(time.perf_counter() - started)
            _expect(here, count)
            whole, halves_out = here.copy_out(), here.copy_out(2)
            await here.settle()
            raw.append(here.copy_in(*whole))
            two_raw.append(here.copy_in(*halves_out))
    value, baseline = count / median(ours[1:]), count / median(raw[1:])
    most = median(raw[1:]) / median(two_raw[1:])
    note = f"{count:,} rows in all, fsync on; two raw COPYs of halves at once: {most:.2f}"
    return Figure(value, baseline, larger_is_better=True, note=note)


async def _stubs_of_both_workers(here: Place, stack: AsyncExitStack) -> list[IngestServiceStub]:
    """A stub on a connection to each worker: the kernel deals connections out as it likes."""
    found: dict[str, IngestServiceStub] = {}
    for number in range(64):
        # Channels with the same options would share one connection.
        options = [("grpc.use_local_subchannel_pool", 1), ("servemark.bench", number)]
        channel = grpc.aio.insecure_channel(here.target, options=options)
        await stack.enter_async_context(channel)
        call = HealthStub(channel).Check(HealthCheckRequest())
        head = dict(await call.initial_metadata())
        found.setdefault(str(head["x-servemark-worker"]), IngestServiceStub(channel))
        if len(found) == 2:
            return list(found.values())
        # The second worker may still be starting.
        await asyncio.sleep(0.1)
    raise RuntimeError("64 connections in a row went to one worker")


def _row_count(bench: Bench) -> int:
    return 100_000 if bench.quick else 300_000


async def _compare(bench: Bench, send: Send, *, columns: bool) -> Figure:
    count = _row_count(bench)
    ours: list[float] = []
    raw: list[float] = []
    spent = [0.0, 0.0, 0.0]
    async with place() as here, grpc.aio.insecure_channel(here.target) as channel:
        stub = IngestServiceStub(channel)
        for turn in range(bench.rounds + 1):
            rows = MadeRows(count)
            batches = rows.as_columns(COLUMN_ROWS) if columns else rows.as_rows(MESSAGE_ROWS)
            here.empty()
            before = here.cpu_seconds()
            ours.append(await _timed(send, stub, rows.header(), batches))
            middle = here.cpu_seconds()
            _expect(here, count)
            documents = here.copy_out()
            await here.settle()
            between = here.cpu_seconds()
            raw.append(here.copy_in(*documents))
            after = here.cpu_seconds()
            if turn:
                spent[0] += middle[0] - before[0]
                spent[1] += middle[1] - before[1]
                spent[2] += after[1] - between[1]
    # The first turn fills caches and finishes imports.
    value, baseline = count / median(ours[1:]), count / median(raw[1:])
    service, database, bare = (1e6 * seconds / (count * bench.rounds) for seconds in spent)
    note = (
        f"{count:,} rows, fsync on; CPU s a million rows: service {service:.1f}, PostgreSQL "
        f"{database:.1f} (bare COPY {bare:.1f})"
    )
    return Figure(value, baseline, larger_is_better=True, note=note)


def _expect(here: Place, count: int) -> None:
    stored = here.stored()
    if stored != count:
        raise AssertionError(f"{stored} of {count} rows were stored")


async def _timed(send: Send, stub: Any, message: StreamHeader, batches: list[ResultBatch]) -> float:
    # No cycles in here, and a collection would land on the timed part.
    gc.collect()
    started = time.perf_counter()
    await send(stub, message, batches)
    return time.perf_counter() - started


async def _append(stub: Any, message: StreamHeader, batches: list[ResultBatch]) -> None:
    call = AppendCall(stub)
    await call.open(message)

    async def write() -> None:
        for batch in batches:
            await call.call.write(AppendResultsRequest(batch=batch))
        await call.call.done_writing()

    writing = asyncio.create_task(write())
    for _ in batches:
        await call.read()
    await writing


async def _stream(stub: Any, message: StreamHeader, batches: list[ResultBatch]) -> None:
    def requests() -> Iterator[StreamResultsRequest]:
        yield StreamResultsRequest(header=message)
        for batch in batches:
            yield StreamResultsRequest(batch=batch)

    await stub.StreamResults(requests())
