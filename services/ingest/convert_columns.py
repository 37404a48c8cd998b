"""A batch's message turned into columns, and a row of it back into a message."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np

from servemark.ingest.v1.benchmark_result_pb2 import ResultMetrics, ResultRow
from servemark.ingest.v1.latency_sketch_pb2 import LatencySketch
from servemark.ingest.v1.result_columns_pb2 import ResultColumns, SketchColumn
from servemark.ingest.v1.result_stream_pb2 import ResultBatch
from servemark.runtime.validation import Violations
from services.ingest.columns import COUNT_COLUMNS, SKETCH_COLUMNS, Columns, Sketches
from services.ingest.convert_rows import columns_from_rows
from services.ingest.metrics import METRIC_COLUMNS

ID_BYTES: Final = 16
# The columns of whole numbers, in the order of COUNT_COLUMNS.
_COUNT_FIELDS: Final = ("request_counts", "failed_request_counts", "batch_sizes")
_SKETCH_FIELDS: Final = ("ttft_sketches", "tpot_sketches")


def row_count(batch: ResultBatch) -> int:
    """How many rows the batch has, in either encoding."""
    return len(batch.columns.ids) // ID_BYTES if batch.HasField("columns") else len(batch.rows)


# What a row of columns may take up besides its texts and sketches: every number there is.
_NUMBERS_BYTES: Final = ID_BYTES + 9 * (len(METRIC_COLUMNS) + len(COUNT_COLUMNS) + 8)


def message_size(batch: ResultBatch) -> int:
    """About the bytes of a batch's message, rather too many than too few.

    Columns are not measured but estimated: to ask a message for its size is to encode it.
    """
    if not batch.HasField("columns"):
        return batch.ByteSize()
    columns = batch.columns
    texts = sum(map(len, columns.detailed_metrics_json)) + sum(map(len, columns.source_sha256))
    sketches = len(columns.ttft_sketches.counts) + len(columns.tpot_sketches.counts)
    return _NUMBERS_BYTES * row_count(batch) + 4 * texts + 8 * sketches


def columns_of(batch: ResultBatch, start: int, stop: int) -> Columns:
    """Rows `start` to `stop` of a batch of rows, or all of a batch of columns.

    Raises INVALID_FIELD that names every column whose length does not fit.
    """
    if batch.HasField("columns"):
        return columns_from_proto(batch.columns)
    return columns_from_rows(batch.rows[start:stop])


def columns_from_proto(message: ResultColumns) -> Columns:
    """The columns. Raises INVALID_FIELD that names every one whose length does not fit."""
    count = len(message.ids) // ID_BYTES
    check = Violations("batch.columns.")
    if len(message.ids) % ID_BYTES:
        check.add("ids", f"has {len(message.ids)} bytes, which is not a multiple of {ID_BYTES}")
    read = _Reader(message, count, check)
    figures, has_figure = read.optional(_metric_columns(message), np.float64)
    counts, has_count = read.optional(
        [(name, getattr(message, name), message.HasField(name)) for name in _COUNT_FIELDS],
        np.int64,
    )
    times_us = read.numbers("benchmark_times_us", required=True)
    columns = Columns(
        ids=np.frombuffer(message.ids, np.uint8, count * ID_BYTES).reshape(count, ID_BYTES),
        is_uuid=np.ones(count, np.bool_),
        config_indexes=read.numbers("config_indexes", required=True),
        times_ms=times_us // 1000,
        is_time=np.ones(count, np.bool_),
        figures=figures,
        has_figure=has_figure,
        counts=counts,
        has_count=has_count,
        percentile_sources=read.numbers("percentile_sources"),
        details=read.listed("detailed_metrics_json"),
        digests=read.listed("source_sha256"),
        sketches=(read.sketches(_SKETCH_FIELDS[0]), read.sketches(_SKETCH_FIELDS[1])),
    )
    check.raise_if_any()
    return columns


def _metric_columns(message: ResultColumns) -> list[tuple[str, Any, bool]]:
    metrics = message.metrics
    return [
        (f"metrics.{name}", getattr(metrics, name), metrics.HasField(name))  # type: ignore[arg-type]
        for name in METRIC_COLUMNS
    ]


class _Reader:
    """Reads arrays of one length, and notes each that has another."""

    def __init__(self, message: ResultColumns, count: int, check: Violations) -> None:
        self._message = message
        self._count = count
        self._check = check

    def numbers(self, field: str, *, required: bool = False) -> Any:
        """A column of whole numbers; zeros where it was not sent and need not be."""
        values = getattr(self._message, field)
        if not values and not required:
            return np.zeros(self._count, np.int64)
        return self._array(field, values, np.int64)

    def optional(self, fields: Sequence[tuple[str, Any, bool]], kind: Any) -> tuple[Any, Any]:
        """Columns with presence: values, 0 where absent, and which are there; (fields, n) each."""
        values = np.zeros((len(fields), self._count), kind)
        present = np.zeros((len(fields), self._count), np.bool_)
        for row, (field, column, is_sent) in enumerate(fields):
            if not is_sent:
                continue
            present[row] = self._presence(field, column.presence)
            values[row] = self._array(f"{field}.values", column.values, kind)
            values[row][~present[row]] = 0
        return values, present

    def listed(self, field: str) -> Any:
        """A column of strings or bytes as a list; None where it was not sent."""
        values = getattr(self._message, field)
        if not values:
            return None
        self._expect(field, len(values), self._count)
        return list(values)

    def sketches(self, field: str) -> Sketches | None:
        """A column of sketches; None where it was not sent."""
        if not self._message.HasField(field):  # type: ignore[arg-type]
            return None
        column: SketchColumn = getattr(self._message, field)
        lengths = self._array(f"{field}.lengths", column.lengths, np.int64)
        zeros = self._array(f"{field}.zero_counts", column.zero_counts, np.int64)
        if (lengths < 0).any():
            self._check.add(f"{field}.lengths", "has a negative entry")
            lengths = np.zeros(self._count, np.int64)
        elif int(lengths.sum()) != len(column.counts):
            self._check.add(
                f"{field}.counts",
                f"has {len(column.counts)} entries; the lengths add up to {int(lengths.sum())}",
            )
        return Sketches(
            firsts=self._array(f"{field}.first_buckets", column.first_buckets, np.int64),
            zeros=zeros,
            lengths=lengths,
            starts=np.cumsum(lengths) - lengths,
            counts=np.array(column.counts, np.int64),
            present=(lengths > 0) | (zeros != 0),
        )

    def _array(self, field: str, values: Any, kind: Any) -> Any:
        if self._expect(field, len(values), self._count):
            return np.array(values, kind)
        return np.zeros(self._count, kind)

    def _presence(self, field: str, bitmap: bytes) -> Any:
        if not bitmap:
            return True
        size = (self._count + 7) // 8
        if not self._expect(f"{field}.presence", len(bitmap), size, "bytes"):
            return True
        bits = np.unpackbits(np.frombuffer(bitmap, np.uint8), bitorder="little")
        return bits[: self._count].astype(np.bool_)

    def _expect(self, field: str, found: int, wanted: int, unit: str = "entries") -> bool:
        if found != wanted:
            rows = "row" if self._count == 1 else "rows"
            self._check.add(
                field, f"has {found} {unit}; the {self._count} {rows} of `ids` need {wanted}"
            )
        return found == wanted


def message_of(batch: ResultBatch, columns: Columns, index: int) -> ResultRow:
    """Row `index` as the message that says the same, whichever way it was sent."""
    if not batch.HasField("columns"):
        return batch.rows[index]
    figures = dict(_set(METRIC_COLUMNS, columns.figures, columns.has_figure, index))
    row = ResultRow(
        id=_uuid_text(columns.ids[index].tobytes()),
        config_index=int(columns.config_indexes[index]),
        metrics=ResultMetrics(**figures) if figures else None,
        percentile_source=int(columns.percentile_sources[index]),  # type: ignore[arg-type]
        detailed_metrics_json=_listed(batch.columns.detailed_metrics_json, index, ""),
        source_sha256=_listed(batch.columns.source_sha256, index, b""),
        **dict(_set(COUNT_COLUMNS, columns.counts, columns.has_count, index)),
    )
    row.benchmark_time.seconds, rest = divmod(batch.columns.benchmark_times_us[index], 1_000_000)
    row.benchmark_time.nanos = rest * 1000
    for name, sketches in zip(SKETCH_COLUMNS, columns.sketches, strict=True):
        if sketches is not None and sketches.present[index]:
            getattr(row, name).CopyFrom(_sketch(sketches, index))
    return row


def _listed(values: Sequence[Any], index: int, nothing: Any) -> Any:
    return values[index] if values else nothing


def _set(names: Sequence[str], values: Any, present: Any, index: int) -> Iterator[tuple[str, Any]]:
    for name, value, is_set in zip(names, values[:, index], present[:, index], strict=True):
        if is_set:
            yield name, value.item()


def _sketch(sketches: Sketches, index: int) -> LatencySketch:
    start, length = int(sketches.starts[index]), int(sketches.lengths[index])
    return LatencySketch(
        first_bucket=int(sketches.firsts[index]),
        zero_count=int(sketches.zeros[index]),
        counts=sketches.counts[start : start + length].tolist(),
    )


def _uuid_text(raw: bytes) -> str:
    digits = raw.hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
