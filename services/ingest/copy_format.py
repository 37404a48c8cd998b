"""Rows in PostgreSQL's binary COPY format.

A row is encoded once, right where it was checked, into the bytes that COPY takes; what is the same
for all rows of a configuration is encoded once a stream. That costs a third of handing the driver
tuples, and the same bytes serve the table and, with a position behind them, the temporary table of
duplicates. Format: PostgreSQL's documentation of COPY, "Binary Format".
"""

from collections.abc import Iterable, Sequence
from struct import Struct

from services.ingest.metrics import METRIC_COLUMNS
from services.ingest.records import Config, Source

ROW_COLUMNS = (
    "id",
    "benchmarked_at",
    *METRIC_COLUMNS,
    "request_count",
    "failed_request_count",
    "batch_size",
    "percentile_source",
    "source_sha256",
    "detailed_metrics",
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

NULL = b"\xff\xff\xff\xff"
_SIGNATURE = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_TRAILER = b"\xff\xff"
_UUID_LENGTH = b"\x00\x00\x00\x10"
# Microseconds from 1970 to 2000, where PostgreSQL's clock starts.
_EPOCH_2000_US = 946_684_800_000_000

_length = Struct("!i").pack
_count = Struct("!h").pack
_int4 = Struct("!ii").pack
_int8 = Struct("!iq").pack
_float8 = Struct("!id").pack
_uuid_and_time = Struct("!i16siq").pack


def uuid_field(value: bytes) -> bytes:
    """A uuid, given its 16 bytes."""
    return _UUID_LENGTH + value


def key_fields(identifier: bytes, milliseconds: int) -> bytes:
    """A uuid and a timestamptz, given 16 bytes and Unix milliseconds."""
    return _uuid_and_time(16, identifier, 8, milliseconds * 1000 - _EPOCH_2000_US)


def bytes_field(value: bytes | None) -> bytes:
    """A text (in UTF-8) or a bytea; NULL for None."""
    return NULL if value is None else _length(len(value)) + value


def int4_field(value: int | None) -> bytes:
    """An integer; NULL for None."""
    return NULL if value is None else _int4(4, value)


def int8_field(value: int | None) -> bytes:
    """A bigint; NULL for None."""
    return NULL if value is None else _int8(8, value)


def float8_fields(values: Iterable[float | None]) -> bytes:
    """Double precision fields; NULL for None."""
    return b"".join([NULL if value is None else _float8(8, value) for value in values])


def jsonb_field(value: bytes | None) -> bytes:
    """A jsonb, given its text in UTF-8; NULL for None."""
    return NULL if value is None else _length(len(value) + 1) + b"\x01" + value


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
            *(uuid_field(identifier.bytes) for identifier in ids),
            bytes_field(shape.workload_type.encode()),
            int4_field(shape.sequence_length),
            int4_field(shape.input_tokens),
            int4_field(shape.output_tokens),
            uuid_field(source.stream_id.bytes),
            bytes_field(source.tool.encode()),
            bytes_field(source.tool_version.encode()),
        )
    )


def document(rows: Sequence[bytes]) -> bytearray:
    """A whole COPY document of rows of COPY_COLUMNS."""
    start = _count(len(COPY_COLUMNS))
    return bytearray().join((_SIGNATURE, *_led_by(start, rows), _TRAILER))


def document_with_positions(rows: Sequence[bytes], positions: Sequence[int]) -> bytearray:
    """A whole COPY document of rows of COPY_COLUMNS and, behind them, POSITION_COLUMN."""
    start = _count(len(COPY_COLUMNS) + 1)
    with_position = [
        row + _int4(4, position) for row, position in zip(rows, positions, strict=True)
    ]
    return bytearray().join((_SIGNATURE, *_led_by(start, with_position), _TRAILER))


def _led_by(start: bytes, rows: Sequence[bytes]) -> list[bytes]:
    return [start + row for row in rows]
