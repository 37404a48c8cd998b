"""Messages of the gateway's API to its own words, and back."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp

from servemark.gateway.v1 import api_key_pb2 as pb
from servemark.gateway.v1.setting_pb2 import ResultVisibility
from servemark.runtime.paging import token_invalid
from servemark.runtime.validation import Violations
from services.gateway.convert_limits import limits_to_proto, own_limits_from_proto
from services.gateway.grants import ADMIN, INGEST, SCOPES
from services.gateway.key_limits import OwnLimits
from services.gateway.store import ApiKey

MAX_NAME_LENGTH = 128
MAX_ID_LENGTH = 64
# Bound so that they fit into the metadata of a call.
MAX_HARDWARE = 64
MAX_HARDWARE_LENGTH = 256
MAX_HARDWARE_BYTES = 4096
OVERLAP = timedelta(days=1)
MAX_OVERLAP = timedelta(days=90)

_ROW_ID = re.compile(r"[0-9A-Za-z-]{1,64}", re.ASCII)
_NAME_OF_SCOPE: dict[int, str] = {pb.Scope.Value(f"SCOPE_{name}"): name for name in SCOPES}
_SCOPE_OF_NAME = {name: value for value, name in _NAME_OF_SCOPE.items()}


@dataclass(frozen=True, slots=True)
class KeyWish:
    """What CreateApiKey asks for."""

    name: str
    scopes: tuple[str, ...]
    expires_at: datetime | None
    hardware: tuple[str, ...]
    user_id: UUID | None
    publishes: bool | None
    limits: OwnLimits


@dataclass(frozen=True, slots=True)
class RotationWish:
    """What RotateApiKey asks for."""

    key_id: str
    overlap: timedelta
    expires_at: datetime | None


def key_wish_from_proto(request: pb.CreateApiKeyRequest, now: datetime) -> KeyWish:
    """The wish in a request. Raises INVALID_FIELD with every wrong field."""
    violations = Violations()
    name = violations.text("name", request.name, max_len=MAX_NAME_LENGTH)
    if not request.scopes:
        violations.add("scopes", "needs at least one scope")
    scopes = _scopes(violations, request.scopes)
    wish = KeyWish(
        name=name,
        scopes=scopes,
        expires_at=_expiry(violations, request, now),
        hardware=_hardware(violations, request.hardware, scopes),
        user_id=violations.uuid("user_id", request.user_id, required=False),
        publishes=publishes_from_proto(violations, "result_visibility", request.result_visibility),
        limits=own_limits_from_proto(violations, request.limits),
    )
    violations.raise_if_any()
    return wish


def rotation_wish_from_proto(request: pb.RotateApiKeyRequest, now: datetime) -> RotationWish:
    """The wish in a request. Raises INVALID_FIELD with every wrong field."""
    violations = Violations()
    key_id = violations.text("id", request.id, max_len=MAX_ID_LENGTH)
    overlap = OVERLAP
    if request.HasField("overlap"):
        seconds = request.overlap.seconds + request.overlap.nanos / 1e9
        violations.number("overlap", seconds, low=0, high=MAX_OVERLAP.total_seconds())
        overlap = timedelta(seconds=min(max(seconds, 0), MAX_OVERLAP.total_seconds()))
    wish = RotationWish(key_id, overlap, _expiry(violations, request, now))
    violations.raise_if_any()
    return wish


def key_id_from_proto(
    request: pb.GetApiKeyRequest | pb.RevokeApiKeyRequest | pb.UpdateApiKeyLimitsRequest,
) -> str:
    """The id of the key that a request is about. Raises INVALID_FIELD."""
    violations = Violations()
    key_id = violations.text("id", request.id, max_len=MAX_ID_LENGTH)
    violations.raise_if_any()
    return key_id


def publishes_from_proto(violations: Violations, field: str, value: int) -> bool | None:
    """Whether a visibility is public; None where it is not set."""
    violations.enum(field, value, ResultVisibility.values(), required=False)
    if value == ResultVisibility.RESULT_VISIBILITY_UNSPECIFIED:
        return None
    return value == ResultVisibility.RESULT_VISIBILITY_PUBLIC


def visibility_to_proto(publishes: bool) -> "ResultVisibility.ValueType":
    """A visibility as it is shown."""
    if publishes:
        return ResultVisibility.RESULT_VISIBILITY_PUBLIC
    return ResultVisibility.RESULT_VISIBILITY_PRIVATE


def api_key_to_proto(key: ApiKey) -> pb.ApiKey:
    """A key as it is shown."""
    message = pb.ApiKey(
        id=key.id,
        organization_id=str(key.organization_id),
        name=key.name,
        hardware=key.hardware,
        user_id="" if key.user_id is None else str(key.user_id),
        result_visibility=visibility_to_proto(key.publishes),
        scopes=[pb.Scope.ValueType(_SCOPE_OF_NAME[scope]) for scope in key.scopes],
        limits=limits_to_proto(key.limits),
    )
    for field, at in (
        (message.create_time, key.created_at),
        (message.expire_time, key.expires_at),
        (message.revoke_time, key.revoked_at),
        (message.last_use_time, key.last_used_at),
        (message.old_secret_expire_time, key.previous_until),
    ):
        if at is not None:
            field.FromDatetime(at)
    return message


def page_start_to_token_key(created_at: datetime, row_id: object) -> tuple[str, str]:
    """The sort key of the last row of a page, as its token holds it."""
    return created_at.isoformat(), str(row_id)


def page_start_from_token_key(key: Sequence[Any] | None) -> tuple[datetime, str] | None:
    """Where a page begins. Raises PAGE_TOKEN_INVALID: anyone can write a token."""
    if key is None:
        return None
    created_at, row_id = key
    try:
        at = datetime.fromisoformat(created_at)
        if at.tzinfo is not None and isinstance(row_id, str) and _ROW_ID.fullmatch(row_id):
            return at, row_id
    except (ValueError, TypeError):
        pass
    raise token_invalid()


def time_from_proto(violations: Violations, field: str, value: Timestamp) -> datetime | None:
    """The time in a field; None, and noted, where it is not one."""
    try:
        return value.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        violations.add(field, "is not a time between the years 1 and 9999")
        return None


def _expiry(
    violations: Violations,
    request: pb.CreateApiKeyRequest | pb.RotateApiKeyRequest,
    now: datetime,
) -> datetime | None:
    if not request.HasField("expire_time"):
        return None
    expires_at = time_from_proto(violations, "expire_time", request.expire_time)
    if expires_at is not None and expires_at <= now:
        violations.add("expire_time", "is not in the future")
    return expires_at


def _hardware(
    violations: Violations, values: Sequence[str], scopes: Sequence[str]
) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for index, value in enumerate(values[:MAX_HARDWARE]):
        field = f"hardware[{index}]"
        name = violations.text(field, value, max_len=MAX_HARDWARE_LENGTH)
        if not name.isascii() or "," in name:
            violations.add(field, "has characters that are not ASCII, or a comma")
        names[name] = None
    if len(values) > MAX_HARDWARE:
        violations.add("hardware", f"has more than {MAX_HARDWARE} entries")
    if sum(len(name) for name in names) > MAX_HARDWARE_BYTES:
        violations.add("hardware", f"has more than {MAX_HARDWARE_BYTES} characters together")
    if names and (INGEST not in scopes or ADMIN in scopes):
        violations.add("hardware", "is for keys with the scope INGEST and without ADMIN")
    return tuple(names)


def _scopes(violations: Violations, values: Sequence[int]) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for index, value in enumerate(values):
        violations.enum(f"scopes[{index}]", value, (0, *_NAME_OF_SCOPE))
        if value in _NAME_OF_SCOPE:
            names[_NAME_OF_SCOPE[value]] = None
    return tuple(names)
