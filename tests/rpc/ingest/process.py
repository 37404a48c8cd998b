"""The ingest service as a process of its own, to be killed and measured."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from servemark.runtime.probe import is_serving
from tests.support.stack import free_block

COMMAND = (sys.executable, "-m", "services.ingest")


@dataclass(frozen=True)
class Process:
    """A service that was started, its port, and that of its metrics."""

    started: subprocess.Popen[bytes]
    port: int
    metrics_port: int

    @property
    def target(self) -> str:
        """Where it is called."""
        return f"127.0.0.1:{self.port}"


def environment(dsn: str, base: int, **settings: object) -> dict[str, str]:
    """What a service is started with; `base` is the first of eight ports."""
    values = {
        "DATABASE_URL": dsn,
        "PORT_BASE": base,
        "METRICS_PORT": base + 4,
        "LOG_LEVEL": "error",
        **settings,
    }
    return {**os.environ, **{f"SERVEMARK_{name}": str(value) for name, value in values.items()}}


@contextmanager
def ingest_process(dsn: str, catalog_port: int, **settings: object) -> Iterator[Process]:
    """The service, ready; `settings` are named without SERVEMARK_. It is ended with the block."""
    base = free_block(8)
    settings = {"CATALOG_TARGET": f"127.0.0.1:{catalog_port}", **settings}
    started = subprocess.Popen(COMMAND, env=environment(dsn, base, **settings))
    process = Process(started, base + 2, base + 6)
    try:
        deadline = time.monotonic() + 30
        while not is_serving(process.target, timeout=0.25):
            if started.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the service did not start")
            time.sleep(0.05)
        yield process
    finally:
        if started.poll() is None:
            started.terminate()
        started.wait(timeout=20)
