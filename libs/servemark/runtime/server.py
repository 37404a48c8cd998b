"""The one server builder: limits, interceptors, health, reflection, metrics, graceful stop."""

import asyncio
import hmac
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Protocol

import grpc
import structlog
from grpc_health.v1 import health_pb2_grpc
from prometheus_client import CollectorRegistry

from servemark.runtime import tenancy
from servemark.runtime.ending import end_tasks
from servemark.runtime.errors import ServemarkError
from servemark.runtime.health import HEALTH_SERVICE, HealthServicer
from servemark.runtime.interceptor import Admit, CallInterceptor, Translator
from servemark.runtime.ports import PortTakenError, port_taken
from servemark.runtime.reflection import add_reflection
from servemark.runtime.settings import ServiceName, ServiceSettings
from servemark.runtime.telemetry import CallMetrics, metrics_page
from servemark.runtime.tls import Tls, TlsFiles, server_credentials
from servemark.type.v1.error_reason_pb2 import ErrorReason

log = structlog.get_logger()

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
INTERNAL_TOKEN_KEY = "x-servemark-internal-token"  # noqa: S105  (the name of a header)

# How much a peer may send ahead of who reads it, for each stream. Left to itself gRPC raises it to
# many times that on a fast link, and hundreds of slow readers would fill the memory with it.
STREAM_WINDOW_BYTES = 1024 * 1024
WINDOW_OPTIONS: list[tuple[str, int]] = [
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", STREAM_WINDOW_BYTES),
]

