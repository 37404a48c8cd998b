"""The stream a benchmark runner writes into: results by name, at the full speed of columns."""

import atexit
import hashlib
import json
import logging
import random
import threading
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypedDict, Unpack

from servemark.client import ids
from servemark.client.columns import ColumnBuffer
from servemark.client.config import MAX_CONFIGS, Config
from servemark.client.ledger import StreamError
from servemark.client.linger import FLUSH_SECONDS, Linger
from servemark.client.process import Owner
from servemark.client.record_fields import PERCENTILE_SOURCES, PROVENANCES
from servemark.client.retry import RetryPolicy
from servemark.client.sender import IDLE_TIMEOUT, RECONNECT, BatchSender, StreamSummary
from servemark.client.stream import BATCH_BYTES, BATCH_ROWS, MAX_BATCH_ROWS
from servemark.ingest.v1 import result_stream_pb2 as stream_pb2
from servemark.ingest.v1.latency_sketch_pb2 import LatencySketch
from servemark.type.v1 import provenance_pb2

if TYPE_CHECKING:
    from servemark.client.channel import Client

_MAX_JSON_BYTES = 16 * 1024
_SHA256_BYTES = 32
_log = logging.getLogger(__name__)
_SOURCES = {
    name: provenance_pb2.PercentileSource.Value(f"PERCENTILE_SOURCE_{name.upper()}")
    for name in PERCENTILE_SOURCES
}


class Figures(TypedDict, total=False):
    """What a run measured: see ResultMetrics in the contract. Absent and None: not measured."""

    ttft_p50_ms: float | None
    ttft_p90_ms: float | None
    ttft_p95_ms: float | None
    ttft_p99_ms: float | None
    tpot_p50_ms: float | None
    tpot_p90_ms: float | None
    tpot_p95_ms: float | None
    tpot_p99_ms: float | None
    throughput_tokens_sec: float | None
    rps_sustained: float | None
    accuracy_score: float | None
    gpu_utilization_pct: float | None
    memory_used_gb: float | None


@dataclass
class RunnerSummary:
    """What became of the results: each is stored, a duplicate, or rejected.

    replayed: results sent more than once. rejections: the refused ones, each with its id, a reason
    and a sentence. unresolved: configurations the catalog does not know, and what comes nearest;
    all of their results are among the refused ones. stream_ids: the streams that carried them.
    spooled: with a spool, results that wait there, of which some may be stored already, and
    spool_failure says why; sending them again stores nothing twice.
    """

    stored: int = 0
    duplicates: int = 0
    replayed: int = 0
    rejections: list[stream_pb2.RowRejection] = field(default_factory=list)
    unresolved: dict[Config, str] = field(default_factory=dict)
    stream_ids: list[str] = field(default_factory=list)
    spooled: int = 0
    spool_failure: str = ""

    @property
    def rejected(self) -> int:
        """Results refused."""
        return len(self.rejections)

    def take(self, summary: StreamSummary, configs: Iterable[Config]) -> None:
        """Adds what became of one stream, which had these configurations in its header."""
        self.stored += summary.stored
        self.duplicates += summary.duplicates
        self.replayed += summary.replayed
        self.rejections += summary.rejections
        self.stream_ids.append(summary.stream_id)
        for config, outcome in zip(configs, summary.configs, strict=False):
            if outcome.failures:
                self.unresolved[config] = " ".join(item.detail for item in outcome.failures)


