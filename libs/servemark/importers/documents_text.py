"""Texts that are results: the summaries of MLPerf's load generator."""

import hashlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from servemark.importers.base import FORMAT_UNKNOWN, Document, Rejection

MLPERF_TITLE = "MLPerf Results Summary"
_MAX_BYTES = 2**20


def read_text(path: Path, file_time: datetime | None) -> Iterator[Document | Rejection]:
    """The file's text, as one document."""
    with path.open("rb") as file:
        content = file.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        yield Rejection(
            FORMAT_UNKNOWN, "Not a result summary: the text is larger than 1 MiB.", str(path)
        )
        return
    text = content.decode("utf-8", errors="replace")
    yield Document(text, path, hashlib.sha256(content).hexdigest(), None, file_time)


def is_result_log(path: Path) -> bool:
    """Whether a text begins as a result summary; other texts in a folder are no results."""
    with path.open("rb") as file:
        return MLPERF_TITLE.encode() in file.read(1024)
