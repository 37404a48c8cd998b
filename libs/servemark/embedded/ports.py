"""Ports on 127.0.0.1 for the embedded servers."""

import socket
from pathlib import Path

from servemark.embedded.errors import EmbeddedServerError

HOST = "127.0.0.1"


def is_free(port: int) -> bool:
    """True if a server could listen on the port of the loopback address now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As the servers do it: connections of an earlier life that linger are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def free_port() -> int:
    """Returns a port nobody listens on; another program can still take it before we do."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    return port


def choose_port(wanted: int | None, memory: Path) -> int:
    """Returns the wanted port, else the one remembered in the file if it is free, else a new one.

    Raises EmbeddedServerError if a wanted port is taken: silently moving would break its clients.
    """
    if wanted is not None:
        if not is_free(wanted):
            raise EmbeddedServerError(
                f"Port {wanted} on {HOST} is taken; stop the program that listens there, "
                "choose another port, or leave it out so that a free one is found."
            )
        port = wanted
    else:
        port = _remembered(memory) or free_port()
        if not is_free(port):
            port = free_port()
    memory.write_text(f"{port}\n")
    return port


def _remembered(memory: Path) -> int | None:
    try:
        port = int(memory.read_text())
    except (OSError, ValueError):
        return None
    return port if 0 < port < 65536 else None
