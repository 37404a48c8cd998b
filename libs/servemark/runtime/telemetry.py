"""Structured logs on stderr and Prometheus metrics of every call."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

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


def configure_logging(level: str, log_format: str, service: str) -> None:
    """Sends structlog and the standard library's warnings to stderr, one line an event."""
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
    structlog.contextvars.bind_contextvars(service=service)
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
            "servemark_grpc_in_flight", "Calls being answered.", registry=registry
        )


def serve_metrics(host: str, port: int, registry: CollectorRegistry) -> Any:
    """Serves `registry` at http://host:port/metrics from a thread; returns the server."""
    server, _thread = start_http_server(port, addr=host, registry=registry)
    return server
