"""Rows between the database's CSV and Parquet, a bounded piece at a time.

PostgreSQL writes a double with the fewest digits that tell it from every other, and Arrow reads and
writes it so, too: the bits come through. What CSV has no type for:

- a UUID is 16 bytes with Parquet's UUID type;
- a time has microseconds, in UTC;
- JSON is text, digit for digit as the database prints it;
- bytes are text, two hexadecimal digits each;
- an array of integers is a list.

NULL and the empty text differ in both: NULL is an empty field without quotes.

PyArrow is large, so it is loaded when the first file is written or read.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from services.ingest.archive.layout import ArchiveColumn, Kind, columns_named
from services.ingest.archive.packages import load
from services.ingest.archive.records import DamagedError

# Prefix of our entries in a file's metadata.
PREFIX: Final = "servemark."

_UUID_BYTES: Final = 16
_UUID_TEXT: Final = 36
_UUID_DASHES: Final = (8, 13, 18, 23)
_UUID_DIGITS: Final = [place for place in range(_UUID_TEXT) if place not in _UUID_DASHES]
_DIGITS: Final = np.frombuffer(b"0123456789abcdef", np.uint8)
_VALUE_OF_DIGIT: Final = np.zeros(256, np.uint8)
_VALUE_OF_DIGIT[_DIGITS] = np.arange(16)

# Unique in every row: a dictionary would only be in the way.
_NO_DICTIONARY: Final = frozenset({"id", "source_sha256", "detailed_metrics"})


class DayWriter:
    """Writes one file. Each piece becomes a row group, so a reader needs no more memory than we."""

    def __init__(self, sink: BinaryIO, columns: Sequence[ArchiveColumn]) -> None:
        pa, parquet = load("pyarrow"), load("pyarrow.parquet")
        self._columns = columns
        self._writer = parquet.ParquetWriter(
            sink,
            pa.schema([(column.name, _arrow_type(pa, column.kind)) for column in columns]),
            compression="zstd",
            use_dictionary=[
                column.name
                for column in columns
                if column.kind in ("uuid", "text", "json") and column.name not in _NO_DICTIONARY
            ],
            use_byte_stream_split=[column.name for column in columns if column.kind == "double"],
            write_page_checksum=True,
            sorting_columns=[parquet.SortingColumn(0)],
        )

    def write(self, csv: bytes) -> None:
        """Adds whole rows, in order of id, with the columns in their order."""
        table = _from_csv(csv, self._columns)
        self._writer.write_table(table, row_group_size=table.num_rows)

    def close(self, metadata: Mapping[str, str]) -> None:
        """Ends the file; `metadata` goes into it. The sink stays open."""
        self._writer.add_key_value_metadata(
            {f"{PREFIX}{name}": value for name, value in metadata.items()}
        )
        self._writer.close()


class DayReader:
    """Reads one file, which stays open. Raises DamagedError for one that cannot be read."""

    def __init__(self, source: BinaryIO) -> None:
        parquet = load("pyarrow.parquet")
        try:
            # Buffered ahead, so that a row group takes a few large reads, not one for each column.
            self._file = parquet.ParquetFile(
                source, page_checksum_verification=True, pre_buffer=True
            )
            stored = self._file.metadata.metadata or {}
            names = [field.name for field in self._file.schema_arrow]
        except _damage() as error:
            raise _unreadable() from error
        self.metadata = {
            name.decode().removeprefix(PREFIX): value.decode()
            for name, value in stored.items()
            if name.decode().startswith(PREFIX)
        }
        self.row_count = int(self._file.metadata.num_rows)
        self.columns = columns_named(names)

    def pieces(self) -> Iterator[bytes]:
        """The rows as the database takes them, a row group at a time."""
        for group in range(self._file.num_row_groups):
            try:
                table = self._file.read_row_group(group, use_threads=False)
            except _damage() as error:
                raise _unreadable() from error
            yield _to_csv(table, self.columns)


def _damage() -> tuple[type[Exception], ...]:
    pa = load("pyarrow")
    return (pa.ArrowException, OSError, ValueError, KeyError)


def _unreadable() -> DamagedError:
    return DamagedError("The file cannot be read as Parquet.")


def _arrow_type(pa: Any, kind: Kind) -> Any:
    return {
        "uuid": pa.uuid(),
        "text": pa.string(),
        "double": pa.float64(),
        "integer": pa.int32(),
        "bigint": pa.int64(),
        "time": pa.timestamp("us", tz="UTC"),
        "date": pa.date32(),
        "bytes": pa.string(),
        "json": pa.string(),
        "integers": pa.list_(pa.int32()),
    }[kind]


def _from_csv(text: bytes, columns: Sequence[ArchiveColumn]) -> Any:
    pa, csv = load("pyarrow"), load("pyarrow.csv")
    as_text = ("uuid", "integers")
    table = csv.read_csv(
        pa.BufferReader(text),
        read_options=csv.ReadOptions(
            column_names=[column.name for column in columns],
            use_threads=False,
            # In one block: rows may be long, and hold line ends.
            block_size=len(text) + 1,
        ),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            column_types={
                column.name: pa.string() if column.kind in as_text else _arrow_type(pa, column.kind)
                for column in columns
            },
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )
    arrays = []
    for column in columns:
        array = table[column.name].combine_chunks()
        if column.kind == "uuid":
            array = _uuids(pa, array)
        elif column.kind == "integers":
            array = _lists(pa, array)
        arrays.append(array)
    return pa.Table.from_arrays(arrays, names=[column.name for column in columns])


def _to_csv(table: Any, columns: Sequence[ArchiveColumn]) -> bytes:
    pa, csv, compute = load("pyarrow"), load("pyarrow.csv"), load("pyarrow.compute")
    arrays = []
    for column in columns:
        array = table[column.name].combine_chunks()
        if column.kind == "uuid":
            array = _uuid_texts(pa, array)
        elif column.kind == "bytes":
            array = compute.binary_join_element_wise("\\x", array, "")
        elif column.kind == "integers":
            numbers = compute.binary_join(array.cast(pa.list_(pa.string())), ",")
            array = compute.binary_join_element_wise("{", numbers, "}", "")
        arrays.append(array)
    sink = pa.BufferOutputStream()
    csv.write_csv(
        pa.Table.from_arrays(arrays, names=[column.name for column in columns]),
        sink,
        csv.WriteOptions(include_header=False),
    )
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _uuids(pa: Any, texts: Any) -> Any:
    """UUIDs from their texts."""
    present = np.asarray(texts.is_valid())
    digits = _VALUE_OF_DIGIT[_matrix(texts, _UUID_TEXT)[:, _UUID_DIGITS]]
    content = np.zeros((len(texts), _UUID_BYTES), np.uint8)
    content[present] = digits[:, 0::2] << 4 | digits[:, 1::2]
    buffers = [_bits(present), content.tobytes()]
    storage = pa.Array.from_buffers(
        pa.binary(_UUID_BYTES), len(texts), [pa.py_buffer(buffer) for buffer in buffers]
    )
    return pa.ExtensionArray.from_storage(pa.uuid(), storage)


def _uuid_texts(pa: Any, uuids: Any) -> Any:
    """The texts of UUIDs, with small letters and dashes."""
    present = np.asarray(uuids.is_valid())
    content = _matrix(uuids.storage, _UUID_BYTES)
    texts = np.full((len(content), _UUID_TEXT), ord("-"), np.uint8)
    texts[:, _UUID_DIGITS[0::2]] = _DIGITS[content >> 4]
    texts[:, _UUID_DIGITS[1::2]] = _DIGITS[content & 15]
    offsets = np.concatenate(([0], np.cumsum(present * _UUID_TEXT))).astype(np.int32)
    buffers = [_bits(present), offsets.tobytes(), texts.tobytes()]
    return pa.Array.from_buffers(
        pa.string(), len(present), [pa.py_buffer(buffer) for buffer in buffers]
    )


def _bits(present: NDArray[np.bool_]) -> bytes:
    """Which values are there, as Arrow marks it."""
    return np.packbits(present, bitorder="little").tobytes()


def _matrix(array: Any, width: int) -> NDArray[np.uint8]:
    """The bytes of the values that are there, each of the same width; (n, width)."""
    there = array.drop_null()
    if not len(there):
        return np.zeros((0, width), np.uint8)
    content = np.frombuffer(
        there.buffers()[-1], np.uint8, count=len(there) * width, offset=there.offset * width
    )
    return content.reshape(-1, width)


def _lists(pa: Any, texts: Any) -> Any:
    """Lists of integers from texts such as `1,2,3`; an empty text is an empty list."""
    compute = load("pyarrow.compute")
    numbers = compute.split_pattern(texts, ",")
    flat = numbers.flatten()
    lengths = np.asarray(compute.fill_null(compute.list_value_length(numbers), 0))
    is_empty = np.asarray(compute.fill_null(compute.equal(texts, ""), False))
    offsets = np.concatenate(([0], np.cumsum(np.where(is_empty, 0, lengths)))).astype(np.int32)
    return pa.ListArray.from_arrays(
        pa.array(offsets, pa.int32()),
        flat.filter(compute.not_equal(flat, "")).cast(pa.int32()),
        mask=texts.is_null(),
    )
