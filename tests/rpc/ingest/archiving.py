"""A service with an archive, old days to put into it, and everything that a day holds."""

import asyncio
import os
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from unittest import mock
from uuid import UUID

import asyncpg
import grpc

from servemark.ingest.v1 import storage_pb2 as storage
from servemark.ingest.v1.storage_service_pb2_grpc import StorageServiceStub
from servemark.runtime.ids import uuid7
from services.ingest.metrics import METRIC_COLUMNS
from services.ingest.partitions import DAYS_AHEAD
from tests.rpc.ingest.serving import Served, serving
from tests.support import servers
from tests.support.days import is_hypertable

RETENTION_DAYS = 30
OLD_DAY = datetime.now(UTC).date() - timedelta(days=60)

_MODEL = UUID("0198c1d2-7f00-7abc-8def-0000000000aa")
# Values that a careless road would change: signs of zero, the smallest and the largest doubles,
# many digits, no value beside 0 and the empty text, JSON numbers beyond a double, quotes, line
# ends, every kind of letter, an empty sketch.
_FIGURES = (0.0, -0.0, 5e-324, 2.2250738585072014e-308, 1e300, 1.7976931348623157e308, 0.1 + 0.2)
_DOCUMENTS = (
    None,
    "{}",
    '{"n": 1234567890123456789012345678901234567890.12345678901234567890}',
    '{"text": "quote \\" and \\\\ and \\n and , and ä 漢 🎛"}',
    '{"many": [1.0, 1.00, 1e-400, null, true, "", {"": []}]}',
)
_TEXTS = ("vllm", "", "a,b", 'say "hi"', "zeile\nzeile\r\n", "naïve 漢字 🎛", "\\N", "\\.", " x ")
_SKETCHES: tuple[list[int] | None, ...] = (None, [], [-1100, 0, 1], [1100, 2**31 - 1, 0, 7])
_FIGURE_COLUMNS = METRIC_COLUMNS
# The database sums the squares of these for their mean; no valid figure makes that overflow.
_BOUNDED = ("ttft_p50_ms", "accuracy_score", "throughput_tokens_sec")
_OTHER_COLUMNS = (
    "id",
    "config_id",
    "model_id",
    "model_version_id",
    "hardware_config_id",
    "framework_id",
    "stream_id",
    "benchmarked_at",
    "created_at",
    "request_count",
    "failed_request_count",
    "batch_size",
    "sequence_length",
    "input_tokens",
    "output_tokens",
    "workload_type",
    "percentile_source",
    "tool",
    "tool_version",
    "source_sha256",
    "detailed_metrics",
    "ttft_sketch",
    "tpot_sketch",
)
_CONFIG = """
    INSERT INTO ingest.benchmark_configs (
        id, model_id, model_version_id, hardware_config_id, framework_id, workload_type,
        input_tokens, concurrency, request_rate, tensor_parallel, pipeline_parallel, data_parallel,
        expert_parallel, provenance, created_at
    ) VALUES ($1, $2, $1, $1, $1, $3, $4, $5, $6, 1, 0, 0, 0, 'simulated', $7)
"""
_MANY = """
    INSERT INTO ingest.benchmark_results (
        id, config_id, model_id, model_version_id, hardware_config_id, framework_id, stream_id,
        benchmarked_at, ttft_p50_ms, ttft_p90_ms, ttft_p99_ms, tpot_p50_ms, tpot_p90_ms,
        tpot_p99_ms, throughput_tokens_sec, request_count, workload_type, percentile_source, tool,
        tool_version, source_sha256
    )
    SELECT uuidv7(moment - now()), $3, $4, $3, $3, $3, $3, moment, random() * 50, 50 + random(),
        60 + random(), random(), 1 + random(), 2 + random(), random() * 5000, 1000, 'chatbot',
        'measured', 'vllm', '0.11.0', sha256(number::text::bytea)
    FROM (
        SELECT number, $1::timestamptz + number * interval '0.25 seconds' AS moment
        FROM generate_series(1, $2::int) AS number
    ) AS numbers
"""


