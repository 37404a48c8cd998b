"""Collects every wrong field of a request, so that a caller learns of all of them at once.

Hand-written rather than generated from annotations: updates check only the masked fields, and many
rules tie two fields together. The ranges are in the protos' comments.
"""

import math
import unicodedata
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from servemark.runtime.errors import FieldViolation, ServemarkError
from servemark.type.v1.error_reason_pb2 import ErrorReason

MAX_JSON_BYTES = 16 * 1024
MAX_JSON_DEPTH = 8
MAX_JSON_KEYS = 200


class Violations:
    """A list of wrong fields that raises one INVALID_FIELD error with all of them.

    Each check returns the cleaned value (or the given one where it is wrong), so a converter reads
    top to bottom and calls `raise_if_any()` once at its end.
    """

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self._found: list[FieldViolation] = []

    @property
    def found(self) -> Sequence[FieldViolation]:
        """The wrong fields so far."""
        return self._found

    def add(self, field: str, description: str) -> None:
        """Notes that `field` is wrong; `description` says what it should be."""
        self._found.append(FieldViolation(f"{self._prefix}{field}", description))

    def include(self, other: "Violations") -> None:
        """Takes over what `other` found, for a request that is checked in several parts."""
        self._found.extend(other.found)

    def raise_if_any(self) -> None:
        """Raises INVALID_FIELD naming every wrong field, if there is one."""
        if self._found:
            text = "; ".join(f"{v.field}: {v.description}" for v in self._found[:8])
            raise ServemarkError(
                ErrorReason.ERROR_REASON_INVALID_FIELD,
                f"The request has {len(self._found)} wrong field(s). {text}",
                violations=self._found[:200],
            )

    def text(
        self, field: str, value: str, *, max_len: int, required: bool = True, lower: bool = False
    ) -> str:
        """The value in Unicode NFC without outer blanks; 1 (or 0) to `max_len` printable signs."""
        clean = unicodedata.normalize("NFC", value).strip()
        if lower:
            clean = clean.lower()
        if required and not clean:
            self.add(field, "is required")
        elif len(clean) > max_len:
            self.add(field, f"has {len(clean)} characters; at most {max_len} are allowed")
        elif any(unicodedata.category(c) in ("Cc", "Cs") for c in clean):
            self.add(field, "has control characters")
        return clean

    def number(self, field: str, value: float, *, low: float, high: float) -> None:
        """Notes `field` unless `value` is finite and within [low, high]."""
        if not (math.isfinite(value) and low <= value <= high):
            allowed = f"from {plain(low)} to {plain(high)}"
            if math.isinf(high):
                allowed = f"{plain(low)} or more, finite"
            self.add(field, f"is {plain(value)}; it must be {allowed}")

    def uuid(self, field: str, value: str, *, required: bool = True) -> UUID | None:
        """The id as a UUID, or None where it is absent or not one."""
        if not value:
            if required:
                self.add(field, "is required")
            return None
        try:
            return UUID(value)
        except ValueError:
            self.add(field, "is not a UUID such as 0198c1d2-7f00-7abc-8def-0123456789ab")
            return None

    def uuids(self, field: str, values: Iterable[str], *, most: int = 1000) -> list[UUID]:
        """The ids as UUIDs, each once, in order; at most `most`."""
        found: dict[UUID, None] = {}
        for index, value in enumerate(values):
            if index == most:
                self.add(field, f"has more than {most} entries")
                break
            parsed = self.uuid(f"{field}[{index}]", value)
            if parsed is not None:
                found[parsed] = None
        return list(found)

    def enum(self, field: str, value: int, known: Container[int], *, required: bool = True) -> None:
        """Notes `field` unless `value` is a known value (and not UNSPECIFIED, when required)."""
        if value not in known:
            self.add(field, f"has the unknown value {value}")
        elif required and value == 0:
            self.add(field, "is required")

    def json_object(self, field: str, value: Mapping[str, Any], encoded_size: int) -> None:
        """Notes `field` unless it is small, shallow, finite JSON without NUL characters."""
        problem = json_problem(value, encoded_size)
        if problem:
            self.add(field, problem)


def plain(value: float) -> str:
    """A number with the digits that tell it from its neighbours: 1000000.4, not 1e+06.

    >>> plain(1e6), plain(1000000.4), plain(0.5), plain(float("nan"))
    ('1000000', '1000000.4', '0.5', 'nan')
    """
    return f"{value:.15g}"


def json_problem(value: Any, encoded_size: int) -> str | None:
    """What is wrong with a free JSON value, in words, or None.

    Bounds keep one row from filling the store or exhausting a parser: 16 KiB, 8 levels, 200 keys.
    """
    if encoded_size > MAX_JSON_BYTES:
        return f"has {encoded_size} bytes; at most {MAX_JSON_BYTES} are allowed"
    keys = 0
    level: list[Any] = [value]
    for depth in range(MAX_JSON_DEPTH + 2):
        if not level:
            return None
        if depth > MAX_JSON_DEPTH:
            return f"is nested deeper than {MAX_JSON_DEPTH} levels"
        inner: list[Any] = []
        for item in level:
            if isinstance(item, Mapping):
                keys += len(item)
                if any("\x00" in key for key in item):
                    return "has a NUL character in a key"
                inner.extend(item.values())
            elif isinstance(item, (list, tuple)):
                inner.extend(item)
            elif isinstance(item, str) and "\x00" in item:
                return "has a NUL character"
            elif isinstance(item, float) and not math.isfinite(item):
                return "has a number that is not finite"
        if keys > MAX_JSON_KEYS:
            return f"has more than {MAX_JSON_KEYS} keys"
        level = inner
    return f"is nested deeper than {MAX_JSON_DEPTH} levels"
