"""PostgreSQL 18 as a child process on 127.0.0.1."""

import re
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from servemark.embedded.binaries import postgres_bin
from servemark.embedded.errors import EmbeddedServerError
from servemark.embedded.home import ServerHome, write_private
from servemark.embedded.ports import HOST, choose_port, is_free
from servemark.embedded.process import ChildProcess, run_to_end
from servemark.embedded.stale import server_of

SUPERUSER = "servemark"
DATABASE = "servemark"

_READY_SECONDS = 120.0  # recovery after a crash comes before readiness
_STOP_SECONDS = 30.0
_PORT_ATTEMPTS = 3
_READY_LINE = 7  # of postmaster.pid, where pg_ctl looks too
_SETTING_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?")
_DEFAULTS = {
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
}


class EmbeddedPostgres:
    """One PostgreSQL cluster in a data directory, running between start() and stop().

    The first start creates the cluster (UTF-8, sorting by code point, data checksums), the
    superuser `servemark` with a password of its own, and the database `servemark`. Later starts
    find the data again. fsync is on unless `settings` says otherwise.

    `settings` are postgresql.conf settings for this start; those of an earlier start are forgotten.
    `port` fixes the port; without it a free one is found and kept for the next start.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self._data_dir = Path(data_dir)
        self._wanted_port = port
        self._settings = {**_DEFAULTS, **(settings or {})}
        self._home: ServerHome | None = None
        self._child: ChildProcess | None = None
        self._port = 0
        self._password = ""

    def start(self) -> None:
        """Starts the server and returns once it answers, about a second at first, 0.1 s later.

        Raises EmbeddedServerError if the data directory is in use, the wanted port is taken, or the
        server does not come up; then nothing is left running.
        """
        if self._home is not None:
            raise EmbeddedServerError("This PostgreSQL is started already; call stop() first.")
        self._home = ServerHome(self._data_dir, "PostgreSQL")
        try:
            self._password = self._home.password()
            self._bin = postgres_bin(self._home.account)
            self._create_cluster(self._home)
            self._remove_stale_pid_file()
            self._serve(self._home)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends the server cleanly, open sessions too. A repeat does no harm."""
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

    def dsn(self, database: str = DATABASE, user: str = SUPERUSER) -> str:
        """Returns `postgresql://user:password@127.0.0.1:port/database`.

        The password is the superuser's; another role must have been given the same.
        """
        self._require_running()
        return (
            f"postgresql://{quote(user, safe='')}:{quote(self._password, safe='')}"
            f"@{HOST}:{self._port}/{quote(database, safe='')}"
        )

    @property
    def port(self) -> int:
        """The port on 127.0.0.1."""
        self._require_running()
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

    @property
    def cluster(self) -> Path:
        """PostgreSQL's own data directory, which may lie outside ours (see ServerHome)."""
        return self._require_running().store / "cluster"

    @property
    def bin_dir(self) -> Path:
        """The directory of psql, pg_dump and the other programs of this server's version."""
        return postgres_bin()

    def _require_running(self) -> ServerHome:
        if self._home is None:
            raise EmbeddedServerError("This PostgreSQL is not started; call start() first.")
        return self._home

    def _create_cluster(self, home: ServerHome) -> None:
        cluster, building = home.store / "cluster", home.store / "cluster.new"
        if cluster.exists():
            return
        # What a starter killed in the middle has left is of no use.
        shutil.rmtree(building, ignore_errors=True)
        secret = home.store / "initial-password"
        write_private(secret, self._password + "\n", home.account)
        try:
            self._run("initdb", [
                "initdb", "--pgdata", str(building), "--username", SUPERUSER,
                "--pwfile", str(secret), "--auth", "scram-sha-256", "--encoding", "UTF8",
                # PostgreSQL's own C.UTF-8, so that an index never depends on the system's libc.
                "--locale", "C", "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8",
            ])  # fmt: skip
        finally:
            secret.unlink(missing_ok=True)
        with (building / "postgresql.conf").open("a") as file:
            file.write("\ninclude_if_exists = 'servemark.conf'\n")
        self._run(
            "Creating the first database",
            ["postgres", "--single", "-c", "exit_on_error=on", "-D", str(building), "postgres"],
            f"CREATE DATABASE {DATABASE};\n",
        )
        building.rename(cluster)

    def _run(self, title: str, argv: list[str], text_in: str = "") -> None:
        home = self._require_running()
        run_to_end(
            [str(self._bin / argv[0]), *argv[1:]],
            title=title,
            log=home.log,
            account=home.account,
            pass_fds=(home.server_lock,),
            text_in=text_in,
        )

    def _remove_stale_pid_file(self) -> None:
        """Removes a postmaster.pid whose number has meanwhile gone to some other program.

        PostgreSQL would take that program for itself and refuse to start.
        """
        file = self.cluster / "postmaster.pid"
        pid = server_of(self.cluster, file, "postgres")
        if pid is not None:
            raise EmbeddedServerError(
                f"PostgreSQL process {pid}, started by hand, uses {self.cluster}; "
                f"end it with kill -INT {pid}, or use another data directory."
            )
        file.unlink(missing_ok=True)

    def _serve(self, home: ServerHome) -> None:
        write_private(self.cluster / "servemark.conf", _as_conf(self._settings), home.account)
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
            "PostgreSQL",
            [
                str(self._bin / "postgres"), "-D", str(self.cluster),
                "-h", HOST, "-p", str(self._port),
                # No socket file: its path has a short limit, and TCP asks for the password too.
                "-k", "",
            ],
            log=home.log,
            stop_signal=signal.SIGINT,  # "fast": ends sessions, then writes a checkpoint
            account=home.account,
            pass_fds=(home.server_lock,),
        )  # fmt: skip
        child.start()
        if child.pid is not None:
            home.note_server(child.pid)
        return child

    def _is_ready(self) -> bool:
        try:
            lines = (self.cluster / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return (
            len(lines) > _READY_LINE
            and lines[0] == str(self.pid)
            and lines[_READY_LINE].strip() == "ready"
        )


def _as_conf(settings: Mapping[str, str]) -> str:
    lines = ["# Written at every start; change the settings where the server is started.\n"]
    for name, value in settings.items():
        if not _SETTING_NAME.fullmatch(name) or "\n" in value or "\0" in value:
            raise EmbeddedServerError(
                f"PostgreSQL setting {name!r} cannot be written; give a plain name and one line."
            )
        escaped = value.replace("\\", "\\\\").replace("'", "''")
        lines.append(f"{name} = '{escaped}'\n")
    return "".join(lines)