@dataclass(frozen=True)
class Archiving:
    """A service with an archive: its stub, and the service behind it."""

    stub: Any
    served: Served
    url: str

    async def maintain(self, *, dry_run: bool = False) -> list[tuple[str, str, int]]:
        """The steps of one maintenance: what, day, rows.

        A day stays until its statistics are calculated, so they are waited for.
        """
        async with asyncio.timeout(10):
            while self.served.value("SELECT count(*) FROM ingest.dirty_days"):
                await asyncio.sleep(0.02)
        request = storage.MaintainStorageRequest(dry_run=dry_run)
        return [step_of(step) async for step in self.stub.MaintainStorage(request)]

    async def restore(self, day: date, **more: Any) -> Any:
        """The answer of a restore of one day."""
        request = storage.RestoreArchivedDaysRequest(start_date=str(day), **more)
        (answer,) = [answer async for answer in self.stub.RestoreArchivedDays(request)]
        return answer

    async def verify(self, *, full: bool = False) -> dict[str, str]:
        """What is wrong with each archived day."""
        request = storage.VerifyArchivedDaysRequest(full=full)
        return {item.day: item.problem async for item in self.stub.VerifyArchivedDays(request)}

    async def listed(self, **more: Any) -> list[storage.ArchivedDay]:
        """The first page of archived days."""
        request = storage.ListArchivedDaysRequest(**more)
        return list((await self.stub.ListArchivedDays(request)).archived_days)


def step_of(step: storage.MaintainStorageResponse) -> tuple[str, str, int]:
    """A step as tests compare it."""
    name = storage.MaintenanceStep.Name(step.step).removeprefix("MAINTENANCE_STEP_")
    return name, step.day, step.row_count


def gone(day: date, count: int) -> list[tuple[str, str, int]]:
    """The steps of a day that goes."""
    return [
        ("ARCHIVING", str(day), 0),
        ("ARCHIVED", str(day), count),
        ("DROPPED", str(day), count),
    ]


@asynccontextmanager
async def archiving(dsn: str, url: str, **settings: Any) -> AsyncIterator[Archiving]:
    """A service that keeps days for a month, with an archive, until the end of the block."""
    values: dict[str, Any] = {"archive_url": url, "retention_days": RETENTION_DAYS, **settings}
    async with (
        serving(dsn, **values) as served,
        grpc.aio.insecure_channel(f"127.0.0.1:{served.app.server.port}") as channel,
    ):
        await _until_room_ahead(dsn)
        yield Archiving(StorageServiceStub(channel), served, url)


async def _until_room_ahead(dsn: str) -> None:
    """Returns once the service has made the days ahead, as it does when it starts."""
    if is_hypertable(dsn):
        return
    query = "SELECT count(*) FROM ingest.result_days() WHERE day >= current_date"
    async with asyncio.timeout(10):
        while servers.fetch_value(dsn, query) <= DAYS_AHEAD:
            await asyncio.sleep(0.02)


async def make_room(dsn: str, *days: date) -> None:
    """Makes the tables of days, without results."""
    connection = await asyncpg.connect(dsn)
    try:
        for day in days:
            await connection.fetchval("SELECT ingest.create_result_partition($1)", day)
            if is_hypertable(dsn):
                # A chunk comes with a row, and stays when that goes.
                await connection.execute(_MANY, _midnight(day), 1, _MODEL, _MODEL)
                await connection.execute(
                    "DELETE FROM ingest.benchmark_results WHERE config_id = $1", _MODEL
                )
    finally:
        await connection.close()


async def put_results(dsn: str, day: date, count: int = 40) -> list[UUID]:
    """Stores results of a day with every awkward value there is, of four configurations."""
    await make_room(dsn, day)
    connection = await asyncpg.connect(dsn)
    try:
        configs = [await _put_config(connection, day, index) for index in range(4)]
        # Not in the order of their ids, as results of many senders come.
        rows = [_row(day, index, configs[index % 4]) for index in reversed(range(count))]
        names = [*_OTHER_COLUMNS, *_FIGURE_COLUMNS]
        places = ", ".join(f"${number}" for number in range(1, len(names) + 1))
        await connection.executemany(
            f"INSERT INTO ingest.benchmark_results ({', '.join(names)}) VALUES ({places})", rows
        )
    finally:
        await connection.close()
    return [row[0] for row in rows]


