"""A TCP proxy on loopback whose network can be cut, and can swallow everything."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

_CHUNK: Final = 64 * 1024


class Proxy:
    """Passes bytes on between `target` and whoever connects to `port`."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._address = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.target = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._is_refusing = False
        self._passing = threading.Event()
        self._passing.set()
        self.is_holding = False
        """Whether anything was swallowed."""
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Resets every connection, and every new one at once."""
        with self._lock:
            self._is_refusing = True
            while self._sockets:
                _reset(self._sockets.pop())
        self._passing.set()

    def swallow(self) -> None:
        """Lets connections stand while nothing gets through any more."""
        self._passing.clear()

    def mend(self) -> None:
        """Lets everything through again, what was swallowed too, as TCP would repeat it."""
        self._is_refusing = False
        self._passing.set()

    def close(self) -> None:
        """Ends it."""
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._address)
        except OSError:
            _reset(client)
            return
        with self._lock:
            if self._is_refusing:
                _reset(client)
                _reset(server)
                return
            self._sockets += [client, server]
        threading.Thread(target=self._pass, args=(client, server), daemon=True).start()
        threading.Thread(target=self._pass, args=(server, client), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(_CHUNK):
                self.is_holding |= not self._passing.is_set()
                self._passing.wait()
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def _reset(end: socket.socket) -> None:
    """Closes a connection as a broken network does: with a reset, not in good order."""
    with suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # Whoever waits in recv has to wake up, or the socket would stay open under it.
        end.shutdown(socket.SHUT_RD)
        end.close()


@contextmanager
def proxy(target: str) -> Iterator[Proxy]:
    """A running proxy."""
    made = Proxy(target)
    try:
        yield made
    finally:
        made.close()
