"""Values of result files, whatever a tool wrote them as: absent instead of an exception."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

_SECOND: dict[str, float] = {"s": 1, "sec": 1, "ms": 1e3, "us": 1e6, "ns": 1e9}
_MILLISECONDS = {unit: 1e3 / count for unit, count in _SECOND.items()}


def at(data: Any, *path: str) -> Any:
    """What lies at the path of keys in nested objects; None where there is nothing."""
    for key in path:
        if not isinstance(data, Mapping):
            return None
        data = data.get(key)
    return data


def number(value: Any) -> float | None:
    """A finite number; None for anything else.

    Some tools write numbers as text ("550"), and NaN or "inf" for what they did not measure.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    if not math.isfinite(found):
        return None
    return found if isinstance(value, str) else value


def positive(value: Any) -> float | None:
    """A number above 0: of rates and limits, 0 and "inf" mean that there is none."""
    found = number(value)
    return found if found is not None and found > 0 else None


def text(value: Any) -> str | None:
    """A text that is not empty."""
    return value if isinstance(value, str) and value.strip() else None


def truth(value: Any) -> bool:
    """Whether a value says yes; some tools write "false"."""
    return value is True or (isinstance(value, str) and value.strip().lower() == "true")


def in_milliseconds(value: Any, unit: Any) -> float | None:
    """A duration in milliseconds, from a number and its unit: s, sec, ms, us or ns."""
    factor = _MILLISECONDS.get(unit) if isinstance(unit, str) else None
    found = number(value)
    if factor is None or found is None:
        return None
    return found if factor == 1 else found * factor


def from_epoch(seconds: Any) -> datetime | None:
    """The UTC time of seconds since 1970, to the microsecond; None outside of the years we know."""
    found = positive(seconds)
    if found is None:
        return None
    try:
        return datetime.fromtimestamp(found, UTC)
    except (OverflowError, ValueError, OSError):
        return None
