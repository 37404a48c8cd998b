"""Fields that many resources have: free JSON, lists of words, times, and a resource's history."""

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

import orjson
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp

from servemark.runtime.validation import Violations
from services.catalog.records import ResourceRow

MAX_FILTER_VALUES = 1000
# Whole numbers up to here are the same as a double and as an integer.
_EXACT = 2**53


class _WithHistory(Protocol):
    id: str
    etag: str

    @property
    def create_time(self) -> Timestamp: ...
    @property
    def update_time(self) -> Timestamp: ...
    @property
    def archive_time(self) -> Timestamp: ...


def history_to_proto(row: ResourceRow, message: _WithHistory) -> None:
    """Fills in what every resource has: id, etag and its times."""
    message.id = str(row.id)
    message.etag = str(row.etag)
    message.create_time.FromDatetime(row.created_at)
    message.update_time.FromDatetime(row.updated_at)
    if row.archived_at is not None:
        message.archive_time.FromDatetime(row.archived_at)


def json_from_proto(violations: Violations, field: str, struct: Struct) -> dict[str, Any]:
    """The JSON object; noted where it is too large, too deep or not finite."""
    value = {key: _plain(item) for key, item in struct.fields.items()}
    # orjson writes what is not finite as null; `json_object` names it.
    violations.json_object(field, value, len(orjson.dumps(value)))
    return value


def json_to_proto(value: Mapping[str, Any], struct: Struct) -> None:
    """Fills the struct; an empty object leaves it absent."""
    if value:
        ParseDict(dict(value), struct)


def _plain(value: Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return {key: _plain(item) for key, item in value.struct_value.fields.items()}
    if kind == "list_value":
        return [_plain(item) for item in value.list_value.values]
    if kind is None or kind == "null_value":
        return None
    plain = getattr(value, kind)
    if kind == "number_value" and plain.is_integer() and abs(plain) < _EXACT:
        return int(plain)
    return plain


def words_from_proto(
    violations: Violations,
    field: str,
    values: Iterable[str],
    *,
    max_len: int,
    lower: bool = False,
    most: int = MAX_FILTER_VALUES,
) -> list[str]:
    """The words, each once, in order; a wrong one is noted by its place."""
    found: dict[str, None] = {}
    for index, value in enumerate(values):
        if index == most:
            violations.add(field, f"has more than {most} entries")
            break
        found[violations.text(f"{field}[{index}]", value, max_len=max_len, lower=lower)] = None
    return list(found)


def version_from_proto(
    violations: Violations, field: str, value: str, *, required: bool = True
) -> str:
    """The version without the `v` that tags and releases put before its number."""
    clean = violations.text(field, value, max_len=64, required=required)
    return clean[1:] if clean[:1] in ("v", "V") and clean[1:2].isdigit() else clean


def time_from_proto(violations: Violations, field: str, value: Timestamp) -> datetime:
    """The time, to the microsecond; noted where it is outside the years 1970 to 9998.

    The driver takes the first and the last time that Python knows for infinities.
    """
    try:
        # ToDatetime takes nanoseconds of any size as they come.
        if not 0 <= value.nanos < 1_000_000_000:
            raise ValueError
        time = value.ToDatetime(tzinfo=UTC)
        if not 1970 <= time.year <= 9998:
            raise ValueError
    except (ValueError, OverflowError):
        violations.add(field, "is not a time from the year 1970 to 9998")
        return datetime.fromtimestamp(0, UTC)
    return time


def bounds_from_proto(
    violations: Violations, request: Any, low_field: str, high_field: str
) -> dict[str, object]:
    """The filters of a range whose ends are 0 where they are not set."""
    low, high = getattr(request, low_field), getattr(request, high_field)
    found: dict[str, object] = {}
    for field, value in ((low_field, low), (high_field, high)):
        violations.number(field, value, low=0, high=math.inf)
        if value:
            found[field] = value
    if high and low > high:
        violations.add(high_field, f"is below {low_field}")
    return found
