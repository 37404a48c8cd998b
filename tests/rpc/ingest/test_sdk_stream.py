"""What the SDK sends is stored the same whichever way it goes, and in time."""

import asyncio
import hashlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from servemark.client import encode, ids
from servemark.client.channel import Client, connect
from servemark.client.config import Config
from servemark.client.errors import ServemarkCallError
from servemark.client.stream import ResultStream
from servemark.ingest.v1.benchmark_result_pb2 import ResultMetrics, ResultRow
from servemark.ingest.v1.latency_sketch_pb2 import LatencySketch
from servemark.ingest.v1.result_stream_pb2 import RowRejection
from servemark.type.v1.error_reason_pb2 import ErrorReason
from tests.rpc.ingest.builders import FRAMEWORK, HARDWARE, MODEL, OTHER_MODEL, header, rows
from tests.rpc.ingest.serving import Served
from tests.support import servers
from tests.support.stack import wait_until

CONFIGS = [
    Config(MODEL, HARDWARE, FRAMEWORK, "chatbot", concurrency=16),
    Config(OTHER_MODEL, HARDWARE, FRAMEWORK, "chatbot", input_tokens=512, request_rate=1.5, tp=4),
    Config(MODEL, "nowhere/at-all", FRAMEWORK, "chatbot"),
]
# All that is stored of a result, but for the stream it came with and when.
STORED = """
    SELECT count(*) || ' ' || md5(string_agg(content::text, '' ORDER BY id))
    FROM (
        SELECT id, to_jsonb(result) - 'stream_id' - 'created_at' AS content
        FROM ingest.benchmark_results AS result
    ) AS results
"""


@dataclass
class Result:
    """A result as a runner has it; `key` makes its id."""

    key: str
    time: datetime
    config: int = 0
    figures: dict[str, float] = field(default_factory=lambda: {"ttft_p50_ms": 40.0})
    more: dict[str, Any] = field(default_factory=dict)

    def row(self) -> ResultRow:
        """The result as a message."""
        digest = hashlib.sha256(self.key.encode()).digest()
        row = ResultRow(
            id=str(ids.result_id(self.time, digest)),
            config_index=self.config,
            metrics=ResultMetrics(**self.figures),
            **self.more,
        )
        row.benchmark_time.FromDatetime(self.time)
        return row


def results(count: int) -> Iterator[Result]:
    """Results that have each thing that a result may have, or not; some are refused."""
    start = datetime.now(UTC) - timedelta(days=2)
    sketch = LatencySketch(first_bucket=-3, counts=[1, 0, 7], zero_count=2)
    kinds: list[Callable[[Result], object]] = [
        lambda result: None,
        lambda result: result.figures.update(ttft_p90_ms=41.5, accuracy_score=0.0),
        lambda result: result.figures.clear(),
        lambda result: result.figures.update(ttft_p90_ms=39.0),
        lambda result: result.figures.update(throughput_tokens_sec=math.nan),
        lambda result: result.more.update(batch_size=8, request_count=0),
        lambda result: result.more.update(failed_request_count=-1),
        lambda result: result.more.update(percentile_source=2, source_sha256=bytes(range(32))),
        lambda result: result.more.update(detailed_metrics_json='{"x": [1, "é"]}'),
        lambda result: result.more.update(ttft_sketch=sketch),
        lambda result: result.more.update(tpot_sketch=LatencySketch(first_bucket=9, counts=[-1])),
        lambda result: setattr(result, "config", 2),
        lambda result: setattr(result, "time", result.time + timedelta(days=4)),
    ]
    for index in range(count):
        result = Result(f"run {index}", start + timedelta(seconds=index), index % 2)
        result.figures["tpot_p50_ms"] = index / 7
        kinds[index % len(kinds)](result)
        yield result


def send_rows(client: Client, given: list[Result]) -> list[RowRejection]:
    specs = [config.to_proto() for config in CONFIGS]
    stream = ResultStream(client, header(*specs, stream_id=""), batch_rows=100)
    for result in given:
        stream.add(result.row())
    return list(stream.close().rejections)


def send_by_runner(
    client: Client, given: list[Result], spool: Path | None = None
) -> list[RowRejection]:
    stream = client.stream(
        tool="vllm", tool_version="0.11.0", provenance="measured", configs=CONFIGS, spool=spool
    )
    sources = {2: "computed_from_samples", None: None}
    for number, result in enumerate(given, start=1):
        more = dict(result.more)
        if more.pop("detailed_metrics_json", None):
            more["detailed_metrics"] = {"x": [1, "é"]}
        stream.add_result(
            CONFIGS[result.config],
            benchmark_time=result.time,
            key=result.key,
            percentile_source=sources[more.pop("percentile_source", None)],
            **more,
            **result.figures,  # type: ignore[arg-type]
        )
        if number % 100 == 0:
            stream.flush()
    return stream.close().rejections


