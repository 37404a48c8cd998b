"""The JSON documents of files and folders."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from servemark.importers.base import NOT_JSON, Document, Rejection, utc

SUFFIXES = (".json", ".jsonl", ".ndjson")
_LINE_SUFFIXES = (".jsonl", ".ndjson")


def find_files(paths: Iterable[Path]) -> Iterator[Path]:
    """The files to read: those named, and the JSON files in folders named, in order of path.

    Hidden files and folders inside a named folder are passed over. A file found twice comes once.
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
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def read_documents(path: Path, *, time_from_file: bool = False) -> Iterator[Document | Rejection]:
    """The documents of one file: the file's one JSON value, or one for each of its lines.

    A line that is not JSON gives a rejection, and the others are read. Raises OSError if the file
    cannot be read.
    """
    content = path.read_bytes()
    file_time = utc(path.stat().st_mtime) if time_from_file else None
    if path.suffix.lower() not in _LINE_SUFFIXES:
        try:
            data = json.loads(content)
        except (ValueError, RecursionError) as error:
            # vLLM's --append-result writes one object a line into a file named .json.
            if not _is_lines(content):
                yield Rejection(NOT_JSON, f"Not JSON: {error}.", str(path))
                return
        else:
            yield Document(data, path, hashlib.sha256(content).hexdigest(), None, file_time)
            return
    for number, line in enumerate(content.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            data = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield Rejection(NOT_JSON, f"Line {number} is not JSON: {error}.", f"{path}:{number}")
            continue
        digest = hashlib.sha256(line.strip()).hexdigest()
        yield Document(data, path, digest, number, file_time)


def _is_lines(content: bytes) -> bool:
    """Whether the first line that is not blank is a whole JSON object."""
    for line in content.splitlines():
        if line.strip():
            return isinstance(_value(line), dict)
    return False


def _value(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
