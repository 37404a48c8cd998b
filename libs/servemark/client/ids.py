"""Result ids that name the same record every time it is sent."""

import hashlib
import secrets
import uuid
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_SECONDS_A_DAY = 86_400


def uuid7(time_ms: int, random_bytes: bytes | None = None) -> uuid.UUID:
    """The UUIDv7 (RFC 9562) of a time and ten random bytes.

    time_ms: milliseconds since 1970, 0 to 2^48 - 1. random_bytes: at least 10 bytes, of which 74
    bits are used; without them the id is a fresh one. Raises ValueError outside these ranges.
    """
    if not 0 <= time_ms < 1 << 48:
        raise ValueError(f"time_ms is {time_ms}; a UUIDv7 holds 0 to 2^48 - 1 milliseconds")
    if random_bytes is None:
        random_bytes = secrets.token_bytes(10)
    if len(random_bytes) < 10:
        raise ValueError(f"random_bytes has {len(random_bytes)} bytes; a UUIDv7 needs 10")
    return uuid.UUID(bytes=uuid7_bytes(time_ms, int.from_bytes(random_bytes[:10], "big")))


def uuid7_bytes(time_ms: int, bits: int) -> bytes:
    """The 16 bytes of the UUIDv7 of a time and the lowest 74 of the given bits.

    For many ids at once: it makes no UUID object. `time_ms` has to be within its range.
    """
    high, low = (bits >> 62) & 0xFFF, bits & ((1 << 62) - 1)
    return (time_ms << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low).to_bytes(16, "big")


def time_ms(time: datetime) -> int:
    """Whole milliseconds from 1970 to an aware time, rounded down as the server does."""
    return (time - _EPOCH) // _MILLISECOND


def time_us(time: datetime) -> int:
    """Microseconds from 1970 to an aware time. Raises ValueError for one without a zone, which read
    as UTC would be hours off, and for one before 1970."""
    if time.tzinfo is None:
        raise ValueError(f"{time.isoformat()} has no zone; use datetime.now(UTC) or add an offset")
    since = time - _EPOCH
    if since.days < 0:
        raise ValueError(f"{time.isoformat()} is before 1970")
    return (since.days * _SECONDS_A_DAY + since.seconds) * 1_000_000 + since.microseconds


def text(id_bytes: bytes) -> str:
    """The id as it is written in requests and rejections."""
    digits = id_bytes.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def result_id(benchmark_time: datetime, record_hash: bytes) -> uuid.UUID:
    """The id of a record: its benchmark time, and random bits taken from its SHA-256.

    The same record gets the same id wherever and whenever it is read, so that sending it again
    stores nothing twice.
    """
    return uuid7(time_ms(benchmark_time), record_hash)


def stream_id(*parts: bytes) -> uuid.UUID:
    """A stream id (UUIDv8, RFC 9562) made from what the stream will carry.

    A stream id promises the server the same batches in the same order. So everything that decides
    them belongs into the parts: the header, the ids of the rows, the size of a batch.
    """
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    value = int.from_bytes(digest.digest()[:16], "big")
    value = value & ~(0xF << 76) | 0x8 << 76
    value = value & ~(0b11 << 62) | 0b10 << 62
    return uuid.UUID(int=value)
