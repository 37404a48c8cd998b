"""Where results wait on disk for a server: a folder of segments, of bounded size."""

import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from servemark.client.records import ResultRecord, records_to_stream
from servemark.client.segment import (
    REFUSED_SUFFIX,
    SUFFIX,
    Segment,
    SpoolError,
)
from servemark.client.stream import BATCH_BYTES, BATCH_ROWS
from servemark.ingest.v1 import result_stream_pb2 as stream_pb2

MAX_BYTES = 1024 * 1024 * 1024
"""What a spool may take on disk unless told otherwise: some nine million results."""
_SEGMENT_BYTES = 64 * 1024 * 1024


class SpoolFullError(SpoolError):
    """The spool has reached its bound, and the server takes nothing out of it."""


@dataclass(frozen=True)
class Spool:
    """A folder, and the most bytes that the results in it may have; a file's head comes on top."""

    folder: Path
    max_bytes: int = MAX_BYTES

    @classmethod
    def at(cls, folder: "Spool | Path | str | None" = None) -> "Spool":
        """The spool of a folder; without one SERVEMARK_SPOOL_DIR, else `servemark/spool` in the
        user's folder for state. SERVEMARK_SPOOL_MAX_BYTES bounds it, else 1 GiB.

        Raises SpoolError for a bound that is no number.
        """
        if isinstance(folder, Spool):
            return folder
        text = os.environ.get("SERVEMARK_SPOOL_MAX_BYTES") or str(MAX_BYTES)
        if not text.isdecimal():
            raise SpoolError(f"SERVEMARK_SPOOL_MAX_BYTES is {text!r}; give a number of bytes.")
        return cls(Path(folder) if folder is not None else _default_folder(), int(text))

    @property
    def segment_bytes(self) -> int:
        """Where a segment ends and a next one begins, so that room comes back meanwhile."""
        return min(_SEGMENT_BYTES, self.max_bytes // 4)

    def create(self, header: stream_pb2.StreamHeader, target: str) -> Segment:
        """A new segment; makes the folder, for its owner alone. Raises SpoolError."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise SpoolError(f"{self.folder} cannot be made: {error.strerror}.") from None
        return Segment.create(self.folder, header, target)

    def paths(self, suffix: str = SUFFIX) -> list[Path]:
        """The segments that lie there, the oldest first."""
        return sorted(self.folder.glob(f"*{suffix}"), key=_age)

    def used_bytes(self) -> int:
        """Bytes that all segments have now, refused results too."""
        used = 0
        for path in (*self.paths(), *self.paths(REFUSED_SUFFIX)):
            try:
                used += path.stat().st_size
            except FileNotFoundError:
                continue
        return used


def spool_records(
    spool: Spool,
    records: Iterable[ResultRecord],
    target: str = "",
    environment: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Writes records into the spool, to be sent by `push`; returns the files.

    Each has the id that it has when it is imported, so that doing both stores nothing twice. Raises
    SpoolFullError before it writes more than the spool may have.
    """
    paths = []
    for plan in records_to_stream(records, environment):
        rows = [row.SerializeToString() for row in plan.rows]
        if spool.used_bytes() + sum(map(len, rows)) > spool.max_bytes:
            raise full(spool)
        header = stream_pb2.StreamHeader()
        header.CopyFrom(plan.header)
        header.stream_id = str(uuid.uuid4())
        segment = spool.create(header, target)
        try:
            for batch in _batches(rows):
                for row in batch:
                    segment.add(row)
                segment.end_batch()
        except OSError as error:
            raise SpoolError(f"{segment.path} cannot be written: {error.strerror}.") from None
        finally:
            segment.close()
        paths.append(segment.path)
    return paths


def full(spool: Spool) -> SpoolFullError:
    """The error of a spool that has no room."""
    return SpoolFullError(
        f"The spool {spool.folder} is full: it may have {spool.max_bytes} bytes"
        " (SERVEMARK_SPOOL_MAX_BYTES). What is in it is safe: send it with `servemark push`, or"
        " drop it with `servemark spool drop`."
    )


def _batches(rows: Iterable[bytes]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    size = 0
    for row in rows:
        if batch and (len(batch) == BATCH_ROWS or size + len(row) + 8 > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += len(row) + 8
    if batch:
        yield batch


def _age(path: Path) -> tuple[float, str]:
    try:
        return path.stat().st_mtime, path.name
    except FileNotFoundError:
        return 0.0, path.name


def _default_folder() -> Path:
    named = os.environ.get("SERVEMARK_SPOOL_DIR")
    if named:
        return Path(named)
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "servemark" / "spool"
