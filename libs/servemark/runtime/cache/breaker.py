"""Leaves Redis alone after it failed a few times in a row, until it has answered again."""

from collections.abc import Callable
from typing import Final

_FAILURES: Final = 3
_PAUSE_SECONDS: Final = 1.0


class Breaker:
    """Closed: ask. Open: do not, somebody tries once a second whether it answers again.

    It is no reader that tries: none of them waits for a server that is known to be away.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures = 0
        self._tried_at = 0.0

    @property
    def is_open(self) -> bool:
        """Whether Redis is to be left alone."""
        return self._failures >= _FAILURES

    @property
    def is_trial_due(self) -> bool:
        """Whether it is time to try again."""
        return self.is_open and self._clock() - self._tried_at >= _PAUSE_SECONDS

    def failed(self) -> None:
        """Notes that Redis did not answer, or not in time."""
        self._failures += 1
        self._tried_at = self._clock()

    def answered(self) -> None:
        """Notes that Redis answered."""
        self._failures = 0
