"""What the parts of the archive hand to each other, and what goes wrong in it."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from servemark.runtime.errors import ServemarkError
from servemark.type.v1.error_reason_pb2 import ErrorReason


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What tells one set of rows from another: their number, and a checksum of 32 bytes.

    The checksum is the XOR of each row's SHA-256 over the bits of all its columns, so the order of
    the rows does not matter. No row is there twice, so none cancels another.
    """

    row_count: int
    checksum: bytes


@dataclass(frozen=True, slots=True)
class WrittenDay:
    """A finished file of the archive: `sha256` is of its bytes, `fingerprint` of its rows."""

    day: date
    object_name: str
    byte_size: int
    sha256: bytes
    fingerprint: Fingerprint
    archived_at: datetime


@dataclass(frozen=True, slots=True)
class ArchivedDay:
    """A day in the archive as the database knows it.

    `dropped_at` is None while the day's rows are here. A restored day is not dropped again before
    `keep_until`.
    """

    written: WrittenDay
    verified_at: datetime
    dropped_at: datetime | None = None
    restored_at: datetime | None = None
    keep_until: datetime | None = None

    @property
    def day(self) -> date:
        """The UTC day."""
        return self.written.day


@dataclass(frozen=True, slots=True)
class StoredDay:
    """A day that the database has room for."""

    day: date
    byte_size: int
    is_compressed: bool


@dataclass(frozen=True, slots=True)
class DaySpan:
    """Days from `start` to the one before `end`; None: no end on that side."""

    start: date | None = None
    end: date | None = None

    @classmethod
    def one(cls, day: date) -> "DaySpan":
        """That day alone."""
        return cls(day, day + timedelta(days=1))


class ArchiveError(Exception):
    """Something about the archive that whoever runs it can act on: str() is a sentence."""


class ArchiveNotUsableError(ArchiveError):
    """There is no archive, or a package it needs is not installed."""


class ArchiveAwayError(ArchiveError):
    """The place the archive lies in does not answer, or refuses."""


class DamagedError(ArchiveError):
    """A file of the archive is missing, or is not what was written."""


def translate_archive_error(error: BaseException) -> ServemarkError | None:
    """What an error of the archive means to a caller; None for others."""
    if isinstance(error, ArchiveNotUsableError):
        return ServemarkError(ErrorReason.ERROR_REASON_ARCHIVE_NOT_USABLE, str(error))
    if isinstance(error, ArchiveError):
        return ServemarkError(
            ErrorReason.ERROR_REASON_DEPENDENCY_UNAVAILABLE,
            f"{error} What was done before is done; call again.",
            metadata={"dependency": "The archive"},
            retry_after=5.0,
        )
    return None
