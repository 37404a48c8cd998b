"""One stream on disk: a file that a killed runner leaves behind complete.

After a line that names the format, the file is a sequence of frames: one byte for the kind, the
length, the CRC-32, and the content. H is the stream's header, T the server's address, C one more
configuration of the header, R a row, E the end of a batch. A row is written before `add` returns:
it outlives the process. The end of a batch is synced: it outlives a loss of power. Frames are only
ever appended. What a stream's id promises, the same batches each time, is what the E frames say.

A binary log, because each row is a write of its own: for it SQLite in WAL mode takes some ten times
as long (`python -m tests.bench runner`), and JSON Lines twice the bytes.
"""

import contextlib
import errno
import fcntl
import logging
import os
import struct
import threading
import uuid
import weakref
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

from servemark.client.ledger import StreamError
from servemark.ingest.v1 import result_stream_pb2 as stream_pb2
from servemark.ingest.v1.benchmark_result_pb2 import ResultRow

SUFFIX = ".spool"
REFUSED_SUFFIX = ".refused"
"""Rows that the server refused, kept until somebody sends them again or drops them."""
TORN_SUFFIX = ".torn"

_MAGIC = b"servemark spool 1\n"
_FRAME = struct.Struct("<cII")
_HEADER, _TARGET, _CONFIG, _ROW, _END = b"H", b"T", b"C", b"R", b"E"
_log = logging.getLogger(__name__)


class SpoolError(StreamError):
    """A spool that cannot be used: the sentence says why."""


class SpoolInUseError(SpoolError):
    """Another stream or process holds the file."""


