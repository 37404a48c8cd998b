"""How large a document may be, and what is said of a larger one."""

from collections.abc import Iterator
from pathlib import Path
from typing import IO, AnyStr

from servemark.importers.base import TOO_LARGE, Rejection

# Detailed files with every request's tokens have tens of megabytes; read, they take ten times that.
MAX_DOCUMENT_BYTES = 128 * 2**20


class LineTooLongError(ValueError):
    """A line that is larger than a document may be."""


def bounded_lines(file: IO[AnyStr], max_size: int) -> Iterator[AnyStr]:
    """The lines of an open file, one at a time. Raises LineTooLongError at one above max_size."""
    while line := file.readline(max_size + 1):
        if len(line) > max_size:
            raise LineTooLongError(f"is larger than {megabytes(max_size)}")
        yield line


def too_large(path: Path, place: str = "") -> Rejection:
    """The rejection of a document above MAX_DOCUMENT_BYTES."""
    return Rejection(
        TOO_LARGE,
        f"A document may have {megabytes(MAX_DOCUMENT_BYTES)}. Write results as JSON Lines, CSV or"
        " Parquet, or leave the per-request details out; those files may have any size.",
        place or str(path),
    )


def megabytes(size: int) -> str:
    """A size in bytes as people say it."""
    return f"{size / 2**20:g} MiB"
