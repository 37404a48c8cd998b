"""A service's ports: held for several processes, and refused in a sentence where one is taken."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager


class PortTakenError(RuntimeError):
    """The port is in use; the text names it and says what to do."""


def port_taken(host: str, port: int) -> PortTakenError:
    """The refusal of a service's own port."""
    return PortTakenError(
        f"Port {port} on {host} is in use. Stop what uses it, or set SERVEMARK_PORT_BASE "
        "to another block of four free ports."
    )


def http_port_taken(host: str, port: int) -> PortTakenError:
    """The refusal of the gateway's HTTP port."""
    return PortTakenError(
        f"Port {port} on {host} is in use. Stop what uses it, or set SERVEMARK_HTTP_PORT to a free "
        "port."
    )


def metrics_port_taken(host: str, port: int) -> PortTakenError:
    """The refusal of a metrics port."""
    return PortTakenError(
        f"Port {port} on {host} is in use. Set SERVEMARK_METRICS_PORT to "
        "another block of four free ports, or to 0 for no metrics."
    )


@contextmanager
def held_port(host: str, port: int) -> Iterator[int]:
    """Holds a port for processes that will listen on it together; yields it (0: any free one).

    While it is held, only sockets with SO_REUSEPORT of the same user can listen there. The port is
    asked for without that option, which would let it pass that somebody else listens with it, too.
    Raises PortTakenError.
    """
    try:
        # The first address alone: gRPC finds further ones of a name by itself, and it wants the
        # brackets of a bare IPv6 address.
        family, kind, protocol, _, address = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        holder = socket.socket(family, kind, protocol)
    except OSError as error:
        raise port_taken(host, port) from error
    with holder:
        try:
            # As gRPC does it: connections of an earlier life that linger are no obstacle.
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            holder.bind(address)
        except OSError as error:
            raise port_taken(host, port) from error
        # Never listening, it is given no connections; without the one option and with the other it
        # is in everybody's way but our own processes'.
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        yield int(holder.getsockname()[1])