SERVER_OPTIONS: list[tuple[str, int]] = [
    *WINDOW_OPTIONS,
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", 16 * 1024 * 1024),
    ("grpc.max_metadata_size", 8 * 1024),
    ("grpc.absolute_max_metadata_size", 16 * 1024),
    ("grpc.max_concurrent_streams", 100),
    ("grpc.http2.min_ping_interval_without_data_ms", 30_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.max_connection_age_ms", 30 * 60 * 1000),
    ("grpc.max_connection_age_grace_ms", 5 * 60 * 1000),
]


def _inside(token: str | None) -> Admit:
    """Admits Servemark's own services only, where they have a token to know each other by, and
    takes over on whose behalf they call. Health is open, so that a probe needs no secret.
    """
    expected = None if token is None else token.encode()

    async def admit(method: str, context: Any) -> None:
        if method.startswith(f"/{HEALTH_SERVICE}/"):
            return
        received = context.invocation_metadata() or ()
        sent = str(dict(received).get(INTERNAL_TOKEN_KEY, "")).encode()
        if expected is not None and not hmac.compare_digest(sent, expected):
            raise ServemarkError(
                ErrorReason.ERROR_REASON_KEY_INVALID,
                "This port is for Servemark's own services. Call the gateway.",
            )
        tenancy.act_for(tenancy.from_metadata(received))

    return admit


class Beside(Protocol):
    """Another port of the same process."""

    async def start(self) -> None:
        """Binds the port and serves. Raises PortTakenError."""

    async def stop(self, grace: float) -> None:
        """Lets calls end for `grace` seconds, then ends them."""


class ServiceServer:
    """A gRPC server with everything around it. Register servicers on `.grpc`, then `run` it.

    `service_names` are the full names it serves, for health and reflection. `ready` answers whether
    the process can do its work, at all or for each service by name ("" is the whole server); health
    follows it within a second. `admit` decides who may call (see `CallInterceptor`); by default who
    knows the internal token, where one is set, on behalf of whom the call's metadata says.
    What is put into `beside` starts and stops with it.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        service: ServiceName,
        service_names: Sequence[str],
        *,
        ready: Callable[[], Awaitable[bool | Mapping[str, bool]]],
        translators: Sequence[Translator] = (),
        admit: Admit | None = None,
    ) -> None:
        self.registry = CollectorRegistry()
        if admit is None:
            token = settings.internal_token
            admit = _inside(None if token is None else token.get_secret_value())
        self.calls = CallInterceptor(
            CallMetrics(self.registry),
            max_concurrent_calls=settings.max_concurrent_calls,
            translators=translators,
            admit=admit,
            worker=settings.worker,
        )
        # On by default in gRPC, where it hides that two servers share a port.
        shared_port = ("grpc.so_reuseport", int(settings.worker is not None))
        self.grpc = grpc.aio.server(
            interceptors=[self.calls], options=[*SERVER_OPTIONS, shared_port]
        )
        self.port = 0
        self.beside: list[Beside] = []
        self._settings = settings
        self._service: ServiceName = service
        self.tls = _tls_of(settings)
        self._names = tuple(service_names)
        self._ready = ready
        self._health = HealthServicer(self._names)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self.grpc)
        if settings.reflection_enabled:
            add_reflection(self.grpc, (*self._names, HEALTH_SERVICE))
        self._watch: asyncio.Task[None] | None = None
        self._metrics_page = ExitStack()

    @property
    def serving(self) -> dict[str, bool]:
        """What the health check says of each service; "" is the whole server."""
        return self._health.serving

    async def start(self) -> None:
        """Binds the port and serves. Raises PortTakenError."""
        host, port = self._settings.bind_host, self._settings.port(self._service)
        try:
            self.port = self._add_port(f"{host}:{port}")
        except RuntimeError as error:
            raise port_taken(host, port) from error
        metrics_port = self._settings.metrics_port_of(self._service)
        try:
            self._metrics_page.enter_context(metrics_page(host, metrics_port, self.registry))
            for other in self.beside:
                await other.start()
        except PortTakenError:
            await self.grpc.stop(0)
            self._metrics_page.close()
            raise
        await self.grpc.start()
        self._watch = asyncio.create_task(self._watch_readiness())

    def _add_port(self, address: str) -> int:
        if self.tls is not None:
            return self.grpc.add_secure_port(address, server_credentials(self.tls))
        if not self._settings.on_loopback:
            log.warning(
                "not encrypted: set SERVEMARK_TLS_CERT and SERVEMARK_TLS_KEY, or put a proxy that "
                "is in front and let nobody else reach this port",
                address=address,
            )
        return self.grpc.add_insecure_port(address)

    async def stop(self, grace: float | None = None) -> None:
        """Says NOT_SERVING, lets calls end for `grace` seconds, then ends them."""
        if self._watch is not None:
            self._watch.cancel()
        await self._health.shut_down()
        seconds = self._settings.shutdown_grace_seconds if grace is None else grace
        await asyncio.gather(
            self.grpc.stop(seconds), *(other.stop(seconds) for other in self.beside)
        )
        await asyncio.to_thread(self._metrics_page.close)

    async def run(self, *background: Callable[[], Awaitable[None]]) -> None:
        """Serves until SIGTERM or SIGINT, with `background` loops beside it, then stops.

        A loop that fails is logged and begun again: calls are answered meanwhile.
        """
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        await self.start()
        tasks = [asyncio.create_task(_keep_running(work)) for work in background]
        log.info("serving", port=self.port)
        await stopping.wait()
        log.info("stopping")
        await self.stop()
        await end_tasks(tasks)

    async def _watch_readiness(self) -> None:
        was: dict[str, bool] = {}
        while True:
            try:
                async with asyncio.timeout(2.0):
                    answer = await self._ready()
            except Exception:
                answer = False
            now = (
                dict(answer)
                if isinstance(answer, Mapping)
                else dict.fromkeys(("", *self._names), answer)
            )
            if now != was:
                await self._health.update(now)
                log.info("readiness", **{name or "all": ready for name, ready in now.items()})
                was = now
            await asyncio.sleep(1.0 if all(now.values()) else 0.1)


def _tls_of(settings: ServiceSettings) -> Tls | None:
    if settings.tls_cert is None:
        return None
    files = TlsFiles(settings.tls_cert, settings.tls_key, settings.tls_client_ca)
    return Tls(files, server=True)


async def _keep_running(work: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await work()
        except Exception as error:
            log.error("background work failed", exc_info=error)
            await asyncio.sleep(1.0)
        else:
            return
