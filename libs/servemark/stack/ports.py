"""Checks, before anything is started, that the ports it will need are free."""

import socket

from servemark.runtime.settings import SERVICES, ServiceSettings
from servemark.stack.errors import StackError


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen on host:port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def require_free_ports(settings: ServiceSettings) -> None:
    """Raises StackError with the first port that is taken, and how to move."""
    host = settings.bind_host
    for service in SERVICES:
        port = settings.port(service)
        if port and not is_free(host, port):
            raise StackError(
                f"Port {port} ({service}) is in use. Stop what uses it (another `servemark up`? "
                f"then `make down` in its folder), or choose another block of four ports: "
                f"SERVEMARK_PORT_BASE={settings.port_base + 100} make up"
            )
    if settings.http_port and not is_free(host, settings.http_port):
        raise StackError(
            f"Port {settings.http_port} (HTTP) is in use. Choose another: "
            f"SERVEMARK_HTTP_PORT={settings.http_port % 65_000 + 100} make up"
        )
    for service in SERVICES:
        port = settings.metrics_port_of(service)
        if port and not is_free(host, port):
            raise StackError(
                f"Port {port} (metrics of {service}) is in use. Choose another block of four "
                f"ports: SERVEMARK_METRICS_PORT={settings.metrics_port + 100} make up"
            )
