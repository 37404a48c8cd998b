"""The documents of files and folders, whatever they are written in."""

import os
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
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
SIDECARS = ("servemark.yaml", "servemark.yml", "servemark.json", "servemark.toml")
"""Files that say what the results beside them do not."""


@dataclass(frozen=True)
class Found:
    """A file to read, and the folder above which nothing belongs to it."""

    path: Path
    root: Path
    is_named: bool
    """Whether it was named itself, so that it is meant to be a result."""


def find_files(paths: Sequence[Path]) -> Iterator[Found]:
    """The files to read: those named, and those in folders named that can be results, by path.

    Hidden files and folders inside a named folder are passed over, and so are side-cars and texts
    that are no result log. What is named twice, or lies in a folder that is named too, comes once.
    No more than the names of one folder are in memory.
    """
    named = dict.fromkeys(path.resolve() for path in paths)
    by_place = {path.resolve(): path for path in reversed(paths)}
    for place in named:
        path = by_place[place]
        if path.is_dir():
            yield from (Found(found, path, False) for found in _walk(path, named.keys() - {place}))
        else:
            yield Found(path, path.parent, True)


def _walk(folder: Path, elsewhere: Set[Path]) -> Iterator[Path]:
    with os.scandir(folder) as entries:
        names = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
    for name, is_folder in names:
        path = folder / name
        if name.startswith(".") or (elsewhere and path.resolve() in elsewhere):
            continue
        if is_folder:
            yield from _walk(path, elsewhere)
        elif _may_be_result(path):
            yield path


def _may_be_result(path: Path) -> bool:
    suffix = path.suffix.lower()
    return (
        suffix in _READERS
        and path.name not in SIDECARS
        and path.is_file()
        and (suffix != ".txt" or is_result_log(path))
    )


def read_documents(path: Path, *, time_from_file: bool = False) -> Iterator[Document | Rejection]:
    """The documents of one file: the file's one value, or one for each of its lines or rows.

    The suffix says what the file is written in; without a known one it is read as JSON. What cannot
    be read gives a rejection, and the rest is read. JSON Lines, tables, Parquet and JSON arrays
    take constant memory, whatever the file's size. Raises OSError if the file cannot be read.
    """
    file_time = utc(path.stat().st_mtime) if time_from_file else None
    yield from _READERS.get(path.suffix.lower(), read_json)(path, file_time)
