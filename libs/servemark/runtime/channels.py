"""Channels from one service to another: one for the process's life, deadlines and ids passed on."""

from typing import Any

import grpc
import structlog

from servemark.runtime import deadline
from servemark.runtime.renewing_channel import RenewingChannel
from servemark.runtime.server import INTERNAL_TOKEN_KEY, MAX_MESSAGE_BYTES, WINDOW_OPTIONS
from servemark.runtime.settings import ServiceName, ServiceSettings
from servemark.runtime.tls import Tls, TlsFiles

_OPTIONS: list[tuple[str, int]] = [
    *WINDOW_OPTIONS,
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 60_000),
    # A restarted neighbour should be found again within a second, not after gRPC's two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    # Despite its name the least time an attempt gets: on a busy machine a handshake takes a while.
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
]


def open_channel(
    settings: ServiceSettings, service: ServiceName, *, shared: bool = True
) -> grpc.aio.Channel:
    """A channel to `service`. Close it when the process ends.

    Channels to one target share a connection, unless `shared` is False: a connection takes 100
    calls at once. Over TLS where `peer_tls_ca` is set; raises TlsFilesError.
    """
    options = [*_OPTIONS, ("grpc.use_local_subchannel_pool", 0 if shared else 1)]
    target = settings.target(service)
    if settings.peer_tls_ca is None:
        return grpc.aio.insecure_channel(target, options=options)
    files = TlsFiles(settings.peer_tls_cert, settings.peer_tls_key, settings.peer_tls_ca)
    return RenewingChannel(target, Tls(files, server=False), options)


def call_options(settings: ServiceSettings, default_timeout: float = 5.0) -> dict[str, Any]:
    """Keyword arguments for a stub's unary call made on behalf of the current call.

    The timeout is what the current call has left; the request id and the internal token go along.
    """
    metadata: list[tuple[str, str]] = []
    request_id = structlog.contextvars.get_contextvars().get("request_id")
    if request_id:
        metadata.append(("x-request-id", request_id))
    if settings.internal_token is not None:
        metadata.append((INTERNAL_TOKEN_KEY, settings.internal_token.get_secret_value()))
    return {"timeout": deadline.timeout_for_call(default_timeout), "metadata": tuple(metadata)}
