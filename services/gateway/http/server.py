"""The HTTP port: uvicorn in the gateway's event loop, started and stopped with the gRPC port."""

import asyncio
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from servemark.runtime.ports import http_port_taken
from servemark.runtime.tls import Tls, server_context

_MAX_HEAD_BYTES: Final = 16 * 1024
_MAX_CONNECTIONS: Final = 2_000
_IDLE_SECONDS: Final = 75
_BACKLOG: Final = 1_024


class _Uvicorn(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # The process has its own way to end.
        yield


class HttpServer:
    """Serves an ASGI application, over TLS where given. `port` is known once it has started."""

    def __init__(self, app: ASGIApp, host: str, port: int, tls: Tls | None = None) -> None:
        self._app = app
        self._host = host
        self._wanted = port
        self._tls = tls
        self.port = 0
        self._uvicorn: _Uvicorn | None = None
        self._running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Binds the port and serves. Raises PortTakenError."""
        listener = self._listen()
        self.port = listener.getsockname()[1]
        # It says on each line of its own what the log of calls says as well.
        logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
        config = uvicorn.Config(
            self._app,
            loop="none",
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            # Whoever is named in X-Forwarded-For may have written it.
            proxy_headers=False,
            h11_max_incomplete_event_size=_MAX_HEAD_BYTES,
            limit_concurrency=_MAX_CONNECTIONS,
            timeout_keep_alive=_IDLE_SECONDS,
            backlog=_BACKLOG,
        )
        config.load()
        if self._tls is not None:
            config.ssl = server_context(self._tls)
        # From here on connections wait for the task that takes them.
        listener.listen(_BACKLOG)
        self._uvicorn = _Uvicorn(config)
        self._running = asyncio.create_task(self._uvicorn.serve([listener]))

    async def stop(self, grace: float) -> None:
        """Lets calls end for `grace` seconds, then ends them."""
        if self._uvicorn is None or self._running is None:
            return
        self._uvicorn.config.timeout_graceful_shutdown = grace  # type: ignore[assignment]
        self._uvicorn.should_exit = True
        await self._running

    def _listen(self) -> socket.socket:
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(
                self._host.strip("[]"),
                self._wanted,
                type=socket.SOCK_STREAM,
                flags=socket.AI_PASSIVE,
            )[0]
            listener = socket.socket(family, kind, protocol)
        except OSError as error:
            raise http_port_taken(self._host, self._wanted) from error
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except OSError as error:
            listener.close()
            raise http_port_taken(self._host, self._wanted) from error
        return listener
