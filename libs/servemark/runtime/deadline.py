"""The time the current call has left, passed on to every call and query it makes, never renewed."""

import asyncio
from contextvars import ContextVar

UNARY_CAP_SECONDS = 30.0

_deadline: ContextVar[float | None] = ContextVar("servemark_deadline", default=None)


def set_deadline(seconds: float | None) -> None:
    """Sets the current call's end `seconds` from now; None for a call without one (a stream)."""
    now = asyncio.get_running_loop().time()
    _deadline.set(None if seconds is None else now + seconds)


def remaining() -> float | None:
    """Seconds left, at least 0.001; None where the call has no end."""
    end = _deadline.get()
    if end is None:
        return None
    return max(0.001, end - asyncio.get_running_loop().time())


def timeout_for_call(default: float) -> float:
    """The timeout of a call made on behalf of the current one: what is left of it, or `default`."""
    left = remaining()
    return default if left is None else min(left, default)
