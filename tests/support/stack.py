"""The four services as real processes on a database of their own."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom
from urllib.parse import urlsplit

from pydantic import SecretStr

from servemark.client.channel import Client, connect
from servemark.runtime.probe import is_serving
from servemark.runtime.settings import SERVICES, ServiceName, ServiceSettings
from servemark.stack.files import sample_dir
from servemark.stack.sample import load_results
from servemark.stack.seed import load_catalog
from servemark.stack.services import Services
from tests.support.servers import temporary_folder

PEPPER = "a pepper for tests that is long enough to be taken"


def free_block(size: int = 4) -> int:
    """The first of `size` neighbouring ports that are all free now.

    From anywhere below the ports of outgoing connections, so that others who look for some at the
    same time hardly find the same.
    """
    for base in range(20_000 + SystemRandom().randrange(10_000), 32_768 - size, size):
        probes: list[socket.socket] = []
        try:
            for port in range(base, base + size):
                probe = socket.socket()
                probes.append(probe)
                probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        finally:
            for probe in probes:
                probe.close()
        return base
    raise RuntimeError("no free ports")


@dataclass
class RunningStack:
    """A started stack: its settings, an admin key, and its processes."""

    settings: ServiceSettings
    environment: dict[str, str]
    services: Services
    key: str

    @property
    def target(self) -> str:
        """Address of the gateway."""
        return self.settings.target("gateway")

    def client(self) -> Client:
        """A client of the gateway with the admin key."""
        return connect(self.target, key=self.key)

    def wait_serving(self) -> None:
        """Returns once all four services serve, after a test before has killed some."""
        for service in SERVICES:
            wait_until(lambda s=service: is_serving(self.settings.target(s), 0.5), 30, service)  # type: ignore[misc]

    def kill(self, service: ServiceName) -> int:
        """Kills a service with SIGKILL and returns the process id it had; the stack restarts it."""
        pid = self.services.pids()[service]
        os.kill(pid, signal.SIGKILL)
        return pid


def make_key(environment: dict[str, str], name: str = "tests", scopes: str = "admin") -> str:
    """A new API key, made straight in the database."""
    done = subprocess.run(
        [sys.executable, "-m", "services.gateway.bootstrap", "--name", name, "--scopes", scopes],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@contextmanager
def running_stack(dsn: str, redis_url: str, **overrides: str) -> Iterator[RunningStack]:
    """Starts the four services on a migrated database, keeps them running, and stops them."""
    base = free_block(5)
    environment = {
        "SERVEMARK_DATABASE_URL": dsn,
        "SERVEMARK_REDIS_URL": redis_url,
        "SERVEMARK_KEY_PEPPER": PEPPER,
        "SERVEMARK_PORT_BASE": str(base),
        "SERVEMARK_METRICS_PORT": "0",
        "SERVEMARK_HTTP_PORT": str(base + 4),
        **overrides,
    }
    settings = ServiceSettings(
        database_url=SecretStr(dsn), port_base=base, metrics_port=0, http_port=base + 4
    )
    stopped = threading.Event()
    with temporary_folder() as logs:
        services = Services(settings, environment, logs, report=lambda _: None)

        def keep_running() -> None:
            while not stopped.wait(0.05):
                services.mend()

        watcher = threading.Thread(target=keep_running, daemon=True)
        try:
            services.start()
            watcher.start()
            key = make_key(environment)
            yield RunningStack(settings, environment, services, key)
        finally:
            stopped.set()
            if watcher.is_alive():
                watcher.join()
            services.stop()
        no_secret_in(logs, PEPPER, key.rpartition("_")[2], urlsplit(dsn).password or PEPPER)


def no_secret_in(logs: Path, *secrets: str) -> None:
    """Raises AssertionError where a secret is in a log: whatever the tests did to the services."""
    for log in sorted(path for path in logs.rglob("*") if path.is_file()):
        text = log.read_text(errors="replace")
        assert not any(secret in text for secret in secrets), f"a secret is in {log.name}"


def load_sample(stack: RunningStack) -> None:
    """Loads the shipped catalog and results the way `servemark up` does."""
    with stack.client() as client:
        load_catalog(client.catalog, sample_dir() / "catalog", lambda _: None)
        load_results(client, sample_dir(), lambda _: None)


def wait_until(fact: Callable[[], bool], seconds: float = 30.0, what: str = "") -> None:
    """Returns once `fact` is true; fails the test where that takes longer than `seconds`."""
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what or fact}"
        time.sleep(0.02)


def golden(path: Path, actual: object) -> None:
    """Compares with a golden file people read; SERVEMARK_UPDATE_GOLDEN=1 writes it anew."""
    text = json.dumps(actual, indent=2, ensure_ascii=False) + "\n"
    if os.environ.get("SERVEMARK_UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()
