"""How many rows a second the write path takes, next to a bare COPY of the same rows.

The client, the service (a process of its own, with a catalog beside it) and PostgreSQL (fsync on)
share the machine. The baseline is psql's `\\copy` in binary format, one transaction, into the same
table, with its indexes and its reference check, empty before every turn. Turns alternate; making
the messages and emptying the table is not timed.
"""

import asyncio
import gc
import os
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import grpc

from servemark.embedded import EmbeddedPostgres
from servemark.ingest.v1.benchmark_result_pb2 import ResultMetrics, ResultRow
from servemark.ingest.v1.ingest_service_pb2_grpc import IngestServiceStub
from servemark.ingest.v1.result_stream_pb2 import (
    AppendResultsRequest,
    ResultBatch,
    StreamHeader,
    StreamResultsRequest,
)
from servemark.runtime.ids import uuid7
from servemark.runtime.probe import is_serving
from services.ingest.copy_format import COPY_COLUMNS
from services.ingest.metrics import HIGHEST, METRIC_COLUMNS
from tests.bench.harness import Bench, Figure, measure
from tests.rpc.ingest.builders import HARDWARE, MODEL, OTHER_HARDWARE, OTHER_MODEL, config, header
from tests.rpc.ingest.serving import AppendCall, seed
from tests.support import servers
from tests.support.stack import free_block

ROWS_A_BATCH = 500
CONFIGS = 200

Send = Callable[[Any, StreamHeader, list[ResultBatch]], Awaitable[None]]


@measure("ingest.append_rows", unit="rows/s")
async def append_rows(bench: Bench) -> Figure:
    """Rows a second through AppendResults, 500 a message, up to 16 messages ahead of the acks."""
    return await _compare(bench, _append)


@measure("ingest.stream_rows", unit="rows/s")
async def stream_rows(bench: Bench) -> Figure:
    """Rows a second through StreamResults, 500 a message."""
    return await _compare(bench, _stream)


@dataclass(frozen=True)
class _Place:
    """A database with the running service."""

    dsn: str
    psql: Path
    stub: Any
    folder: Path


async def _compare(bench: Bench, send: Send) -> Figure:
    count = 20_000 if bench.quick else 100_000
    ours: list[float] = []
    raw: list[float] = []
    async with _place() as place:
        for turn in range(bench.rounds + 1):
            message, batches = _header(), _batches(count)
            _empty(place)
            started = time.perf_counter()
            await send(place.stub, message, batches)
            ours.append(time.perf_counter() - started)
            stored = servers.fetch_value(place.dsn, "SELECT count(*) FROM ingest.benchmark_results")
            if stored != count:
                raise AssertionError(f"{stored} of {count} rows were stored in turn {turn}")
            document = _copy_out(place)
            _empty(place)
            raw.append(_copy_in(place, document))
    # The first turn fills caches and finishes imports.
    value, baseline = count / median(ours[1:]), count / median(raw[1:])
    return Figure(value, baseline, larger_is_better=True, note=f"{count:,} rows, fsync on")


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


def _header() -> StreamHeader:
    return header(
        *(
            config(
                model=(MODEL, OTHER_MODEL)[index % 2],
                hardware=(HARDWARE, OTHER_HARDWARE)[index // 2 % 2],
                input_tokens=1024,
                output_tokens=256,
                concurrency=index + 1,
            )
            for index in range(CONFIGS)
        )
    )


def _batches(count: int) -> list[ResultBatch]:
    """New rows with every figure, a millisecond apart."""
    start = time.time_ns() // 1_000_000 - count
    # No cycles in here, and a collection would land on the timed part.
    gc.collect()
    return [
        ResultBatch(
            sequence=sequence,
            rows=[
                _row(start + first + index, (first + index) % CONFIGS)
                for index in range(min(ROWS_A_BATCH, count - first))
            ],
        )
        for sequence, first in enumerate(range(0, count, ROWS_A_BATCH))
    ]


def _row(milliseconds: int, config_index: int) -> ResultRow:
    figures = {name: random.random() * min(HIGHEST[name], 1000) / 10 for name in METRIC_COLUMNS}
    for metric in ("ttft", "tpot"):
        names = [f"{metric}_p{percentile}_ms" for percentile in (50, 90, 95, 99)]
        figures |= dict(zip(names, sorted(figures[name] for name in names), strict=True))
    row = ResultRow(
        id=str(uuid7(milliseconds)),
        config_index=config_index,
        metrics=ResultMetrics(**figures),
        request_count=1000,
        failed_request_count=0,
    )
    row.benchmark_time.FromMilliseconds(milliseconds)
    return row


def _empty(place: _Place) -> None:
    servers.execute(place.dsn, "TRUNCATE ingest.benchmark_results", "CHECKPOINT")


def _copy_out(place: _Place) -> Path:
    """The stored rows in a file, in the format and order they came."""
    document = place.folder / "rows.copy"
    columns = ", ".join(COPY_COLUMNS)
    query = f"(SELECT {columns} FROM ingest.benchmark_results ORDER BY id)"
    _psql(place, f"\\copy {query} TO '{document}' (FORMAT binary)")
    return document


def _copy_in(place: _Place, document: Path) -> float:
    """Seconds that psql takes to copy the file into the table."""
    command = (
        f"\\copy ingest.benchmark_results ({', '.join(COPY_COLUMNS)}) "
        f"FROM '{document}' (FORMAT binary)"
    )
    started = time.perf_counter()
    _psql(place, command)
    return time.perf_counter() - started


def _psql(place: _Place, command: str) -> None:
    subprocess.run(
        [place.psql, "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "-c", command, place.dsn],
        check=True,
    )


@asynccontextmanager
async def _place() -> AsyncIterator[_Place]:
    with ExitStack() as stack:
        folder = stack.enter_context(servers.temporary_folder())
        server = stack.enter_context(EmbeddedPostgres(folder / "postgres"))
        await asyncio.to_thread(asyncio.run, seed(server.dsn()))
        base = free_block()
        environment = {
            "SERVEMARK_DATABASE_URL": server.dsn(),
            "SERVEMARK_PORT_BASE": str(base),
            "SERVEMARK_METRICS_PORT": "0",
            "SERVEMARK_LOG_LEVEL": "warning",
        }
        for service, port in (("catalog", base + 1), ("ingest", base + 2)):
            stack.enter_context(_process(service, port, environment))
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{base + 2}")
        async with channel:
            yield _Place(server.dsn(), server.bin_dir / "psql", IngestServiceStub(channel), folder)


@contextmanager
def _process(service: str, port: int, environment: dict[str, str]) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-m", f"services.{service}"], env={**os.environ, **environment}
    )
    try:
        deadline = time.monotonic() + 30
        while not is_serving(f"127.0.0.1:{port}", timeout=0.25):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{service} did not start")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)
