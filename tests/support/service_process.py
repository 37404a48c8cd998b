"""A service as a process of its own, as `python -m services.<name>` runs it."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from servemark.runtime.probe import is_serving
from servemark.runtime.settings import SERVICES, ServiceName


@contextmanager
def service_process(
    service: ServiceName, port_base: int, environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Yields the process once it serves, and stops it at the end.

    `environment` is added to ours; the service listens on its place in the block at `port_base`.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", f"services.{service}"],
        env={
            **os.environ,
            "SERVEMARK_METRICS_PORT": "0",
            "SERVEMARK_HTTP_PORT": "0",
            "SERVEMARK_LOG_LEVEL": "warning",
            "SERVEMARK_PORT_BASE": str(port_base),
            **environment,
        },
    )
    try:
        deadline = time.monotonic() + 30
        while not is_serving(f"127.0.0.1:{port_base + SERVICES.index(service)}", timeout=0.25):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{service} did not start")
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        process.wait(timeout=30)
