"""The documents of files and folders, whatever they are written in."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path

from servemark.importers.base import Document, Rejection, utc
from servemark.importers.documents_json import read_json, read_lines
from servemark.importers.documents_parquet import read_parquet
from servemark.importers.documents_table import read_table
from servemark.importers.documents_text import is_result_log, read_text
from servemark.importers.documents_yaml import read_yaml

_READERS: dict[str, Callable[[Path, datetime | None], Iterator[Document | Rejection]]] = {
    ".json": read_json,
    ".jsonl": read_lines,
    ".ndjson": read_lines,
    ".yaml": read_yaml,
    ".yml": read_yaml,
    ".csv": read_table,
    ".tsv": read_table,
    ".parquet": read_parquet,
    ".txt": read_text,
}
SUFFIXES = tuple(_READERS)


def find_files(paths: Iterable[Path]) -> Iterator[Path]:
    """The files to read: those named, and those in folders named that can be results, by path.

    Hidden files and folders inside a named folder are passed over, and so are texts that are no
    result log. A file found twice comes once.
    """
    seen: set[Path] = set()
    for path in paths:
        for found in _walk(path) if path.is_dir() else [path]:
            resolved = found.resolve()
            if resolved not in seen:
                seen.add(resolved)
                yield found


def _walk(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in _READERS
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and (path.suffix.lower() != ".txt" or is_result_log(path))
    )


def read_documents(path: Path, *, time_from_file: bool = False) -> Iterator[Document | Rejection]:
    """The documents of one file: the file's one value, or one for each of its lines or rows.

    The suffix says what the file is written in; without a known one it is read as JSON. What cannot
    be read gives a rejection, and the rest is read. JSON Lines, tables, Parquet and JSON arrays
    take constant memory, whatever the file's size. Raises OSError if the file cannot be read.
    """
    file_time = utc(path.stat().st_mtime) if time_from_file else None
    yield from _READERS.get(path.suffix.lower(), read_json)(path, file_time)
