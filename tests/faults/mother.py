"""Starts the ingest service again and again, each time in milliseconds.

`python -m tests.faults.mother` imports all that the service needs and forks for each line on its
standard input, so that what is killed thirty times need not be imported thirty times. It answers
with the process id. The service is run as `python -m services.ingest` runs it. When the input ends,
the mother ends, and the last service with it.
"""

import os
import runpy
import signal
import sys
from contextlib import suppress

import services.ingest.app  # noqa: F401  (so that the children have it)


def main() -> None:
    """Forks until the input ends."""
    # The kernel buries the children; nobody waits for them.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    child = 0
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            _serve()
        print(child, flush=True)
    if child:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


def _serve() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # Standard output carries the answers of the mother.
    os.dup2(2, 1)
    try:
        runpy.run_module("services.ingest", run_name="__main__")
    finally:
        os._exit(1)


if __name__ == "__main__":
    main()
