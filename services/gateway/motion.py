"""Tells whether a stream still moves: streams that nobody uses, or nobody reads, have an end."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from servemark.runtime.errors import ServemarkError
from servemark.type.v1.error_reason_pb2 import ErrorReason


@dataclass(frozen=True, slots=True)
class StreamTimes:
    """How long a stream may lie still, and how long an answer may wait to be read, in seconds."""

    idle_seconds: float
    stall_seconds: float


class Motion:
    """What moved last on one stream, in either direction."""

    def __init__(self, times: StreamTimes, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._times = times
        self._clock = clock
        self._moved_at = clock()
        self._answer_waits = False
        # While we hold back the caller ourselves, it is not the caller who does nothing.
        self.held_back = False

    def received(self) -> None:
        """The caller sent a message."""
        self._moved_at = self._clock()

    def answering(self) -> None:
        """The service sent an answer, which now waits for the caller to read it."""
        self._moved_at = self._clock()
        self._answer_waits = True

    def answered(self) -> None:
        """The answer is on its way."""
        self._moved_at = self._clock()
        self._answer_waits = False

    def problem(self) -> tuple[str, ServemarkError] | None:
        """The limit that the stream has met, and what it ends with; None while it is well."""
        if self.held_back:
            return None
        still = self._clock() - self._moved_at
        if self._answer_waits and still >= self._times.stall_seconds:
            return "stream_stall_seconds", ServemarkError(
                ErrorReason.ERROR_REASON_STREAM_STALLED,
                f"An answer has waited for {still:.0f} s to be read. Read while you write.",
            )
        if still >= self._times.idle_seconds:
            return "stream_idle_seconds", ServemarkError(
                ErrorReason.ERROR_REASON_STREAM_IDLE,
                f"Nothing was sent on the stream for {still:.0f} s. Open another when there is "
                "something to send.",
            )
        return None
