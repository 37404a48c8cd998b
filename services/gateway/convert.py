"""Messages of the gateway's API to its own words, and back."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from servemark.gateway.v1 import api_key_pb2 as pb
from servemark.runtime.paging import token_invalid
from servemark.runtime.validation import Violations
from services.gateway.grants import SCOPES
from services.gateway.store import ApiKey

MAX_NAME_LENGTH = 128
MAX_ID_LENGTH = 64

_NAME_OF_SCOPE: dict[int, str] = {pb.Scope.Value(f"SCOPE_{name}"): name for name in SCOPES}
_SCOPE_OF_NAME = {name: value for value, name in _NAME_OF_SCOPE.items()}


@dataclass(frozen=True, slots=True)
class KeyWish:
    """What CreateApiKey asks for."""

    name: str
    scopes: tuple[str, ...]
    expires_at: datetime | None


def key_wish_from_proto(request: pb.CreateApiKeyRequest, now: datetime) -> KeyWish:
    """The wish in a request. Raises INVALID_FIELD with every wrong field."""
    violations = Violations()
    name = violations.text("name", request.name, max_len=MAX_NAME_LENGTH)
    if not request.scopes:
        violations.add("scopes", "needs at least one scope")
    scopes = _scopes(violations, request.scopes)
    expires_at = None
    if request.HasField("expire_time"):
        expires_at = _time(request.expire_time)
        if expires_at is None:
            violations.add("expire_time", "is not a time between the years 1 and 9999")
        elif expires_at <= now:
            violations.add("expire_time", "is not in the future")
    violations.raise_if_any()
    return KeyWish(name, scopes, expires_at)


def api_key_to_proto(key: ApiKey) -> pb.ApiKey:
    """A key as it is shown."""
    message = pb.ApiKey(
        id=key.id,
        name=key.name,
        scopes=[pb.Scope.ValueType(_SCOPE_OF_NAME[scope]) for scope in key.scopes],
    )
    for field, at in (
        (message.create_time, key.created_at),
        (message.expire_time, key.expires_at),
        (message.revoke_time, key.revoked_at),
        (message.last_use_time, key.last_used_at),
    ):
        if at is not None:
            field.FromDatetime(at)
    return message


def page_start_to_token_key(last: ApiKey) -> tuple[str, str]:
    """The sort key of the last key of a page, as its token holds it."""
    return last.created_at.isoformat(), last.id


def page_start_from_token_key(key: Sequence[Any] | None) -> tuple[datetime, str] | None:
    """Where a page begins. Raises PAGE_TOKEN_INVALID: anyone can write a token."""
    if key is None:
        return None
    created_at, key_id = key
    try:
        at = datetime.fromisoformat(created_at)
        if at.tzinfo is not None and isinstance(key_id, str) and key_id.isalnum():
            return at, key_id
    except (ValueError, TypeError):
        pass
    raise token_invalid()


def _scopes(violations: Violations, values: Sequence[int]) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for index, value in enumerate(values):
        violations.enum(f"scopes[{index}]", value, (0, *_NAME_OF_SCOPE))
        if value in _NAME_OF_SCOPE:
            names[_NAME_OF_SCOPE[value]] = None
    return tuple(names)


def _time(value: Timestamp) -> datetime | None:
    try:
        return value.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
