"""JSON files and JSON Lines."""

import hashlib
import json
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from servemark.importers import bounds
from servemark.importers.base import NOT_JSON, Document, Rejection, canonical_sha256

SUFFIXES = (".json", ".jsonl", ".ndjson")
"""What tools that measure a server write; tables and texts beside it are mostly no results."""
_CHUNK = 2**20
# Half a character: it cannot be written as UTF-8, so no record with it can be hashed or sent.
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def read_json(path: Path, file_time: datetime | None) -> Iterator[Document | Rejection]:
    """The file's one JSON value; of a file too large for that, the elements of its array.

    Lines are taken too: vLLM's `--append-result` writes one object a line into a file named .json.
    """
    if path.stat().st_size > bounds.MAX_DOCUMENT_BYTES:
        yield from _read_large(path, file_time)
        return
    content = path.read_bytes()
    try:
        data = _parse(content)
    except (ValueError, RecursionError) as error:
        if _starts_with_a_line(path):
            yield from read_lines(path, file_time)
        else:
            yield Rejection(NOT_JSON, f"Not JSON: {error}.", str(path))
    else:
        yield Document(data, path, hashlib.sha256(content).hexdigest(), None, file_time)


def read_lines(path: Path, file_time: datetime | None) -> Iterator[Document | Rejection]:
    """One document for each line that is not blank. A broken one does not stop the others."""
    with path.open("rb") as file:
        number = 0
        try:
            for line in bounds.bounded_lines(file, bounds.MAX_DOCUMENT_BYTES):
                number += 1
                if line := line.strip():
                    yield _line(line, path, number, file_time)
        except bounds.LineTooLongError:
            yield bounds.too_large(path, f"{path}:{number + 1}")


def _line(line: bytes, path: Path, number: int, file_time: datetime | None) -> Document | Rejection:
    try:
        data = _parse(line)
    except (ValueError, RecursionError) as error:
        return Rejection(NOT_JSON, f"Line {number} is not JSON: {error}.", f"{path}:{number}")
    return Document(data, path, hashlib.sha256(line).hexdigest(), number, file_time)


def _parse(content: bytes) -> Any:
    """The value of JSON bytes. Raises ValueError for what is none, or holds half a character."""
    data = json.loads(content)
    if _SURROGATE.search(content):
        json.dumps(data, ensure_ascii=False).encode()
    return data


def _starts_with_a_line(path: Path) -> bool:
    """Whether the first line that is not blank is a whole JSON object."""
    with path.open("rb") as file:
        try:
            for line in bounds.bounded_lines(file, bounds.MAX_DOCUMENT_BYTES):
                if line.strip():
                    return isinstance(_parse(line), dict)
        except (ValueError, RecursionError):
            pass
    return False


def _read_large(path: Path, file_time: datetime | None) -> Iterator[Document | Rejection]:
    with path.open(encoding="utf-8-sig") as file:
        try:
            is_array = file.read(_CHUNK).lstrip().startswith("[")
        except UnicodeDecodeError as error:
            yield Rejection(NOT_JSON, f"Not JSON: {error}.", str(path))
            return
        if is_array:
            file.seek(0)
            yield from _elements(file, path, file_time)
            return
    if _starts_with_a_line(path):
        yield from read_lines(path, file_time)
    else:
        yield bounds.too_large(path)


def _elements(
    file: IO[str], path: Path, file_time: datetime | None
) -> Iterator[Document | Rejection]:
    """The objects of a top-level array, with no more of the file in memory than one of them."""
    decoder = json.JSONDecoder()
    text, number = file.read(_CHUNK).lstrip()[1:], 0
    while True:
        text = text.lstrip().removeprefix(",").lstrip()
        if text.startswith("]"):
            return
        try:
            # An object ends with its brace, so half of one is never taken for a whole one.
            if text and not text.startswith("{"):
                yield Rejection(
                    NOT_JSON, f"Element {number + 1} is not an object.", f"{path}:{number + 1}"
                )
                return
            data, end = decoder.raw_decode(text)
        except (ValueError, RecursionError) as error:
            more = ""
            if len(text) < bounds.MAX_DOCUMENT_BYTES:
                # As much again each time, so that an element is parsed a few times, not often.
                more = file.read(max(_CHUNK, len(text)))
            if not more:
                yield Rejection(
                    NOT_JSON,
                    f"Element {number + 1} is not JSON, or is larger than"
                    f" {bounds.megabytes(bounds.MAX_DOCUMENT_BYTES)}: {error}.",
                    f"{path}:{number + 1}",
                )
                return
            text += more
            continue
        number += 1
        text = text[end:]
        yield Document(data, path, canonical_sha256(data), number, file_time)