async def put_many(dsn: str, day: date, count: int) -> None:
    """Stores many plausible results of a day, four a second, of one configuration."""
    await make_room(dsn, day)
    connection = await asyncpg.connect(dsn)
    try:
        config = await _put_config(connection, day, 0)
        await connection.execute(_MANY, _midnight(day), count, config, _MODEL)
    finally:
        await connection.close()


async def contents(dsn: str, day: date) -> list[tuple[Any, ...]]:
    """Everything of a day's rows and their configurations, floats by their bits, in order of id."""
    query = """
        SELECT r.*, c.* FROM ingest.benchmark_results AS r
        LEFT JOIN ingest.benchmark_configs AS c ON c.model_id = r.model_id AND c.id = r.config_id
        WHERE r.benchmarked_at >= $1 AND r.benchmarked_at < $2 ORDER BY r.id
    """
    connection = await asyncpg.connect(dsn)
    try:
        start = _midnight(day)
        found = await connection.fetch(query, start, start + timedelta(days=1))
    finally:
        await connection.close()
    return [
        tuple(value.hex() if isinstance(value, float) else value for value in row.values())
        for row in found
    ]


def files(url: str) -> list[Path]:
    """The Parquet files of an archive in a folder, by name."""
    return sorted(Path(url.removeprefix("file://")).rglob("*.parquet"))


@contextmanager
def s3_archive() -> Iterator[str]:
    """An address in a bucket of an S3 server in this process, with credentials for it."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        # Servers of one process share what they hold.
        for method, path in (("POST", "moto-api/reset"), ("PUT", "results")):
            opener.open(urllib.request.Request(f"{endpoint}/{path}", method=method)).close()
        credentials = {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "a-key-for-tests",
            "AWS_SECRET_ACCESS_KEY": "a-secret-for-tests",
        }
        with mock.patch.dict(os.environ, credentials):
            yield "s3://results/some/prefix"
    finally:
        server.stop()


def count_of(dsn: str, day: date) -> int:
    """Rows of a day."""
    start = _midnight(day)
    return int(
        servers.fetch_value(
            dsn,
            "SELECT count(*) FROM ingest.benchmark_results "
            "WHERE benchmarked_at >= $1 AND benchmarked_at < $2",
            start,
            start + timedelta(days=1),
        )
    )


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


async def _put_config(connection: asyncpg.Connection, day: date, index: int) -> UUID:
    identifier = uuid7()
    created = _midnight(day) + timedelta(microseconds=index * 7 + 1)
    await connection.execute(
        _CONFIG,
        identifier,
        _MODEL,
        f"chat, {index}",
        None if index % 2 else 1024,
        None if index > 2 else index + 1,
        None if index < 2 else 0.1 * (index + 1),
        created,
    )
    return identifier


def _row(day: date, index: int, config: UUID) -> tuple[Any, ...]:
    moment = _midnight(day) + timedelta(milliseconds=index * 1001)
    others = (
        uuid7(int(moment.timestamp() * 1000)),
        config,
        _MODEL,
        config,
        config,
        config,
        uuid7(),
        moment,
        moment + timedelta(days=1, microseconds=index),
        None if index % 3 else 0,
        None if index % 2 else 2**62 + index,
        None if index % 5 else index + 1,
        index,
        None,
        2**31 - 1,
        _TEXTS[index % len(_TEXTS)],
        "measured",
        _TEXTS[(index + 1) % len(_TEXTS)],
        _TEXTS[(index + 2) % len(_TEXTS)],
        (None, b"", bytes(range(32)), b"\xff" * 3)[index % 4],
        _DOCUMENTS[index % len(_DOCUMENTS)],
        _SKETCHES[index % len(_SKETCHES)],
        _SKETCHES[(index + 1) % len(_SKETCHES)],
    )
    figures = [
        None if (index + place) % 4 == 3 else _figure(name, index + place)
        for place, name in enumerate(_FIGURE_COLUMNS)
    ]
    return (*others, *figures)


def _figure(name: str, turn: int) -> float:
    figure = _FIGURES[turn % len(_FIGURES)]
    return 1e9 / 3 if name in _BOUNDED and figure > 1e9 else figure
