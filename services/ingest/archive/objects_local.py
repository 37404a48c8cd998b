"""Files of the archive in a folder of this machine.

A file is written beside its place under a temporary name, flushed to the disk and renamed, and the
folder is flushed, too: once `commit` has returned, a power cut takes nothing away.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from services.ingest.archive.objects import READ_BYTES
from services.ingest.archive.records import ArchiveAwayError, DamagedError

TEMPORARY_SUFFIX: Final = ".part"


@contextmanager
def _told(location: str) -> Iterator[None]:
    """Says in our words what the file system refuses."""
    try:
        yield
    except FileNotFoundError as error:
        raise DamagedError(f"{Path(error.filename or '').name} is missing.") from error
    except OSError as error:
        raise ArchiveAwayError(
            f"The archive at {location} refuses: {error.strerror or type(error).__name__}."
        ) from error


class _FileSink:
    def __init__(self, location: str, path: Path) -> None:
        self._location = location
        self._path = path
        self._temporary = path.with_name(path.name + TEMPORARY_SUFFIX)
        with _told(location):
            _make_folder(path.parent)
            # Only its owner may read results; whoever shares the folder can widen that.
            descriptor = os.open(self._temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            self._file = os.fdopen(descriptor, "wb")

    def write(self, data: bytes, /) -> int:
        with _told(self._location):
            return self._file.write(data)

    def commit(self) -> None:
        with _told(self._location):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._temporary.rename(self._path)
            _flush_folder(self._path.parent)

    def abort(self) -> None:
        self._file.close()
        self._temporary.unlink(missing_ok=True)


class LocalObjects:
    """The files below a folder, which is made with the first. See ArchiveObjects."""

    def __init__(self, location: str, root: Path) -> None:
        self.location = location
        self._root = root

    def create(self, name: str) -> _FileSink:
        return _FileSink(self.location, self._root / name)

    def put(self, name: str, data: bytes) -> None:
        sink = self.create(name)
        try:
            sink.write(data)
            sink.commit()
        except BaseException:
            sink.abort()
            raise

    def get(self, name: str) -> bytes:
        with _told(self.location):
            return (self._root / name).read_bytes()

    def pieces(self, name: str) -> Iterator[bytes]:
        with _told(self.location), (self._root / name).open("rb") as file:
            while piece := file.read(READ_BYTES):
                yield piece

    def open(self, name: str) -> BinaryIO:
        with _told(self.location):
            return (self._root / name).open("rb")

    def exists(self, name: str) -> bool:
        with _told(self.location):
            return (self._root / name).is_file()

    def delete(self, name: str) -> None:
        path = self._root / name
        with _told(self.location):
            path.unlink(missing_ok=True)
            path.with_name(path.name + TEMPORARY_SUFFIX).unlink(missing_ok=True)

    def names(self) -> Iterator[str]:
        with _told(self.location):
            for path in self._root.rglob("*"):
                if path.is_file() and path.suffix != TEMPORARY_SUFFIX:
                    yield path.relative_to(self._root).as_posix()


def _make_folder(folder: Path) -> None:
    """Makes a folder and those above it, each durable."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    _flush_folder(folder.parent)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
