"""What a spool costs a runner: results added, written to disk and synced, without any server.

`runner.add_spooled` has for a baseline the same results added to a stream that keeps them in
memory. `runner.spool_rows` compares the log that a spool is with what one would take instead: the
same rows put into SQLite in WAL mode, a transaction each, and a checkpoint where the log is synced.
"""

import logging
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from servemark.client.channel import Client, connect
from servemark.client.config import Config
from servemark.client.runner_stream import RunnerStream
from servemark.client.segment import Segment
from servemark.client.spool import Spool
from servemark.client.stream import BATCH_ROWS
from servemark.ingest.v1.benchmark_result_pb2 import ResultMetrics, ResultRow
from servemark.ingest.v1.result_stream_pb2 import StreamHeader
from tests.bench.harness import Bench, Figure, alternate, measure

ROWS: Final = 20_000
# Fewer than what memory holds unacknowledged, so that the baseline never waits.
_NOBODY: Final = "127.0.0.1:9"
_CONFIG: Final = Config("model", "hardware", "vllm", "chatbot")
_FIGURES: Final = {
    "ttft_p50_ms": 40.0,
    "ttft_p90_ms": 50.0,
    "ttft_p99_ms": 70.0,
    "tpot_p50_ms": 8.0,
    "tpot_p90_ms": 9.0,
    "throughput_tokens_sec": 900.0,
}


@contextmanager
def _place() -> Iterator[tuple[Client, Path]]:
    # Nobody answers, and a stream says so each time.
    logging.getLogger("servemark").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder, connect(_NOBODY) as client:
        yield client, Path(folder)


def _add_all(stream: RunnerStream) -> None:
    for _ in range(ROWS):
        stream.add_result(_CONFIG, **_FIGURES)  # type: ignore[arg-type]
    stream.flush()
    stream.abandon()


@measure("runner.add_spooled", unit="rows/s")
def add_spooled(bench: Bench) -> Figure:
    """Results a second that a runner adds, with and without a spool."""
    with _place() as (client, folder):

        def spooled() -> None:
            _add_all(client.stream(tool="bench", provenance="measured", spool=folder))
            # Or the next stream would take them for what a killed runner left.
            for path in Spool(folder).paths():
                path.unlink()

        def in_memory() -> None:
            _add_all(client.stream(tool="bench", provenance="measured"))

        subject, baseline = alternate(spooled, in_memory, bench.rounds)
    return Figure(ROWS / subject, ROWS / baseline, larger_is_better=True, note="no server")


@measure("runner.spool_rows", unit="rows/s")
def spool_rows(bench: Bench) -> Figure:
    """Rows a second that are written so that they outlive the process."""
    row = ResultRow(id="0" * 36, metrics=ResultMetrics(**_FIGURES)).SerializeToString()
    with _place() as (_, folder):

        def log() -> None:
            segment = Segment.create(folder, StreamHeader(stream_id="bench"), "")
            for number in range(1, ROWS + 1):
                segment.add(row)
                if number % BATCH_ROWS == 0:
                    segment.end_batch()
            segment.remove()

        def sqlite() -> None:
            with closing(sqlite3.connect(folder / "rows", isolation_level=None)) as database:
                database.execute("PRAGMA journal_mode=WAL")
                database.execute("PRAGMA synchronous=NORMAL")
                database.execute("CREATE TABLE rows (number INTEGER PRIMARY KEY, row BLOB)")
                for number in range(1, ROWS + 1):
                    database.execute("INSERT INTO rows VALUES (?, ?)", (number, row))
                    if number % BATCH_ROWS == 0:
                        database.execute("PRAGMA wal_checkpoint(FULL)")
            (folder / "rows").unlink()

        subject, baseline = alternate(log, sqlite, bench.rounds)
    return Figure(ROWS / subject, ROWS / baseline, larger_is_better=True, note="against SQLite")
