"""Where the files of the archive lie: a folder of this machine, or a bucket that speaks S3.

An object is there as a whole or not at all. Every method blocks; call them in a thread.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, Protocol
from urllib.parse import unquote, urlsplit

# Bytes read at a time.
READ_BYTES: Final = 8 * 1024 * 1024
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


class ObjectSink(Protocol):
    """An object being written. It is there once `commit` has returned, for good."""

    def write(self, data: bytes, /) -> int:
        """Adds bytes; how many."""
        ...

    def commit(self) -> None:
        """Makes the object durable and visible."""
        ...

    def abort(self) -> None:
        """Leaves nothing of it. After `commit`, does nothing."""
        ...


class ArchiveObjects(Protocol):
    """The objects below one location, by name. What fails raises ArchiveAwayError."""

    location: str

    def create(self, name: str) -> ObjectSink:
        """Begins an object. One that is there stays until the new one is committed."""
        ...

    def put(self, name: str, data: bytes) -> None:
        """Writes a small object."""
        ...

    def get(self, name: str) -> bytes:
        """A small object. Raises DamagedError where it is not there."""
        ...

    def pieces(self, name: str) -> Iterator[bytes]:
        """An object's bytes from the first to the last. Raises DamagedError likewise."""
        ...

    def open(self, name: str) -> BinaryIO:
        """An object for reading at any place. Raises DamagedError likewise."""
        ...

    def exists(self, name: str) -> bool:
        """Whether the object is there."""
        ...

    def delete(self, name: str) -> None:
        """Removes an object, and what is left of one that was never committed."""
        ...

    def names(self) -> Iterator[str]:
        """The names of all objects."""
        ...


def check_location(url: str) -> str:
    """The location, tidied. Raises ValueError for what is not one."""
    parts = urlsplit(url)
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError(
            "must have no user, query or fragment; credentials come from AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY"
        )
    if parts.scheme == "file" and not parts.netloc and parts.path.startswith("/"):
        return url.rstrip("/")
    if parts.scheme == "s3" and _BUCKET.fullmatch(parts.netloc):
        return url.rstrip("/")
    raise ValueError("must look like file:///folder or s3://bucket/prefix")


def open_objects(location: str) -> ArchiveObjects:
    """The objects at a location that `check_location` took. Nothing is read or written yet."""
    parts = urlsplit(location)
    if parts.scheme == "file":
        from services.ingest.archive.objects_local import LocalObjects

        return LocalObjects(location, Path(unquote(parts.path)))
    from services.ingest.archive.objects_s3 import S3Objects

    return S3Objects(location)
