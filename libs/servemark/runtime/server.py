"""The one server builder: limits, interceptors, health, reflection, metrics, graceful stop."""

import asyncio
import hmac
import signal
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from prometheus_client import CollectorRegistry

from servemark.runtime.errors import ServemarkError
from servemark.runtime.interceptor import CallInterceptor, Translator
from servemark.runtime.reflection import add_reflection
from servemark.runtime.settings import ServiceName, ServiceSettings
from servemark.runtime.telemetry import CallMetrics, serve_metrics
from servemark.type.v1.error_reason_pb2 import ErrorReason

log = structlog.get_logger()

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
INTERNAL_TOKEN_KEY = "x-servemark-internal-token"  # noqa: S105  (the name of a header)

SERVER_OPTIONS: list[tuple[str, int]] = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", 16 * 1024 * 1024),
    ("grpc.max_metadata_size", 8 * 1024),
    ("grpc.absolute_max_metadata_size", 16 * 1024),
    ("grpc.max_concurrent_streams", 100),
    ("grpc.http2.min_ping_interval_without_data_ms", 30_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.max_connection_age_ms", 30 * 60 * 1000),
    ("grpc.max_connection_age_grace_ms", 5 * 60 * 1000),
    # On by default in gRPC, where it hides that two servers share a port.
    ("grpc.so_reuseport", 0),
]


class PortTakenError(RuntimeError):
    """The port is in use; the text names it and says what to do."""


class _TokenInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Refuses callers without the internal token. Health is open, so that a probe needs no secret."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        handler = await continuation(details)
        if handler is None or details.method.startswith("/grpc.health.v1.Health/"):
            return handler
        sent = dict(details.invocation_metadata or ()).get(INTERNAL_TOKEN_KEY, "")
        if hmac.compare_digest(str(sent).encode(), self._token):
            return handler
        return _refusing(handler)


def _refusing(handler: Any) -> Any:
    """A handler of the same kind that refuses the call."""

    def refusal() -> ServemarkError:
        return ServemarkError(
            ErrorReason.ERROR_REASON_KEY_INVALID,
            "This port is for Servemark's own services. Call the gateway.",
        )

    async def one(*_: Any) -> Any:
        raise refusal()

    async def many(*_: Any) -> Any:
        raise refusal()
        yield

    if handler.request_streaming and handler.response_streaming:
        return grpc.stream_stream_rpc_method_handler(many)
    if handler.request_streaming:
        return grpc.stream_unary_rpc_method_handler(one)
    if handler.response_streaming:
        return grpc.unary_stream_rpc_method_handler(many)
    return grpc.unary_unary_rpc_method_handler(one)


class ServiceServer:
    """A gRPC server with everything around it. Register servicers on `.grpc`, then `run` it.

    `service_names` are the full names it serves, for health and reflection. `ready` answers whether
    the process can do its work; health follows it within a second.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        service: ServiceName,
        service_names: Sequence[str],
        *,
        ready: Callable[[], Awaitable[bool]],
        translators: Sequence[Translator] = (),
    ) -> None:
        self.registry = CollectorRegistry()
        interceptors: list[grpc.aio.ServerInterceptor] = [
            CallInterceptor(
                CallMetrics(self.registry),
                max_concurrent_calls=settings.max_concurrent_calls,
                translators=translators,
            )
        ]
        if settings.internal_token is not None and service != "gateway":
            interceptors.append(_TokenInterceptor(settings.internal_token.get_secret_value()))
        self.grpc = grpc.aio.server(interceptors=interceptors, options=SERVER_OPTIONS)
        self.port = 0
        self._settings = settings
        self._service: ServiceName = service
        self._names = tuple(service_names)
        self._ready = ready
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self.grpc)
        if settings.reflection_enabled:
            add_reflection(self.grpc, (*self._names, health.SERVICE_NAME))
        self._watch: asyncio.Task[None] | None = None
        self._metrics_server: Any = None

    async def start(self) -> None:
        """Binds the port and serves. Raises PortTakenError."""
        host, port = self._settings.bind_host, self._settings.port(self._service)
        try:
            self.port = self.grpc.add_insecure_port(f"{host}:{port}")
        except RuntimeError as error:
            raise PortTakenError(
                f"Port {port} on {host} is in use. Stop what uses it, or set SERVEMARK_PORT_BASE "
                "to another block of four free ports."
            ) from error
        metrics_port = self._settings.metrics_port_of(self._service)
        if metrics_port:
            try:
                self._metrics_server = serve_metrics(host, metrics_port, self.registry)
            except OSError as error:
                raise PortTakenError(
                    f"Port {metrics_port} on {host} is in use. Set SERVEMARK_METRICS_PORT to "
                    "another block of four free ports, or to 0 for no metrics."
                ) from error
        await self._set_health(False)
        await self.grpc.start()
        self._watch = asyncio.create_task(self._watch_readiness())

    async def stop(self, grace: float | None = None) -> None:
        """Says NOT_SERVING, lets calls end for `grace` seconds, then ends them."""
        if self._watch is not None:
            self._watch.cancel()
        await self._health.enter_graceful_shutdown()
        await self.grpc.stop(self._settings.shutdown_grace_seconds if grace is None else grace)
        if self._metrics_server is not None:
            self._metrics_server.shutdown()

    async def run(self, *background: Callable[[], Awaitable[None]]) -> None:
        """Serves until SIGTERM or SIGINT, with `background` loops beside it, then stops gracefully."""
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        await self.start()
        tasks = [asyncio.ensure_future(work()) for work in background]
        log.info("serving", port=self.port)
        await stopping.wait()
        log.info("stopping")
        await self.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _set_health(self, serving: bool) -> None:
        status = (
            health_pb2.HealthCheckResponse.SERVING
            if serving
            else health_pb2.HealthCheckResponse.NOT_SERVING
        )
        for name in ("", *self._names):
            await self._health.set(name, status)

    async def _watch_readiness(self) -> None:
        was: bool | None = None
        while True:
            try:
                async with asyncio.timeout(2.0):
                    is_ready = await self._ready()
            except Exception:
                is_ready = False
            if is_ready != was:
                await self._set_health(is_ready)
                log.info("readiness", ready=is_ready)
                was = is_ready
            await asyncio.sleep(1.0 if was else 0.1)