async def test_rows_columns_a_runner_and_its_spool_store_the_same(
    ingest: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given = list(results(260))

    def send_by_spool(client: Client, given: list[Result]) -> list[RowRejection]:
        return send_by_runner(client, given, tmp_path)

    def send(how: Callable[[Client, list[Result]], list[RowRejection]]) -> tuple[str, Any]:
        servers.execute(ingest.dsn, "TRUNCATE ingest.benchmark_results")
        with connect(f"127.0.0.1:{ingest.app.server.port}") as client:
            refused = how(client, given)
        return ingest.value(STORED), refused

    by_columns = await asyncio.to_thread(send, send_rows)
    by_runner = await asyncio.to_thread(send, send_by_runner)
    by_spool = await asyncio.to_thread(send, send_by_spool)
    monkeypatch.setattr(encode, "MIN_COLUMN_ROWS", 1_000_000)
    by_rows = await asyncio.to_thread(send, send_rows)
    assert by_columns == by_rows
    assert by_runner == by_rows
    assert by_spool == by_rows
    stored, refused = by_rows
    assert stored.startswith("120 ")
    assert len(refused) == 140
    assert {ErrorReason.Name(one.reason).removeprefix("ERROR_REASON_") for one in refused} == {
        "CONFIG_UNRESOLVED",
        "TIME_IN_FUTURE",
        "METRIC_OUT_OF_RANGE",
        "NO_METRICS",
        "PERCENTILES_NOT_MONOTONE",
        "SKETCH_INVALID",
    }


async def test_an_id_that_is_none_is_refused_with_its_reason_and_the_rest_is_stored(
    ingest: Served,
) -> None:
    given = rows(200)
    given[150].id = "The second run"

    def send() -> Any:
        with connect(f"127.0.0.1:{ingest.app.server.port}") as client:
            stream = ResultStream(client, header(stream_id=""), batch_rows=100)
            for row in given:
                stream.add(row)
            return stream.close()

    summary = await asyncio.to_thread(send)
    assert (summary.stored, summary.rejected) == (199, 1)
    (refused,) = summary.rejections
    assert (refused.sequence, refused.row, refused.result_id) == (1, 50, "The second run")
    assert refused.reason == ErrorReason.ERROR_REASON_ID_TIME_MISMATCH
    assert ingest.stored() == 199


async def test_results_that_come_slowly_are_stored_without_waiting_for_more(
    ingest: Served,
) -> None:
    def send() -> None:
        with connect(f"127.0.0.1:{ingest.app.server.port}") as client:
            results = client.stream(tool="mine", provenance="measured", flush_seconds=0.05)
            stream = ResultStream(client, header(stream_id=""), flush_seconds=0.05)
            for count, row in enumerate(rows(3), start=1):
                results.add_result(CONFIGS[0], ttft_p50_ms=1.0)
                stream.add(row)
                wait_until(lambda n=count: ingest.stored() == 2 * n, 20)  # type: ignore[misc]
            assert results.close().stored == stream.close().stored == 3

    await asyncio.to_thread(send)


async def test_large_results_go_out_in_messages_that_the_server_takes(ingest: Served) -> None:
    text = "x" * 16_000
    sketch = LatencySketch(first_bucket=-1100, counts=[2**31 - 1] * 2201)

    def send() -> tuple[int, int]:
        with connect(f"127.0.0.1:{ingest.app.server.port}") as client:
            results = client.stream(tool="mine", provenance="measured")
            stream = ResultStream(client, header(stream_id=""))
            for row in rows(600):
                results.add_result(
                    CONFIGS[0], ttft_p50_ms=1.0, detailed_metrics={"x": text}, ttft_sketch=sketch
                )
                row.detailed_metrics_json = f'{{"x": "{text}"}}'
                row.ttft_sketch.CopyFrom(sketch)
                stream.add(row)
            return results.close().stored, stream.close().stored

    assert await asyncio.to_thread(send) == (600, 600)


async def test_a_stream_the_server_refuses_is_told_to_who_adds_results(ingest: Served) -> None:
    def send() -> None:
        with connect(f"127.0.0.1:{ingest.app.server.port}") as client:
            results = client.stream(tool="", provenance="measured", flush_seconds=0.02)
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline:
                results.add_result(CONFIGS[0], ttft_p50_ms=1.0)
                time.sleep(0.02)

    with pytest.raises(ServemarkCallError, match="tool") as refused:
        await asyncio.to_thread(send)
    assert refused.value.reason == "INVALID_FIELD"
