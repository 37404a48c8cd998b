"""A port that is held can be shared by those it is held for, and is in the way of all others."""

import socket

import pytest

from servemark.runtime.ports import PortTakenError, held_port

HOST = "127.0.0.1"


def listener(port: int, *, shares: bool) -> socket.socket:
    """A socket that listens as gRPC's do, sharing the port or not."""
    listening = socket.socket()
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, shares)
        listening.bind((HOST, port))
        listening.listen()
    except OSError:
        listening.close()
        raise
    return listening


def test_those_it_is_held_for_get_every_connection() -> None:
    with held_port(HOST, 0) as port:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((HOST, port))
        with listener(port, shares=True) as one, listener(port, shares=True) as other:
            for listening in (one, other):
                listening.settimeout(0)
            for _ in range(50):
                with socket.create_connection((HOST, port)):
                    accepted = []
                    for listening in (one, other):
                        try:
                            accepted.append(listening.accept()[0])
                        except BlockingIOError:
                            continue
                    assert len(accepted) == 1
                    accepted[0].close()


def test_a_stranger_cannot_listen_on_it() -> None:
    with held_port(HOST, 0) as port:
        with pytest.raises(OSError, match="in use"):
            listener(port, shares=False)
        with pytest.raises(PortTakenError, match=f"Port {port} on {HOST} is in use"):
            held_port(HOST, port).__enter__()
    listener(port, shares=False).close()


@pytest.mark.parametrize("shares", [False, True])
def test_a_port_that_somebody_listens_on_is_refused(shares: bool) -> None:
    with listener(0, shares=shares) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortTakenError, match="SERVEMARK_PORT_BASE"):
            held_port(HOST, port).__enter__()


def test_connections_that_linger_are_no_obstacle() -> None:
    with listener(0, shares=False) as earlier:
        port = earlier.getsockname()[1]
        with socket.create_connection((HOST, port)):
            # The side that closes first is the one whose address lingers.
            earlier.accept()[0].close()
    with held_port(HOST, port) as held:
        assert held == port
        listener(port, shares=True).close()


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(PortTakenError):
        held_port("192.0.2.1", 50052).__enter__()
