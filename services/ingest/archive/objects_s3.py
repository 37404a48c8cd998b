"""Files of the archive in a bucket that speaks S3.

Endpoint, region and credentials are the usual variables: AWS_ENDPOINT_URL, AWS_REGION,
AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN; without keys, the machine's own role.
They are read by the client itself and stand in no log: of its errors only the kind is told.

A large object goes up in parts and is visible once the last is confirmed. Parts of an upload whose
process died cost storage until the bucket drops them: give it a rule for incomplete uploads.
"""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cached_property
from typing import Any, BinaryIO, Final, cast
from urllib.parse import urlsplit

from services.ingest.archive.objects import READ_BYTES
from services.ingest.archive.packages import load
from services.ingest.archive.records import ArchiveAwayError, DamagedError

# S3 takes at most 10,000 parts: of this size they make 160 GB.
_PART_BYTES: Final = 16 * 1024 * 1024
_TIMEOUT: Final = timedelta(seconds=30)
_RETRIES: Final = 4


@contextmanager
def _told(location: str, name: str) -> Iterator[None]:
    """Says in our words what the store refuses. Its own may hold parts of the credentials."""
    try:
        yield
    except FileNotFoundError as error:
        raise DamagedError(f"{name.rpartition('/')[2]} is missing.") from error
    except load("obstore.exceptions").BaseError as error:
        raise ArchiveAwayError(
            f"The archive at {location} does not answer, or refuses ({type(error).__name__})."
        ) from error
    except OSError as error:
        raise ArchiveAwayError(
            f"The archive at {location} does not answer ({type(error).__name__})."
        ) from error


class _ObjectSink:
    def __init__(self, location: str, name: str, store: Any) -> None:
        self._location = location
        self._name = name
        with _told(location, name):
            # Leaving it with an error is what makes it give up the parts that are there.
            self._upload = load("obstore").open_writer(store, name, buffer_size=_PART_BYTES)
            self._file = self._upload.__enter__()
        self._open = True

    def write(self, data: bytes, /) -> int:
        with _told(self._location, self._name):
            self._file.write(data)
        return len(data)

    def commit(self) -> None:
        with _told(self._location, self._name):
            self._upload.__exit__(None, None, None)
        self._open = False

    def abort(self) -> None:
        if self._open:
            self._open = False
            error = InterruptedError("the upload was given up")
            with _told(self._location, self._name):
                self._upload.__exit__(InterruptedError, error, None)


class _RangeFile(io.RawIOBase):
    """An object as a file that can be read at any place: each read asks for a range."""

    def __init__(self, location: str, name: str, store: Any) -> None:
        self._location = location
        self._name = name
        self._store = store
        self._place = 0
        with _told(location, name):
            self._size = int(load("obstore").head(store, name)["size"])

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        self._place = start + offset
        return self._place

    def tell(self) -> int:
        return self._place

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(0, self._size - self._place)
        wanted = left if size is None or size < 0 else min(size, left)
        if not wanted:
            return b""
        with _told(self._location, self._name):
            found = load("obstore").get_range(
                self._store, self._name, start=self._place, length=wanted
            )
        self._place += len(found)
        return bytes(found)


class S3Objects:
    """The objects below a prefix of a bucket. See ArchiveObjects."""

    def __init__(self, location: str) -> None:
        self.location = location

    @cached_property
    def _store(self) -> Any:
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL", "")
        with _told(self.location, ""):
            return load("obstore.store").from_url(
                self.location,
                client_options={
                    "allow_http": urlsplit(endpoint).scheme == "http",
                    "timeout": _TIMEOUT,
                },
                retry_config={"max_retries": _RETRIES, "retry_timeout": _TIMEOUT},
            )

    def create(self, name: str) -> _ObjectSink:
        return _ObjectSink(self.location, name, self._store)

    def put(self, name: str, data: bytes) -> None:
        with _told(self.location, name):
            load("obstore").put(self._store, name, data)

    def get(self, name: str) -> bytes:
        with _told(self.location, name):
            return bytes(load("obstore").get(self._store, name).bytes())

    def pieces(self, name: str) -> Iterator[bytes]:
        with _told(self.location, name):
            found = load("obstore").get(self._store, name)
            for piece in found.stream(min_chunk_size=READ_BYTES):
                yield bytes(piece)

    def open(self, name: str) -> BinaryIO:
        return cast("BinaryIO", _RangeFile(self.location, name, self._store))

    def exists(self, name: str) -> bool:
        try:
            with _told(self.location, name):
                load("obstore").head(self._store, name)
        except DamagedError:
            return False
        return True

    def delete(self, name: str) -> None:
        try:
            with _told(self.location, name):
                load("obstore").delete(self._store, name)
        except DamagedError:
            return

    def names(self) -> Iterator[str]:
        with _told(self.location, ""):
            for found in load("obstore").list(self._store):
                for item in found:
                    yield item["path"]
