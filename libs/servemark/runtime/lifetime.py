"""Processes that live no longer than the one that started them, and how soon they are restarted."""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

_SHIM = Path(__file__).with_name("shim.py")
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 10.0
# What ran this long is not in a loop of crashes: its next restart is quick again.
_LONG_LIFE_SECONDS = 30.0


def tied(
    argv: Sequence[str], death_signal: signal.Signals, *, uid: int = -1, gid: int = -1
) -> list[str]:
    """The command that runs `argv` until this process ends, even by SIGKILL (Linux only).

    Then the kernel sends it `death_signal`. The promise is tied to the thread that starts the
    command, which has to live as long as it should. `uid` and `gid` are who it runs as; -1 keeps
    the user.
    """
    who = [str(os.getpid()), str(uid), str(gid), str(int(death_signal))]
    return [sys.executable, "-I", "-S", str(_SHIM), *who, *argv]


class Restarts:
    """How long to wait before a process that ended is started again: longer from time to time."""

    def __init__(self) -> None:
        self._next_pause = _FIRST_PAUSE_SECONDS

    def pause_after(self, lived: float) -> float:
        """Seconds to wait, given how many seconds the process lived."""
        if lived > _LONG_LIFE_SECONDS:
            self._next_pause = _FIRST_PAUSE_SECONDS
        pause = self._next_pause
        self._next_pause = min(_LONGEST_PAUSE_SECONDS, 2 * pause)
        return pause
