"""Page sizes and keyset page tokens.

A token holds the sort key of the last row that was returned and a digest of the method and its
filters, so a token used with other filters is refused instead of giving wrong pages.
"""

import base64
import binascii
import hashlib
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import orjson

from servemark.runtime.errors import ServemarkError
from servemark.runtime.validation import Violations
from servemark.type.v1.error_reason_pb2 import ErrorReason

Row = TypeVar("Row")

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 1000


def page_size(violations: Violations, requested: int, field: str = "page_size") -> int:
    """The number of rows to return: the requested one, or 50 for 0."""
    violations.number(field, requested, low=0, high=MAX_PAGE_SIZE)
    return requested or DEFAULT_PAGE_SIZE


def filter_digest(method: str, *parts: bytes | str) -> str:
    """A short digest that binds a token to its method and filters."""
    digest = hashlib.sha256(method.encode())
    for part in parts:
        digest.update(b"\x00")
        digest.update(part.encode() if isinstance(part, str) else part)
    return digest.hexdigest()[:16]


def encode_token(digest: str, key: Sequence[Any]) -> str:
    """The token that continues after the row with sort key `key` (JSON values)."""
    raw = orjson.dumps([digest, list(key)])
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def next_token(
    digest: str, rows: Sequence[Row], size: int, key: Callable[[Row], Sequence[Any]]
) -> str:
    """The token that continues after the first `size` of the rows; empty where these are all."""
    return encode_token(digest, key(rows[size - 1])) if len(rows) > size else ""


def decode_token(digest: str, token: str, length: int) -> list[Any] | None:
    """The sort key in `token`, or None for an empty token.

    Raises PAGE_TOKEN_INVALID for a token that was not made with this digest and `length` values.
    """
    if not token:
        return None
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        made_for, key = orjson.loads(raw)
        if made_for == digest and isinstance(key, list) and len(key) == length:
            return key
    except (ValueError, TypeError, binascii.Error):
        pass
    raise token_invalid()


def token_invalid() -> ServemarkError:
    """The error for a token that was not made here; also for a sort key that cannot be one."""
    return ServemarkError(
        ErrorReason.ERROR_REASON_PAGE_TOKEN_INVALID,
        "The page token was not made by this method for these filters. Start again without one.",
    )
