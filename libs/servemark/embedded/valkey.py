"""Valkey as a child process on 127.0.0.1: the cache and the event streams of one machine."""

import signal
import socket
from pathlib import Path
from urllib.parse import quote

from servemark.embedded.binaries import valkey_server
from servemark.embedded.errors import EmbeddedServerError
from servemark.embedded.home import ServerHome, write_private
from servemark.embedded.ports import HOST
from servemark.embedded.server import EmbeddedServer
from servemark.embedded.stale import server_of

_CONFIG = """\
# Written at every start; change the settings where the server is started.
bind {host}
port {port}
protected-mode yes
requirepass {password}
dir {directory}
pidfile {pid_file}
daemonize no
logfile ""
save ""
# Events must survive a restart; every write is in the log file within a second.
appendonly yes
appendfsync everysec
maxmemory 256mb
# Cache keys carry a time to live and may go; streams carry none and are never evicted.
maxmemory-policy volatile-lru
"""


class EmbeddedValkey(EmbeddedServer):
    """One Valkey server in a data directory, running between start() and stop().

    It asks for a password, kept in the data directory, and keeps what it holds over a restart.
    A start takes about 0.1 s. `port` fixes the port; without it a free one is found and kept for
    the next start.
    """

    title = "Valkey"
    stop_signal = signal.SIGTERM  # writes what it holds, then ends

    def __init__(self, data_dir: Path, *, port: int | None = None) -> None:
        super().__init__(data_dir, port)

    def url(self) -> str:
        """Returns `redis://:password@127.0.0.1:port/0`."""
        self._open_home()
        return f"redis://:{quote(self._password, safe='')}@{HOST}:{self._port}/0"

    def _prepare(self, home: ServerHome) -> None:
        pid = server_of(home.store, home.store / "valkey.pid", "valkey")
        if pid is not None:
            raise EmbeddedServerError(
                f"Valkey process {pid}, started by hand, uses {home.store}; "
                f"end it with kill {pid}, or use another data directory."
            )

    def _command(self, home: ServerHome) -> list[str]:
        config = home.store / "valkey.conf"
        text = _CONFIG.format(
            host=HOST,
            port=self._port,
            password=self._password,
            directory=_quoted(home.store),
            pid_file=_quoted(home.store / "valkey.pid"),
        )
        # In a file and not an argument, because every user can read the arguments.
        write_private(config, text, home.account)
        return [str(valkey_server(home.account)), str(config)]

    def _is_ready(self) -> bool:
        """True once a server that knows our password has read its data."""
        try:
            with socket.create_connection((HOST, self._port), timeout=1) as connection:
                connection.sendall(f"AUTH {self._password}\r\nPING\r\nQUIT\r\n".encode())
                answer = b""
                while part := connection.recv(4096):
                    answer += part
        except OSError:
            return False
        return answer.startswith(b"+OK\r\n+PONG")


def _quoted(path: Path) -> str:
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'
