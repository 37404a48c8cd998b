"""Valkey as a child process on 127.0.0.1: the cache and the event streams of one machine."""

import signal
import socket
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from servemark.embedded.binaries import valkey_server
from servemark.embedded.errors import EmbeddedServerError
from servemark.embedded.home import ServerHome, write_private
from servemark.embedded.ports import HOST, choose_port, is_free
from servemark.embedded.process import ChildProcess

_READY_SECONDS = 60.0
_STOP_SECONDS = 20.0
_PORT_ATTEMPTS = 3

_CONFIG = """\
# Written at every start; change the settings where the server is started.
bind {host}
port {port}
protected-mode yes
requirepass {password}
dir {directory}
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


class EmbeddedValkey:
    """One Valkey server in a data directory, running between start() and stop().

    It asks for a password, kept in the data directory, and keeps what it holds over a restart.
    `port` fixes the port; without it a free one is found and kept for the next start.
    """

    def __init__(self, data_dir: Path, *, port: int | None = None) -> None:
        self._data_dir = Path(data_dir)
        self._wanted_port = port
        self._home: ServerHome | None = None
        self._child: ChildProcess | None = None
        self._port = 0
        self._password = ""

    def start(self) -> None:
        """Starts the server and returns once it answers, in about 0.1 s.

        Raises EmbeddedServerError if the data directory is in use, the wanted port is taken, or the
        server does not come up; then nothing is left running.
        """
        if self._home is not None:
            raise EmbeddedServerError("This Valkey is started already; call stop() first.")
        self._home = ServerHome(self._data_dir, "Valkey")
        try:
            self._password = self._home.password()
            self._serve(self._home)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends the server after it has written what it holds. A repeat does no harm."""
        if self._child is not None:
            self._child.stop(_STOP_SECONDS)
            self._child = None
        if self._home is not None:
            self._home.close()
            self._home = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def url(self) -> str:
        """Returns `redis://:password@127.0.0.1:port/0`."""
        if self._home is None:
            raise EmbeddedServerError("This Valkey is not started; call start() first.")
        return f"redis://:{quote(self._password, safe='')}@{HOST}:{self._port}/0"

    @property
    def port(self) -> int:
        """The port on 127.0.0.1, 0 before the first start."""
        return self._port

    @property
    def pid(self) -> int | None:
        """The process id of the server, None if it is not started."""
        return self._child.pid if self._child else None

    @property
    def alive(self) -> bool:
        """True while the server process exists."""
        return self._child is not None and self._child.alive

    @property
    def log(self) -> Path:
        """The file that the server's messages go to."""
        return self._data_dir / "server.log"

    def _serve(self, home: ServerHome) -> None:
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            self._port = choose_port(self._wanted_port, home.port_memory)
            self._child = self._launch(home)
            try:
                self._child.wait_ready(self._is_ready, _READY_SECONDS)
            except EmbeddedServerError:
                self._child.stop(_STOP_SECONDS)
                # Somebody may have taken the port between our choice and the server's start.
                if attempt == _PORT_ATTEMPTS or self._wanted_port or is_free(self._port):
                    raise
            else:
                return

    def _launch(self, home: ServerHome) -> ChildProcess:
        config = home.store / "valkey.conf"
        text = _CONFIG.format(
            host=HOST,
            port=self._port,
            password=self._password,
            directory=_quoted(str(home.store)),
        )
        # In a file and not an argument, because every user can read the arguments.
        write_private(config, text, home.account)
        child = ChildProcess(
            "Valkey",
            [str(valkey_server(home.account)), str(config)],
            log=home.log,
            stop_signal=signal.SIGTERM,
            account=home.account,
            pass_fds=(home.server_lock,),
        )
        child.start()
        if child.pid is not None:
            home.note_server(child.pid)
        return child

    def _is_ready(self) -> bool:
        """True if the server knows our password and has read its data; another's would not."""
        try:
            with socket.create_connection((HOST, self._port), timeout=1) as connection:
                connection.sendall(f"AUTH {self._password}\r\nPING\r\nQUIT\r\n".encode())
                answer = b""
                while part := connection.recv(4096):
                    answer += part
        except OSError:
            return False
        return answer.startswith(b"+OK\r\n+PONG")


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
