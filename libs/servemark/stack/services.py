"""The four services as child processes: started together, awaited, restarted when one dies."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from servemark.embedded.process import ChildProcess
from servemark.runtime.lifetime import Restarts
from servemark.runtime.probe import is_serving
from servemark.runtime.settings import SERVICES, ServiceName, ServiceSettings

_READY_SECONDS = 60.0
_STOP_SECONDS = 15.0


class Services:
    """Catalog, ingest, ranking and gateway, kept running until `stop`.

    `environment` is what the services are given on top of this process's own; `report` is told of
    each restart, in a sentence.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        environment: Mapping[str, str],
        logs: Path,
        report: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._environment = {**os.environ, **environment}
        self._logs = logs
        self._report = report
        self._children: dict[ServiceName, ChildProcess] = {}
        self._restarts = {service: Restarts() for service in SERVICES}
        self._started: dict[ServiceName, float] = {}
        self._due: dict[ServiceName, float] = {}
        self._lock = threading.Lock()
        self._stopping = False

    def start(self) -> None:
        """Starts all four and returns once each is SERVING. Raises EmbeddedServerError."""
        for service in SERVICES:
            self._launch(service)
        for service in SERVICES:
            target = self._settings.target(service)
            self._children[service].wait_ready(
                lambda target=target: is_serving(target, timeout=0.25),  # type: ignore[misc]
                _READY_SECONDS,
            )

    def pids(self) -> dict[str, int]:
        """Process id of each service."""
        return {name: child.pid for name, child in self._children.items() if child.pid}

    def mend(self) -> None:
        """Starts again what has died, with growing pauses. Called about twice a second."""
        for service in SERVICES:
            with self._lock:
                if self._stopping or self._children[service].alive:
                    continue
                now = time.monotonic()
                due = self._due.get(service)
                if due is None:
                    lived = now - self._started[service]
                    self._due[service] = now + self._restarts[service].pause_after(lived)
                    self._report(f"{service} ended; starting it again (log: {self.log(service)}).")
                elif now >= due:
                    del self._due[service]
                    self._launch(service)

    def stop(self) -> None:
        """Asks all four to finish their calls, and returns once they have ended."""
        with self._lock:
            self._stopping = True
        threads = [
            threading.Thread(target=child.stop, args=(_STOP_SECONDS,))
            for child in self._children.values()
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def log(self, service: ServiceName) -> Path:
        """The file a service's log lines go to."""
        return self._logs / f"{service}.log"

    def _launch(self, service: ServiceName) -> None:
        child = ChildProcess(
            f"The {service} service",
            [sys.executable, "-m", f"services.{service}"],
            log=self.log(service),
            stop_signal=signal.SIGTERM,
            environment=self._environment,
        )
        child.start()
        self._started[service] = time.monotonic()
        self._children[service] = child
