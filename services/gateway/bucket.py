"""A token bucket: so much a second, with a second's worth saved up at most."""

import time
from collections.abc import Callable


class TokenBucket:
    """`rate` tokens a second, above 0; it begins full.

    It holds what a second brings, and at least one. It may be overdrawn, for what comes as a whole;
    what comes next then waits until the debt is paid.
    """

    def __init__(self, rate: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._rate = rate
        self._most = max(1.0, rate)
        self._held = self._most
        self._at = clock()

    def wait_for(self, tokens: float) -> float:
        """Seconds until the bucket holds so many tokens; 0 where it does."""
        now = self._clock()
        self._held = min(self._most, self._held + (now - self._at) * self._rate)
        self._at = now
        return max(0.0, (tokens - self._held) / self._rate)

    def take(self, tokens: float) -> None:
        """Takes so many tokens, whether it holds them or not."""
        self._held -= tokens