class Segment:
    """The results of one stream, on disk until the server has acknowledged all of them.

    Whoever has a segment holds its lock; it ends with the process. One thread at a time may write,
    while another reads the batches that are complete.
    """

    def __init__(self, path: Path, fd: int, size: int) -> None:
        self.path = path
        self.header = stream_pb2.StreamHeader()
        self.target = ""
        self.torn_bytes = 0
        self._fd = fd
        self._size = size
        self._changed = threading.Condition()
        # Where each complete batch ends, and how many rows have been written up to there.
        self._ends: list[int] = []
        self._counts: list[int] = []
        self._first = size
        self._row_count = 0
        self._is_sealed = False
        self._is_abandoned = False
        _open_segments.add(self)

    @classmethod
    def create(
        cls, folder: Path, header: stream_pb2.StreamHeader, target: str, suffix: str = SUFFIX
    ) -> Self:
        """A new segment of an existing folder, with the header's stream id for a name.

        Raises SpoolError if it cannot be made there.
        """
        path = folder / f"{header.stream_id}{suffix}"
        # Under another name until it is locked: nobody may take it for one that was left behind.
        new = path.with_suffix(".new")
        try:
            fd = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        except OSError as error:
            raise SpoolError(f"{folder} cannot be used as a spool: {error.strerror}.") from None
        segment = cls(path, fd, 0)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            segment._write(_MAGIC)
            segment._write(_frame(_HEADER, header.SerializeToString()))
            segment._write(_frame(_TARGET, target.encode()))
            new.rename(path)
        except OSError as error:
            segment.close()
            new.unlink(missing_ok=True)
            raise SpoolError(f"{path} cannot be written: {error.strerror}.") from None
        _sync_folder(folder)
        segment.header.CopyFrom(header)
        segment.target = target
        segment._first = segment._size
        return segment

    @classmethod
    def open(cls, path: Path) -> Self:
        """A segment that was left behind, locked, mended and complete: its last batch is ended.

        A frame that was not written whole is cut off, with what may follow, and kept beside in a
        file that ends in .torn. Raises SpoolInUseError if another one has it, FileNotFoundError if
        it is gone by now, and SpoolError if it is no spool.
        """
        fd = os.open(path, os.O_RDWR | os.O_APPEND)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not _is_at(fd, path):
                raise FileNotFoundError(path)
        except BlockingIOError:
            os.close(fd)
            raise SpoolInUseError(f"{path} is in use by a running process.") from None
        except OSError:
            os.close(fd)
            raise
        segment = cls(path, fd, os.fstat(fd).st_size)
        try:
            segment._read()
        except BaseException:
            segment.close()
            raise
        return segment

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return self._size

    @property
    def row_count(self) -> int:
        """Rows that were added."""
        return self._row_count

    @property
    def batch_count(self) -> int:
        """Batches that are complete."""
        return len(self._ends)

    def name(self, config: stream_pb2.ConfigSpec) -> None:
        """Adds a configuration to the header, as long as no batch is complete."""
        self._write(_frame(_CONFIG, config.SerializeToString()))
        self.header.configs.append(config)
        if not self._row_count:
            self._first = self._size

    def add(self, row: bytes) -> None:
        """Writes a serialised row; when this returns, it outlives the process.

        Raises OSError if it could not be written; then nothing of it is there.
        """
        self._write(_frame(_ROW, row))
        self._row_count += 1

    def end_batch(self) -> None:
        """Completes a batch of what was added since the last; when this returns, it outlives a
        loss of power. Raises OSError."""
        self._write(_frame(_END, b""))
        os.fdatasync(self._fd)
        with self._changed:
            self._ends.append(self._size)
            self._counts.append(self._row_count)
            self._changed.notify_all()

    def seal(self) -> None:
        """Says that no more is coming."""
        with self._changed:
            self._is_sealed = True
            self._changed.notify_all()

    def abandon(self) -> None:
        """Lets whoever waits for a batch end with a StreamError."""
        with self._changed:
            self._is_abandoned = True
            self._changed.notify_all()

    def batch(self, sequence: int) -> list[ResultRow] | None:
        """The rows of a batch, once it is complete; None if the stream ends before it.

        Raises StreamError if the segment is abandoned.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._is_abandoned or self._is_sealed or sequence < len(self._ends)
            )
            if self._is_abandoned:
                raise StreamError("The stream was abandoned.")
            if sequence >= len(self._ends):
                return None
            start = self._ends[sequence - 1] if sequence else self._first
            length = self._ends[sequence] - start
        content = os.pread(self._fd, length, start)
        return [ResultRow.FromString(data) for kind, data, _ in _frames(content) if kind == _ROW]

    def remove(self, refused: Sequence[ResultRow] = ()) -> None:
        """Deletes the file, everything in it being acknowledged; keeps refused rows in another."""
        if refused:
            header = stream_pb2.StreamHeader()
            header.CopyFrom(self.header)
            # What was refused may be fine once the catalog knows more, but not in the same stream:
            # a batch below its cursor is never looked at again.
            header.stream_id = str(uuid.uuid4())
            kept = Segment.create(self.path.parent, header, self.target, REFUSED_SUFFIX)
            for row in refused:
                kept.add(row.SerializeToString())
            kept.end_batch()
            kept.close()
        self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Lets go of the file, which stays."""
        if self in _open_segments:
            _open_segments.discard(self)
            os.close(self._fd)

    def _write(self, data: bytes) -> None:
        try:
            written = os.write(self._fd, data)
            if written < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            # Nothing may follow half a frame.
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self._size)
            raise
        self._size += len(data)

    def _read(self) -> None:
        """Reads what is there; ends the last batch."""
        if os.pread(self._fd, len(_MAGIC), 0) != _MAGIC:
            raise SpoolError(f"{self.path} is not a spool of this version.")
        content = os.pread(self._fd, self._size, 0)
        end = len(_MAGIC)
        for kind, data, frame_end in _frames(content, end):
            end = frame_end
            if kind == _HEADER:
                self.header.ParseFromString(data)
            elif kind == _TARGET:
                self.target = data.decode()
            elif kind == _CONFIG:
                self.header.configs.append(stream_pb2.ConfigSpec.FromString(data))
            elif kind == _ROW:
                self._row_count += 1
            elif kind == _END:
                self._ends.append(end)
                self._counts.append(self._row_count)
            if not self._row_count:
                self._first = end
        if not self.header.stream_id:
            raise SpoolError(f"{self.path} has no header: nothing was written into it.")
        if end < self._size:
            self._cut(content[end:], end)
        if self._row_count > (self._counts[-1] if self._counts else 0):
            self.end_batch()
        self._is_sealed = True

    def _cut(self, torn: bytes, end: int) -> None:
        beside = self.path.with_suffix(TORN_SUFFIX)
        beside.write_bytes(torn)
        os.ftruncate(self._fd, end)
        self._size, self.torn_bytes = end, len(torn)
        _log.warning("%s ended in %d bytes that are no frame; see %s", self.path, len(torn), beside)


def _frame(kind: bytes, content: bytes) -> bytes:
    return _FRAME.pack(kind, len(content), zlib.crc32(content, kind[0])) + content


def _frames(content: bytes, start: int = 0) -> Iterator[tuple[bytes, bytes, int]]:
    """The kind, content and end of each frame, up to the first that is not whole."""
    while start + _FRAME.size <= len(content):
        kind, length, checksum = _FRAME.unpack_from(content, start)
        end = start + _FRAME.size + length
        data = content[start + _FRAME.size : end]
        if end > len(content) or zlib.crc32(data, kind[0]) != checksum:
            return
        yield kind, data, end
        start = end


def _is_at(fd: int, path: Path) -> bool:
    return os.path.samestat(os.fstat(fd), path.stat())


def _sync_folder(folder: Path) -> None:
    """Makes a new name outlive a loss of power."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


_open_segments: "weakref.WeakSet[Segment]" = weakref.WeakSet()


def _let_go() -> None:
    """In a forked child: it must not hold the locks of its parent, nor outlive it with them."""
    for segment in list(_open_segments):
        segment.close()


os.register_at_fork(after_in_child=_let_go)
