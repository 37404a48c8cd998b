"""Programs that tests start in order to kill them, and what is left of them afterwards."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def starter(script: str, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], Any]]:
    """Runs a Python program; yields it and the JSON value it printed as its first line.

    The program must then wait for its standard input to end. It is killed at the end.
    """
    with subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())
        finally:
            process.kill()


def is_running(pid: int) -> bool:
    """True if the process exists and has not ended; one that nobody has buried yet has ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    shown = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return not shown.stdout.strip().startswith("Z") and shown.stdout.strip() != ""


def user_of(pid: int) -> int:
    """Returns the effective user id of a process."""
    shown = subprocess.run(
        ["ps", "-o", "euid=", "-p", str(pid)], capture_output=True, text=True, check=True
    )
    return int(shown.stdout)


def command_of(pid: int) -> str:
    """Returns the command line of a process, as every user of the machine can read it."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def wait_until(fact: Callable[[], bool], seconds: float, what: str) -> None:
    """Returns once the fact holds; fails the test with `what` if it does not in time."""
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline, f"after {seconds} s still not so: {what}"
        time.sleep(0.02)