class RunnerStream:
    """Sends results as they are measured, and keeps each until the server says it is durable.

    A batch goes out when it is full, and at the latest `flush_seconds` after its first result. When
    the connection breaks or the server is killed, the stream reconnects and goes on, for as long as
    something is acknowledged within `idle_timeout` seconds; meanwhile results wait in memory, 16
    batches of them, and then `add_result` waits.

    A stream on the wire names its configurations once, when its first batch goes out: those in
    `configs`, and those that results have come with. For one that comes later, the stream is ended
    and a next one opened, which knows them all, up to 1,000. That takes some round trips each time,
    so name beforehand what you know beforehand.

    Several threads may add results. `with` closes it, unless the block raises: then it is abandoned
    with what the server has acknowledged by then. One that is still open when the interpreter ends
    is closed. A forked child cannot use it: ForkedError.
    """

    def __init__(
        self,
        client: "Client",
        *,
        tool: str,
        provenance: str,
        tool_version: str = "",
        configs: Iterable[Config] = (),
        batch_rows: int = BATCH_ROWS,
        flush_seconds: float = FLUSH_SECONDS,
        idle_timeout: float = IDLE_TIMEOUT,
        reconnect: RetryPolicy = RECONNECT,
    ) -> None:
        if provenance not in PROVENANCES:
            raise ValueError(f"provenance is {provenance!r}; give one of {', '.join(PROVENANCES)}")
        if not 1 <= batch_rows <= MAX_BATCH_ROWS:
            raise ValueError(f"batch_rows is {batch_rows}; it must be 1 to {MAX_BATCH_ROWS}")
        self._client = client
        self._owner = Owner()
        self._header = stream_pb2.StreamHeader(
            tool=tool,
            tool_version=tool_version,
            provenance=provenance_pb2.Provenance.Value(f"PROVENANCE_{provenance.upper()}"),
        )
        self._batch_rows = batch_rows
        self._idle_timeout = idle_timeout
        self._reconnect = reconnect
        # Ids are to differ, not to be secret; a generator of our own, because a benchmark may have
        # seeded the common one.
        self._random = random.Random()  # noqa: S311
        self._linger = Linger(flush_seconds, self._flush_waiting)
        # Guards what follows, and keeps batches in the order of their results.
        self._lock = threading.Lock()
        self._buffer = ColumnBuffer()
        self._indexes: dict[Config, int] = {}
        self._sender: BatchSender | None = None
        self._summary = RunnerSummary()
        self._is_closed = False
        self._failure: Exception | None = None
        for config in dict.fromkeys(configs):
            if len(self._indexes) == MAX_CONFIGS:
                raise ValueError(f"configs are more than the {MAX_CONFIGS} that a stream can name")
            self._enter(config)
        atexit.register(self._close_at_exit)

    @property
    def done_rows(self) -> int:
        """Results that are durable or rejected by now."""
        with self._lock:
            ended = self._summary
            now = 0 if self._sender is None else self._sender.done_rows
            return ended.stored + ended.duplicates + ended.rejected + now

    def add_result(
        self,
        config: Config,
        *,
        benchmark_time: datetime | None = None,
        key: str | bytes | None = None,
        batch_size: int | None = None,
        request_count: int | None = None,
        failed_request_count: int | None = None,
        percentile_source: str | None = None,
        detailed_metrics: Mapping[str, Any] | None = None,
        source_sha256: bytes = b"",
        ttft_sketch: LatencySketch | None = None,
        tpot_sketch: LatencySketch | None = None,
        **figures: Unpack[Figures],
    ) -> str:
        """Adds what one run measured, and returns the id it will be stored under.

        benchmark_time: when the run ended, with a zone; now if not given. key: what makes the
        result this one, such as the run's name: the same key and time make the same id, so that
        the result is stored once however often it is added; without a key it is a new one each
        time. The rest as in ResultRow and ResultMetrics; None: not measured.

        Waits while 16 batches are unacknowledged. Raises TypeError, ValueError or OverflowError for
        what cannot be sent, and what ended the stream: ServemarkCallError if the server refused it,
        StreamTimeoutError if it does not answer. Figures the server refuses are in the summary.
        """
        self._owner.check()
        time_us = _time_us(benchmark_time, has_key=key is not None)
        bits = self._random.getrandbits(74) if key is None else _bits(key)
        id_bytes = ids.uuid7_bytes(time_us // 1000, bits)
        source = 0 if percentile_source is None else _source(percentile_source)
        if not isinstance(source_sha256, bytes) or len(source_sha256) not in (0, _SHA256_BYTES):
            raise ValueError(f"source_sha256 is {source_sha256!r:.80}, not {_SHA256_BYTES} bytes")
        details = "" if detailed_metrics is None else _json(detailed_metrics)
        with self._lock:
            if self._is_closed:
                raise StreamError("The stream is closed.")
            if self._failure is not None:
                raise self._failure
            index = self._indexes.get(config)
            if index is None:
                index = self._enter(config)
            self._put(
                id_bytes,
                index,
                time_us,
                figures,  # type: ignore[arg-type]
                batch_size=batch_size,
                request_count=request_count,
                failed_request_count=failed_request_count,
                percentile_source=source,
                detailed_metrics_json=details,
                source_sha256=source_sha256,
                ttft_sketch=ttft_sketch,
                tpot_sketch=tpot_sketch,
            )
            if self._is_full():
                self._flush()
            elif self._waiting() == 1:
                self._linger.start()
        return ids.text(id_bytes)

    def flush(self) -> None:
        """Sends the results added so far, without waiting for the acknowledgement."""
        self._owner.check()
        with self._lock:
            self._flush()

    def close(self) -> RunnerSummary:
        """Sends what is left, waits until all of it is durable, and says what became of it.

        Raises like `add_result`. Closing a closed stream gives the same summary.
        """
        self._owner.check()
        self._forget_exit()
        self._linger.end()
        with self._lock:
            self._is_closed = True
            if self._failure is not None:
                raise self._failure
            self._flush()
            self._end_stream()
            return self._summary

    def abandon(self) -> RunnerSummary:
        """Ends the stream without waiting; what is unacknowledged may or may not be stored."""
        self._owner.check()
        self._forget_exit()
        self._linger.end()
        sender = self._sender
        if sender is not None:
            # Before taking the lock, which a thread that waits for the server may hold.
            sender.abandon()
        with self._lock:
            self._is_closed = True
            self._buffer = ColumnBuffer()
            if self._sender is not None:
                self._take(self._sender.abandon())
            return self._summary

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        else:
            self.abandon()

    def _close_at_exit(self) -> None:
        # A forked child that ends as its parent would has the hook, and not the stream.
        if self._owner.is_here:
            try:
                self.close()
            except Exception as error:
                _log.warning("Results of a stream that was not closed may be lost: %s", error)

    def _forget_exit(self) -> None:
        atexit.unregister(self._close_at_exit)

    # With the lock held.

    def _put(
        self,
        id_bytes: bytes,
        index: int,
        time_us: int,
        figures: Mapping[str, float | None],
        **more: Any,
    ) -> None:
        self._buffer.add(id_bytes, index, time_us, figures, **more)

    def _waiting(self) -> int:
        return len(self._buffer)

    def _is_full(self) -> bool:
        return len(self._buffer) >= self._batch_rows or self._buffer.byte_size > BATCH_BYTES

    def _must_end_to_name(self) -> bool:
        """Whether the header is out, so that a new configuration needs the next stream."""
        return self._sender is not None

    def _name(self, spec: stream_pb2.ConfigSpec) -> None:
        self._header.configs.append(spec)

    def _enter(self, config: Config) -> int:
        """The index of a new configuration, in the next stream where this one's header is full."""
        if not isinstance(config, Config):
            raise TypeError(f"config is {config!r:.60}, not a servemark.client.config.Config")
        spec = config.to_proto()
        if self._must_end_to_name() or len(self._indexes) == MAX_CONFIGS:
            self._flush()
            self._end_stream()
        if len(self._indexes) == MAX_CONFIGS:
            self._indexes.clear()
            del self._header.configs[:]
        self._name(spec)
        index = self._indexes[config] = len(self._indexes)
        return index

    def _flush(self) -> None:
        if not len(self._buffer):
            return
        if self._sender is None:
            self._sender = self._open()
        self._linger.stop()
        buffer, rows = self._buffer, len(self._buffer)
        self._buffer = ColumnBuffer()
        request = stream_pb2.AppendResultsRequest()
        buffer.fill(request.batch.columns)
        self._sender.append(request, rows)

    def _open(self) -> BatchSender:
        header = stream_pb2.StreamHeader()
        header.CopyFrom(self._header)
        header.stream_id = str(uuid.uuid4())
        return BatchSender(
            self._client, header, idle_timeout=self._idle_timeout, reconnect=self._reconnect
        )

    def _end_stream(self) -> None:
        if self._sender is not None:
            self._take(self._sender.close())

    def _take(self, summary: StreamSummary) -> None:
        self._summary.take(summary, self._indexes)
        self._sender = None

    def _flush_waiting(self) -> bool:
        with self._lock:
            try:
                # With 16 batches unacknowledged it is the server that results wait for.
                if self._sender is None or self._sender.has_room():
                    self._flush()
            except Exception as failure:
                # For the thread that adds results.
                self._failure = failure
            return self._failure is None


def _time_us(benchmark_time: datetime | None, *, has_key: bool) -> int:
    if benchmark_time is None:
        if has_key:
            raise ValueError("key needs a benchmark_time: the id is made from both")
        return time.time_ns() // 1000
    return ids.time_us(benchmark_time)


def _bits(key: str | bytes) -> int:
    """The random bits of a result's id."""
    content = key.encode() if isinstance(key, str) else key
    return int.from_bytes(hashlib.sha256(content).digest()[:10], "big")


def _source(name: str) -> int:
    if name not in _SOURCES:
        raise ValueError(f"percentile_source is {name!r}; give one of {', '.join(_SOURCES)}")
    return _SOURCES[name]


def _json(detailed_metrics: Mapping[str, Any]) -> str:
    text = json.dumps(detailed_metrics, separators=(",", ":"))
    if len(text) > _MAX_JSON_BYTES:
        raise ValueError(f"detailed_metrics has {len(text)} bytes; {_MAX_JSON_BYTES} are allowed")
    return text
