"""Rows that come slowly do not wait for a full batch."""

import threading
import time
from collections.abc import Callable

FLUSH_SECONDS = 1.0
"""How long a row waits for others at most."""


class Linger:
    """Calls `flush` when rows have waited for `seconds`, from a thread that lives while they do.

    `flush` may leave the rows where they are: it is called again after as long. It says whether
    more may come; after a no it is not called any more. With infinite `seconds` it never is.
    """

    def __init__(self, seconds: float, flush: Callable[[], bool]) -> None:
        self._seconds = seconds
        self._flush = flush
        self._changed = threading.Condition()
        self._deadline: float | None = None
        self._is_running = False
        self._is_over = seconds == float("inf")

    def start(self) -> None:
        """Rows wait from now on."""
        with self._changed:
            if self._is_over:
                return
            self._deadline = time.monotonic() + self._seconds
            # A thread that is there sleeps until the deadline of earlier rows, and then finds this.
            if not self._is_running:
                self._is_running = True
                threading.Thread(target=self._run, name="servemark-linger", daemon=True).start()

    def stop(self) -> None:
        """No row waits any more."""
        with self._changed:
            self._deadline = None

    def end(self) -> None:
        """Ends it: `flush` is not called any more, though a call may be under way."""
        with self._changed:
            self._is_over = True
            self._changed.notify()

    def _run(self) -> None:
        while self._wait():
            if not self._flush():
                self.end()

    def _wait(self) -> bool:
        """Waits until rows have waited for long enough; False, and the thread's end, if none do."""
        with self._changed:
            while not self._is_over and self._deadline is not None:
                now = time.monotonic()
                if self._deadline <= now:
                    self._deadline = now + self._seconds
                    return True
                self._changed.wait(self._deadline - now)
            self._is_running = False
            return False
