"""Columns in PostgreSQL's binary COPY format, without a loop over rows.

The rows of a piece are laid out in one matrix of bytes, a row each, every field at its place and as
wide as its widest value; what a row does not use (the value of a NULL, the end of a shorter text)
is left out when the bytes are read. Where no row leaves anything out, the matrix is the document.
Format: PostgreSQL's documentation of COPY, "Binary Format".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.ingest.columns import COUNT_COLUMNS, SKETCH_COLUMNS, Bools, Columns, Ints, Sketches
from services.ingest.metrics import METRIC_COLUMNS
from services.ingest.records import PERCENTILE_SOURCES, Config, Source

ROW_COLUMNS = (
    "id",
    "benchmarked_at",
    *METRIC_COLUMNS,
    *COUNT_COLUMNS,
    "percentile_source",
    "source_sha256",
    "detailed_metrics",
    *SKETCH_COLUMNS,
)
CONFIG_COLUMNS = (
    "config_id",
    "model_id",
    "model_version_id",
    "hardware_config_id",
    "framework_id",
    "workload_type",
    "sequence_length",
    "input_tokens",
    "output_tokens",
    "stream_id",
    "tool",
    "tool_version",
)
COPY_COLUMNS = (*ROW_COLUMNS, *CONFIG_COLUMNS)
POSITION_COLUMN = "row_index"

HEADER: Final = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
TRAILER: Final = b"\xff\xff"
# A piece's matrix: enough rows to make numpy's calls cheap, and not more bytes than a cache holds.
ROWS_A_PIECE: Final = 1000
_BYTES_A_PIECE: Final = 1024 * 1024
# Microseconds from 1970 to 2000, where PostgreSQL's clock starts.
_EPOCH_2000_US: Final = 946_684_800_000_000
_INT4_OID: Final = 23
_COUNT_BYTES: Final = (8, 8, 4)

_NULL = b"\xff\xff\xff\xff"
_length = Struct("!i").pack
_int4 = Struct("!ii").pack


def config_fields(config: Config, source: Source) -> bytes:
    """The fields of CONFIG_COLUMNS, the same for every row of a configuration in a stream."""
    parts, shape = config.key.parts, config.key.shape
    ids = (
        config.id,
        parts.model_id,
        parts.model_version_id,
        parts.hardware_config_id,
        parts.framework_id,
    )
    return b"".join(
        (
            *(_bytes_field(identifier.bytes) for identifier in ids),
            _bytes_field(shape.workload_type.encode()),
            _int4_field(shape.sequence_length),
            _int4_field(shape.input_tokens),
            _int4_field(shape.output_tokens),
            _bytes_field(source.stream_id.bytes),
            _bytes_field(source.tool.encode()),
            _bytes_field(source.tool_version.encode()),
        )
    )


def _bytes_field(value: bytes) -> bytes:
    return _length(len(value)) + value


def _int4_field(value: int | None) -> bytes:
    return _NULL if value is None else _int4(4, value)


@dataclass(frozen=True, slots=True)
class Content:
    """Everything that is needed to write rows: they, and the fields of their configurations.

    `configs` has for each configuration of the header its `config_fields`, b"" where it is not
    resolved. `sources` are the percentile sources as stored; `details` the documents as stored.
    """

    columns: Columns
    configs: "ByteTable"
    sources: Ints
    details: Sequence[bytes | None] | None


class ByteTable:
    """Byte strings of different lengths, a row each, ended by zeros to one width."""

    def __init__(self, values: Sequence[bytes]) -> None:
        self.lengths = np.fromiter(map(len, values), np.int64, len(values))
        width = int(self.lengths.max(initial=0))
        self.padded = np.zeros((len(values), width), np.uint8)
        used = np.arange(width) < self.lengths[:, None]
        self.padded[used] = np.frombuffer(b"".join(values), np.uint8)


_SOURCE_FIELDS: Final = ByteTable(
    [b"", *(_bytes_field(name.encode()) for name in PERCENTILE_SOURCES)]
)


def encode(content: Content, rows: Ints, *, positions: bool = False) -> list[bytes]:
    """The rows, in the order given, in pieces that follow HEADER and are followed by TRAILER.

    They have the fields of COPY_COLUMNS and, with `positions`, then the row's index as
    POSITION_COLUMN.
    """
    pieces = []
    start = 0
    while start < len(rows):
        piece = rows[start : start + _piece_rows(content, rows[start : start + ROWS_A_PIECE])]
        pieces.append(_piece(content, piece, positions=positions))
        start += len(piece)
    return pieces


def _piece_rows(content: Content, rows: Ints) -> int:
    """How many of the rows make a matrix of bearable size."""
    widest = 1024
    if content.details is not None:
        widest += max(len(content.details[row] or b"") for row in rows.tolist())
    for sketches in content.columns.sketches:
        if sketches is not None:
            widest += 8 * int(sketches.lengths[rows].max())
    return max(1, min(ROWS_A_PIECE, _BYTES_A_PIECE // widest))


def _piece(content: Content, rows: Ints, *, positions: bool) -> bytes:
    columns = content.columns
    layout = _Layout(len(rows))
    layout.constant(">i2", len(COPY_COLUMNS) + positions)
    layout.constant(">i4", 16)
    layout.raw(columns.ids[rows])
    layout.constant(">i4", 8)
    layout.values(">i8", columns.times_ms[rows] * 1000 - _EPOCH_2000_US)
    for figures, present in zip(columns.figures, columns.has_figure, strict=True):
        layout.nullable(">f8", figures[rows], present[rows])
    for counts, present, size in zip(columns.counts, columns.has_count, _COUNT_BYTES, strict=True):
        layout.nullable(f">i{size}", counts[rows], present[rows])
    layout.chosen(_SOURCE_FIELDS, content.sources[rows])
    layout.texts(columns.digests, rows)
    layout.texts(content.details, rows, lead=b"\x01")
    for sketches in columns.sketches:
        _put_sketches(layout, sketches, rows)
    layout.chosen(content.configs, columns.config_indexes[rows])
    if positions:
        layout.constant(">i4", 4)
        layout.values(">i4", rows)
    return layout.document()


class _Layout:
    """Fields side by side, and which bytes of them each row uses."""

    def __init__(self, count: int) -> None:
        self._count = count
        # Of each field its type, its value (one, or one for each row), and which bytes are used.
        self._fields: list[tuple[np.dtype[Any], Any, Bools | None]] = []

    def constant(self, kind: str, value: int) -> None:
        """The same number in each row."""
        self._fields.append((np.dtype(kind), value, None))

    def values(self, kind: str, values: Any, used: Bools | None = None) -> None:
        """A number for each row. `used`, (n, 1): which rows have it; None: all."""
        self._fields.append((np.dtype(kind), values, used))

    def raw(self, matrix: NDArray[np.uint8], used: Bools | None = None) -> None:
        """Bytes as they are, (n, width). `used` is broadcast to that; None: all of them."""
        width = matrix.shape[1]
        values = np.ascontiguousarray(matrix).view(f"V{width}")[:, 0] if width else 0
        self._fields.append((np.dtype(f"V{width}"), values, used))

    def nullable(self, kind: str, values: Any, present: Bools) -> None:
        """A field that holds a number, NULL where it is not present."""
        size = np.dtype(kind).itemsize
        if present.all():
            self.constant(">i4", size)
            self.values(kind, values)
        elif not present.any():
            self.constant(">i4", -1)
        else:
            self.values(">i4", np.where(present, size, -1))
            self.values(kind, values, present[:, None])

    def ragged(self, padded: NDArray[np.uint8], lengths: Ints) -> None:
        """Bytes of which each row uses so many from the first on."""
        width = padded.shape[1]
        self.raw(padded, None if (lengths == width).all() else np.arange(width) < lengths[:, None])

    def chosen(self, table: ByteTable, indexes: Ints) -> None:
        """For each row the bytes that the table has at its index."""
        self.ragged(table.padded[indexes], table.lengths[indexes])

    def texts(self, values: Sequence[bytes | None] | None, rows: Ints, lead: bytes = b"") -> None:
        """A field that holds a byte string after `lead`, NULL where it is empty."""
        chosen = None if values is None else [values[row] or b"" for row in rows.tolist()]
        if chosen is None or not any(chosen):
            self.constant(">i4", -1)
            return
        table = ByteTable([lead + value if value else b"" for value in chosen])
        self.values(">i4", np.where(table.lengths > 0, table.lengths, -1))
        self.ragged(table.padded, table.lengths)

    def document(self) -> bytes:
        """The bytes that the rows use, row after row."""
        fields = [field for field in self._fields if field[0].itemsize]
        record = np.dtype([(str(number), kind) for number, (kind, _, _) in enumerate(fields)])
        # Every row begins as a copy of one that has the constants; then come the other fields.
        first = np.zeros(1, record)
        for number, (_, value, _) in enumerate(fields):
            if np.isscalar(value):
                first[str(number)] = value
        matrix = np.empty((self._count, record.itemsize), np.uint8)
        matrix[:] = first.view(np.uint8)
        table = matrix.view(record)[:, 0]
        for number, (_, value, _) in enumerate(fields):
            if not np.isscalar(value):
                table[str(number)] = value
        if all(used is None for _, _, used in fields):
            return matrix.tobytes()
        kept = np.ones(matrix.shape, np.bool_)
        start = 0
        for kind, _, used in fields:
            if used is not None:
                kept[:, start : start + kind.itemsize] = used
            start += kind.itemsize
        return matrix[kept].tobytes()


def _put_sketches(layout: _Layout, sketches: Sketches | None, rows: Ints) -> None:
    """A field that holds an int[]: the first bucket, the samples of 0 ms, then the counts."""
    if sketches is None or not sketches.present[rows].any():
        layout.constant(">i4", -1)
        return
    present, lengths = sketches.present[rows], sketches.lengths[rows]
    size = lengths + 2
    layout.values(">i4", np.where(present, 20 + 8 * size, -1))
    there = present[:, None]
    # One dimension, no NULLs, integers, so many of them, counted from 1.
    head = np.zeros((len(rows), 5), ">i4")
    head[:, :] = (1, 0, _INT4_OID, 0, 1)
    head[:, 3] = size
    layout.raw(head.view(np.uint8), there)
    width = int(lengths.max()) + 2
    numbers = np.zeros((len(rows), width, 2), ">i4")
    numbers[:, :, 0] = 4
    numbers[:, 0, 1] = sketches.firsts[rows]
    numbers[:, 1, 1] = sketches.zeros[rows]
    if len(sketches.counts):
        places = sketches.starts[rows][:, None] + np.arange(width - 2)
        numbers[:, 2:, 1] = sketches.counts[np.minimum(places, len(sketches.counts) - 1)]
    used = np.where(present, 8 * size, 0)
    layout.ragged(numbers.view(np.uint8).reshape(len(rows), -1), used)
