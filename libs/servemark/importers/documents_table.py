"""CSV and TSV files in the encodings that spreadsheets write."""

import codecs
import csv
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, islice
from pathlib import Path

from servemark.importers.base import NOT_TABLE, Document, Rejection, canonical_sha256
from servemark.importers.bounds import LineTooLongError, bounded_lines

MAX_LINE = 2**20
"""Characters of a line; a result's row has a few thousand."""
_MAX_WHOLE_ROWS = 20_000


@dataclass(frozen=True)
class Table:
    """The cells of a table whose names take more than one row, as spreadsheets export them."""

    rows: list[list[str]]


def read_table(path: Path, file_time: datetime | None) -> Iterator[Document | Rejection]:
    """One document for each row: its cells, as texts, by the names in the first row.

    A table whose first row is mostly without names is one document, a Table. Empty cells are left
    out, as what was not measured.
    """
    try:
        with path.open(encoding=_encoding(path), newline="") as file:
            lines = bounded_lines(file, MAX_LINE)
            first = next(lines, "")
            rows = csv.reader(chain([first], lines), delimiter=_delimiter(first), strict=True)
            names = [name.strip() for name in next(rows, [])]
            if sum(map(bool, names)) * 2 < len(names):
                yield from _whole(names, rows, path, file_time)
                return
            if len(set(names)) < len(names):
                doubled = sorted({name for name in names if names.count(name) > 1})
                yield Rejection(
                    NOT_TABLE, f"Columns occur twice: {', '.join(doubled)[:200]}.", str(path)
                )
                return
            for row in rows:
                yield from _row(names, row, path, rows.line_num, file_time)
    except (csv.Error, UnicodeError, LineTooLongError) as error:
        yield Rejection(NOT_TABLE, f"Not a table, from here on: {error}.", str(path))


def _row(
    names: list[str], row: Sequence[str], path: Path, line: int, file_time: datetime | None
) -> Iterator[Document | Rejection]:
    if len(row) > len(names):
        # Its cells may stand under the wrong names.
        yield Rejection(
            NOT_TABLE,
            f"The row has {len(row)} cells, the table {len(names)} columns.",
            f"{path}:{line}",
        )
        return
    cells = zip(names, map(str.strip, row), strict=False)
    data = {name: cell for name, cell in cells if name and cell}
    if data:
        yield Document(data, path, canonical_sha256(data), line, file_time)


def _whole(
    names: list[str], rows: Iterator[list[str]], path: Path, file_time: datetime | None
) -> Iterator[Document | Rejection]:
    found = [names, *islice(rows, _MAX_WHOLE_ROWS)]
    if next(rows, None) is not None:
        yield Rejection(
            NOT_TABLE,
            f"The first row has no column names, and the table more than {_MAX_WHOLE_ROWS} rows.",
            str(path),
        )
        return
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    yield Document(Table(found), path, digest, None, file_time)


def _encoding(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(4)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    # Without a mark: the other byte of an ASCII character is zero.
    if len(start) == 4 and start[1] == start[3] == 0:
        return "utf-16-le"
    if len(start) == 4 and start[0] == start[2] == 0:
        return "utf-16-be"
    return "utf-8-sig"


def _delimiter(first: str) -> str:
    return max(",\t;", key=first.count)
