"""QueryTimeSeries's messages: what is asked for, and series as parts with every bucket in them."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from servemark.ingest.v1.time_series_pb2 import (
    PooledLatency,
    QueryTimeSeriesRequest,
    QueryTimeSeriesResponse,
    SeriesKey,
    TimeSeriesPoint,
)
from servemark.runtime.validation import Violations
from services.ingest import convert
from services.ingest.convert_query import columns_from_proto, filter_from_proto
from services.ingest.records import Bucket, Pooled, Series, SeriesQuery

MAX_BUCKETS: Final = 5_000
_MIN_SECONDS: Final = 60
_MAX_SECONDS: Final = 31 * 86_400
_DEFAULT: Final = (
    "ttft_p50_ms",
    "ttft_p90_ms",
    "tpot_p50_ms",
    "tpot_p90_ms",
    "throughput_tokens_sec",
)
# A point with every metric has at most 800 bytes.
_POINTS_A_MESSAGE: Final = 500
_BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)
_COLUMN_OF_KEY: Final = {
    SeriesKey.SERIES_KEY_CONFIG: "config_id",
    SeriesKey.SERIES_KEY_MODEL: "model_id",
    SeriesKey.SERIES_KEY_HARDWARE: "hardware_config_id",
    SeriesKey.SERIES_KEY_FRAMEWORK: "framework_id",
}


def query_from_proto(check: Violations, message: QueryTimeSeriesRequest) -> SeriesQuery:
    """What is asked for; wrong fields are noted in `check`, and it means nothing then."""
    wanted = filter_from_proto(check, message.filter)
    columns = columns_from_proto(check, message.metrics) if message.metrics else _DEFAULT
    check.enum("series_key", message.series_key, SeriesKey.values())
    seconds = _bucket_seconds(check, message)
    first = count = 0
    start, end = wanted.start_time, wanted.end_time
    for name, moment in (("start_time", start), ("end_time", end)):
        if not message.filter.benchmark_time.HasField(name):  # type: ignore[arg-type]
            check.add(f"filter.benchmark_time.{name}", "is required for a time series")
        elif moment is not None and moment < _BEGINNING:
            check.add(f"filter.benchmark_time.{name}", "is before 1970, when no run can have ended")
    if start is not None and end is not None and start >= _BEGINNING:
        if end <= start:
            check.add("filter.benchmark_time.end_time", "has to come after start_time")
        elif seconds:
            first, count = _buckets(start, end, seconds)
            if count > MAX_BUCKETS:
                check.add(
                    "bucket",
                    f"cuts the range into {count:,} buckets; at most {MAX_BUCKETS:,} are allowed. "
                    "Take longer buckets, or ask for a part of the range at a time",
                )
    return SeriesQuery(
        wanted=wanted,
        key=_COLUMN_OF_KEY.get(message.series_key, ""),
        columns=columns,
        seconds=seconds,
        first=first,
        count=count,
    )


def _bucket_seconds(check: Violations, message: QueryTimeSeriesRequest) -> int:
    """The bucket's length; 0 where it is wrong."""
    bucket = message.bucket
    if not message.HasField("bucket"):
        check.add("bucket", "is required")
    elif bucket.nanos or not _MIN_SECONDS <= bucket.seconds <= _MAX_SECONDS:
        check.add("bucket", "has to be whole seconds, from 1 minute to 31 days")
    else:
        return bucket.seconds
    return 0


def _buckets(start: datetime, end: datetime, seconds: int) -> tuple[int, int]:
    """Where the first bucket that the range touches begins, and how many there are."""
    first = int((start - _BEGINNING).total_seconds() // seconds) * seconds
    span = (end - _BEGINNING).total_seconds() - first
    return first, int(-(-span // seconds))


def series_to_proto(query: SeriesQuery, series: Series) -> Iterator[QueryTimeSeriesResponse]:
    """The series in one message or more."""
    known = {int(bucket.starts_at.timestamp()): bucket for bucket in series.buckets}
    for start in range(0, query.count, _POINTS_A_MESSAGE):
        message = QueryTimeSeriesResponse(series_id=str(series.key))
        if start == 0 and series.config is not None:
            message.config.CopyFrom(convert.config_to_proto(series.config))
        for place in range(start, min(start + _POINTS_A_MESSAGE, query.count)):
            seconds = query.first + place * query.seconds
            point = message.points.add(start_time=Timestamp(seconds=seconds))
            if seconds in known:
                _fill(point, known[seconds])
        yield message


def _fill(point: TimeSeriesPoint, bucket: Bucket) -> None:
    point.run_count = bucket.run_count
    point.metrics.extend(convert.metric_to_proto(metric) for metric in bucket.metrics)
    for field, pooled in ((point.ttft, bucket.ttft), (point.tpot, bucket.tpot)):
        if pooled is not None:
            field.CopyFrom(_pooled_to_proto(pooled))


def _pooled_to_proto(pooled: Pooled) -> PooledLatency:
    return PooledLatency(
        p50_ms=pooled.p50,
        p90_ms=pooled.p90,
        p95_ms=pooled.p95,
        p99_ms=pooled.p99,
        sample_count=pooled.sample_count,
    )
