"""Structured logs on stderr and Prometheus metrics of every call."""

import logging
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import structlog
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    start_http_server,
    values,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from servemark.runtime.ports import metrics_port_taken

_SECRET_WORDS = ("password", "secret", "token", "pepper", "authorization", "dsn", "url")

# Without the local variables structlog adds by default: they hold callers' keys and rows.
_TRACEBACKS = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
)


def _mask_secrets(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key in event:
        if any(word in key.lower() for word in _SECRET_WORDS):
            event[key] = "***"
    return event


def configure_logging(level: str, log_format: str, service: str, worker: int | None = None) -> None:
    """Sends structlog and the standard library's warnings to stderr, one line an event.

    Every line names the service, and the worker where there are several.
    """
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if log_format == "json"
        else structlog.dev.ConsoleRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _TRACEBACKS if log_format == "json" else structlog.processors.format_exc_info,
            _mask_secrets,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    who = {"service": service} if worker is None else {"service": service, "worker": worker}
    structlog.contextvars.bind_contextvars(**who)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, force=True)


class CallMetrics:
    """The counters of one server: started, handled by code, latency, in flight."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ("grpc_service", "grpc_method")
        self.started = Counter(
            "servemark_grpc_started", "Calls started.", labels, registry=registry
        )
        self.handled = Counter(
            "servemark_grpc_handled",
            "Calls answered, by status code.",
            (*labels, "grpc_code"),
            registry=registry,
        )
        self.latency = Histogram(
            "servemark_grpc_latency_seconds",
            "Time from the start of a call to its answer.",
            labels,
            registry=registry,
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
        )
        self.in_flight = Gauge(
            "servemark_grpc_in_flight",
            "Calls being answered.",
            registry=registry,
            multiprocess_mode="livesum",
        )

    def of_method(self, service: str, method: str) -> "MethodMetrics":
        """The counters of one method, found once and not with each call."""
        return MethodMetrics(self, service, method)


class MethodMetrics:
    """The counters of one method."""

    def __init__(self, metrics: CallMetrics, service: str, method: str) -> None:
        self.started = metrics.started.labels(service, method)
        self.latency = metrics.latency.labels(service, method)
        self._all_handled = metrics.handled
        self._names = (service, method)
        self._handled: dict[str, Counter] = {}

    def handled(self, code: str) -> Counter:
        """How many calls ended with a status code."""
        counter = self._handled.get(code)
        if counter is None:
            counter = self._handled[code] = self._all_handled.labels(*self._names, code)
        return counter


@contextmanager
def metrics_page(host: str, port: int, registry: CollectorRegistry) -> Iterator[None]:
    """Serves `registry` at http://host:port/metrics from a thread; nothing where the port is 0.

    Raises PortTakenError.
    """
    if not port:
        yield
        return
    try:
        server, _thread = start_http_server(port, addr=host, registry=registry)
    except OSError as error:
        raise metrics_port_taken(host, port) from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


def keep_metrics_in_files(worker: int) -> None:
    """Lets the metrics of this process lie in files of PROMETHEUS_MULTIPROC_DIR, as a worker's do.

    They are named by the worker and not, as prometheus_client does it, by the process: a worker
    that takes another's place goes on counting where it stopped, and a hundred crashes do not leave
    a hundred files. Call it before the first metric is made.
    """
    values.ValueClass = values.MultiProcessValue(lambda: worker)  # type: ignore[no-untyped-call]


class WorkerMetrics:
    """The metrics of all workers, added up from the files in `folder`, and of those who keep them.

    Serve `registry`.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self.registry = CollectorRegistry()
        MultiProcessCollector(self.registry, folder)  # type: ignore[no-untyped-call]
        self.ended = Counter(
            "servemark_workers_ended",
            "Workers that ended without being asked to, and were started again.",
            registry=self.registry,
        )

    def forget_running(self, worker: int) -> None:
        """Takes back what a worker said of itself while it ran; what it counted stays."""
        mark_process_dead(worker, self._folder)  # type: ignore[no-untyped-call]
