"""Rows turned into the batch that says the same: as columns wherever columns can say it."""

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any

from servemark.client.column import presence_bits
from servemark.client.record_fields import METRICS
from servemark.ingest.v1 import result_columns_pb2 as columns_pb2
from servemark.ingest.v1.benchmark_result_pb2 import ResultRow
from servemark.ingest.v1.result_stream_pb2 import ResultBatch

MIN_COLUMN_ROWS = 50
"""Fewer rows are sent as rows: the server gains too little from columns for what they cost here."""

_COUNTS = ("batch_size", "request_count", "failed_request_count")
_UUID_CHARACTERS = 36
_DASHES = (8, 13, 18, 23)
# Farther from 1970 than any timestamp; the server's bound too.
_MAX_SECONDS = 1 << 40
_SKETCHES = ("ttft_sketch", "tpot_sketch")
# Columns where zero and empty mean none, and the fields of a row that they hold.
_WITHOUT_PRESENCE = {
    "percentile_sources": "percentile_source",
    "detailed_metrics_json": "detailed_metrics_json",
    "source_sha256": "source_sha256",
}


def fill_batch(batch: ResultBatch, rows: Sequence[ResultRow], max_bytes: int) -> None:
    """Fills an empty batch with rows, in the encoding that is stored the same and costs less.

    Rows that columns cannot express, such as one whose id is no UUID, are sent as they are: the
    server refuses each with its reason and stores the others. So are those that would take more
    than `max_bytes` as columns.
    """
    if len(rows) >= MIN_COLUMN_ROWS:
        columns = columns_of(rows)
        if columns is not None and columns.ByteSize() <= max_bytes:
            batch.columns.CopyFrom(columns)
            return
    batch.rows.extend(rows)


def columns_of(rows: Sequence[ResultRow]) -> columns_pb2.ResultColumns | None:
    """The rows as columns; None if one of them has something that columns cannot express.

    That is an id other than a UUID in lower case with dashes, a time that is none, and a sketch
    without samples. A time loses what it has below the microsecond; the millisecond is kept.
    """
    ids = _ids(_values(rows, "id"))
    times_us = _times_us(rows)
    if ids is None or times_us is None:
        return None
    columns = columns_pb2.ResultColumns(
        ids=ids, config_indexes=_values(rows, "config_index"), benchmark_times_us=times_us
    )
    for name in _SKETCHES:
        if not _fill_sketches(getattr(columns, f"{name}es"), rows, name):
            return None
    metrics = _values(rows, "metrics")
    for name in METRICS:
        _fill(columns.metrics, name, metrics, name)
    for name in _COUNTS:
        _fill(columns, f"{name}s", rows, name)
    for field, name in _WITHOUT_PRESENCE.items():
        values = _values(rows, name)
        if any(values):
            getattr(columns, field).extend(values)
    return columns


def _values(messages: Sequence[Any], name: str) -> list[Any]:
    return list(map(attrgetter(name), messages))


def _ids(texts: Sequence[str]) -> bytes | None:
    """The ids one after the other, 16 bytes each; None if one is not written as a UUID."""
    joined = "".join(texts)
    if any(len(text) != _UUID_CHARACTERS for text in texts):
        return None
    if any(joined[place::_UUID_CHARACTERS].strip("-") for place in _DASHES):
        return None
    digits = joined.replace("-", "")
    try:
        ids = bytes.fromhex(digits)
    except ValueError:
        return None
    # Also what fromhex overlooks: spaces, and letters that would come back in lower case.
    return ids if ids.hex() == digits else None


def _times_us(rows: Iterable[ResultRow]) -> list[int] | None:
    """Microseconds since 1970; None if one is not an instant."""
    times_us = []
    for row in rows:
        stamp = row.benchmark_time
        seconds, nanos = stamp.seconds, stamp.nanos
        if not (0 <= nanos < 1_000_000_000 and -_MAX_SECONDS < seconds < _MAX_SECONDS):
            return None
        times_us.append(seconds * 1_000_000 + nanos // 1000)
    return times_us


def _fill(parent: Any, field: str, messages: Sequence[Any], name: str) -> None:
    """Fills a column with presence, which is asked for only where a value reads 0."""
    values = _values(messages, name)
    absent = []
    if not all(values):
        absent = [
            row
            for row, value in enumerate(values)
            if not value and not messages[row].HasField(name)
        ]
        if len(absent) == len(values):
            return
    column = getattr(parent, field)
    column.values.extend(values)
    if absent:
        present = bytearray(b"1") * len(values)
        for row in absent:
            present[row] = ord("0")
        column.presence = presence_bits(present)


def _fill_sketches(column: columns_pb2.SketchColumn, rows: Sequence[ResultRow], name: str) -> bool:
    """Fills a column of sketches; False if one has no samples, which columns take for none."""
    present = [row.HasField(name) for row in rows]  # type: ignore[arg-type]
    if not any(present):
        return True
    for row, has_sketch in zip(rows, present, strict=True):
        sketch = getattr(row, name)
        if has_sketch and not sketch.counts and not sketch.zero_count:
            return False
        column.first_buckets.append(sketch.first_bucket)
        column.zero_counts.append(sketch.zero_count)
        column.lengths.append(len(sketch.counts))
        column.counts.extend(sketch.counts)
    return True
