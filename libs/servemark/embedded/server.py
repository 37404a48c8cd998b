"""What the two embedded servers have in common: one life between start() and stop()."""

import signal
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Self

from servemark.embedded.errors import EmbeddedServerError
from servemark.embedded.home import ServerHome
from servemark.embedded.ports import choose_port, is_free
from servemark.embedded.process import ChildProcess

_READY_SECONDS = 120.0  # recovery after a crash comes before readiness
_STOP_SECONDS = 30.0
_PORT_ATTEMPTS = 3


class EmbeddedServer(ABC):
    """A server with a data directory that runs as a child process on 127.0.0.1.

    `port` fixes the port; without it a free one is found and kept for the next start.
    """

    title: str
    stop_signal: signal.Signals

    def __init__(self, data_dir: Path, port: int | None) -> None:
        self._data_dir = Path(data_dir).absolute()
        self._wanted_port = port
        self._home: ServerHome | None = None
        self._child: ChildProcess | None = None
        self._port = 0
        self._password = ""

    def start(self) -> None:
        """Starts the server and returns once it answers.

        Raises EmbeddedServerError if the data directory is in use, the wanted port is taken, or the
        server does not come up; then nothing is left running.
        """
        if self._home is not None:
            raise EmbeddedServerError(f"This {self.title} is started already; call stop() first.")
        self._home = ServerHome(self._data_dir, self.title)
        try:
            self._password = self._home.password()
            self._prepare(self._home)
            self._serve(self._home)
        except OSError as error:
            self.stop()
            raise EmbeddedServerError(
                f"{self.title} in {self._data_dir} could not be started ({error}); "
                "start as the user that owns its files, or use another data directory."
            ) from error
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends the server cleanly, whatever its clients do. A repeat does no harm."""
        try:
            if self._child is not None:
                self._child.stop(_STOP_SECONDS)
        finally:
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

    @property
    def port(self) -> int:
        """The port on 127.0.0.1."""
        self._open_home()
        return self._port

    @property
    def pid(self) -> int | None:
        """The process id of the server's main process, None if it is not started."""
        return self._child.pid if self._child else None

    @property
    def alive(self) -> bool:
        """True while the server process exists."""
        return self._child is not None and self._child.alive

    @property
    def log(self) -> Path:
        """The file that the server's messages go to."""
        return self._data_dir / "server.log"

    @abstractmethod
    def _prepare(self, home: ServerHome) -> None:
        """Makes the data directory fit to be served; called once for each start."""

    @abstractmethod
    def _command(self, home: ServerHome) -> list[str]:
        """Returns the program and its arguments for the port just chosen."""

    @abstractmethod
    def _is_ready(self) -> bool:
        """True once our own server, and not a stranger on its port, takes connections."""

    def _open_home(self) -> ServerHome:
        if self._home is None:
            raise EmbeddedServerError(f"This {self.title} is not started; call start() first.")
        return self._home

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
        child = ChildProcess(
            self.title,
            self._command(home),
            log=home.log,
            stop_signal=self.stop_signal,
            account=home.account,
            pass_fds=(home.server_lock,),
        )
        child.start()
        home.note_server(child.pid)
        return child
