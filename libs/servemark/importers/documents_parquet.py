"""Parquet files, read by row groups where pyarrow is installed."""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from servemark.importers.base import (
    NOT_PARQUET,
    PARSER_MISSING,
    Document,
    Rejection,
    canonical_sha256,
)

_BATCH_ROWS = 1024


def read_parquet(path: Path, file_time: datetime | None) -> Iterator[Document | Rejection]:
    """One document for each row, with the values JSON has; nulls are left out."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError:
        yield Rejection(PARSER_MISSING, "Parquet needs pyarrow: pip install pyarrow.", str(path))
        return
    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                for row in batch.to_pylist():
                    number += 1
                    data = {key: _plain(value) for key, value in row.items() if value is not None}
                    yield Document(data, path, canonical_sha256(data), number, file_time)
    except (pyarrow.ArrowException, OverflowError, UnicodeDecodeError) as error:
        yield Rejection(NOT_PARQUET, f"Not Parquet, from here on: {error}.", f"{path}:{number + 1}")


def _plain(value: Any) -> Any:
    """A value as JSON would hold it: times as ISO 8601 text."""
    if isinstance(value, datetime):
        # pyarrow hands out other zones' classes; the text is the same instant in UTC.
        return (value.astimezone(UTC) if value.tzinfo else value).isoformat()
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
