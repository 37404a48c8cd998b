"""Messages about a key's own limits to the gateway's own words, and back."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Final

from servemark.gateway.v1 import api_key_pb2 as pb
from servemark.runtime.validation import Violations
from services.gateway.key_limits import OwnLimits

# Any more is no limit; and the columns hold it.
MAX_PER_SECOND: Final = 1e9
MAX_AT_ONCE: Final = 1_000_000
MAX_PER_DAY: Final = 10**15

_BOUNDS: Final[Mapping[str, tuple[float, float]]] = {
    "calls_per_second": (0.001, MAX_PER_SECOND),
    "rows_per_second": (0.001, MAX_PER_SECOND),
    "concurrent_calls": (1, MAX_AT_ONCE),
    "concurrent_streams": (1, MAX_AT_ONCE),
    "calls_per_day": (1, MAX_PER_DAY),
    "rows_per_day": (1, MAX_PER_DAY),
}

LimitChanges = Mapping[str, float | None]
"""By name; None: the one from the gateway's settings."""


def limit_changes_from_proto(request: pb.UpdateApiKeyLimitsRequest) -> LimitChanges:
    """The changes in a request. Raises INVALID_FIELD with every wrong field."""
    violations = Violations()
    given = asdict(own_limits_from_proto(violations, request.limits))
    paths = request.update_mask.paths
    for index, path in enumerate(paths):
        if path != "*" and path not in _BOUNDS:
            violations.add(
                f"update_mask.paths[{index}]",
                f"is {path[:64]!r}; it must be one of {', '.join(_BOUNDS)}, or *",
            )
    violations.raise_if_any()
    is_all = not paths or "*" in paths
    return {name: given[name] for name in _BOUNDS if is_all or name in paths}


def own_limits_from_proto(violations: Violations, message: pb.ApiKeyLimits) -> OwnLimits:
    """The limits in a message; None where one is not set. Notes what is out of range."""
    given = {name: getattr(message, name) for name in _BOUNDS if message.HasField(name)}  # type: ignore[arg-type]
    for name, value in given.items():
        low, high = _BOUNDS[name]
        violations.number(f"limits.{name}", value, low=low, high=high)
    return OwnLimits(**given)


def limits_to_proto(limits: OwnLimits) -> pb.ApiKeyLimits:
    """Limits as they are shown."""
    return pb.ApiKeyLimits(**limits.given)  # type: ignore[arg-type]
