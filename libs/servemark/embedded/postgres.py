"""PostgreSQL 18 as a child process on 127.0.0.1."""

import os
import re
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from servemark.embedded.binaries import postgres_bin
from servemark.embedded.errors import EmbeddedServerError
from servemark.embedded.home import ServerHome, write_private
from servemark.embedded.ports import HOST
from servemark.embedded.process import run_to_end
from servemark.embedded.server import EmbeddedServer
from servemark.embedded.stale import server_of

SUPERUSER = "servemark"
DATABASE = "servemark"

_READY_LINE = 7  # of postmaster.pid, where pg_ctl looks too
_SETTING_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?")
_DEFAULTS = {
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    # A batch of 10,000 results writes 8 MB of log, and PostgreSQL would take 4 MB of buffers for
    # it: of four streams one or two waited at any moment until another had written them out; with
    # these none does. Memory that is not needed is not touched.
    "wal_buffers": "64MB",
}


class EmbeddedPostgres(EmbeddedServer):
    """One PostgreSQL cluster in a data directory, running between start() and stop().

    The first start takes about a second and creates the cluster (UTF-8, sorting by code point, data
    checksums), the superuser `servemark` with a password of its own, and the database `servemark`.
    Later starts take 0.1 s and find the data again. fsync is on unless `settings` says otherwise.

    `settings` are postgresql.conf settings for this start; those of an earlier start are forgotten.
    `port` fixes the port; without it a free one is found and kept for the next start.
    """

    title = "PostgreSQL"
    stop_signal = signal.SIGINT  # "fast": ends the sessions, then writes a checkpoint

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(data_dir, port)
        self._settings = {**_DEFAULTS, **(settings or {})}

    def dsn(self, database: str = DATABASE, user: str = SUPERUSER) -> str:
        """Returns `postgresql://user:password@127.0.0.1:port/database`.

        The password is the superuser's; another role must have been given the same.
        """
        self._open_home()
        return (
            f"postgresql://{quote(user, safe='')}:{quote(self._password, safe='')}"
            f"@{HOST}:{self._port}/{quote(database, safe='')}"
        )

    @property
    def cluster(self) -> Path:
        """PostgreSQL's own data directory, which may lie outside ours (see ServerHome)."""
        return self._open_home().store / "cluster"

    @property
    def bin_dir(self) -> Path:
        """The directory of psql, pg_dump and the other programs of this server's version."""
        return postgres_bin()

    def _prepare(self, home: ServerHome) -> None:
        self._bin = postgres_bin(home.account)
        if not self.cluster.exists():
            self._create_cluster(home)
        self._clear_pid_file()
        write_private(self.cluster / "servemark.conf", _as_conf(self._settings), home.account)

    def _command(self, home: ServerHome) -> list[str]:
        argv = [str(self._bin / "postgres"), "-D", str(self.cluster), "-h", HOST]
        # No socket file: its path has a short limit, and TCP asks for the password too.
        return [*argv, "-p", str(self._port), "-k", ""]

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

    def _create_cluster(self, home: ServerHome) -> None:
        """Creates the cluster under another name first, so that a half-made one is never served."""
        building = home.store / "cluster.new"
        shutil.rmtree(building, ignore_errors=True)
        secret = home.store / "initial-password"
        write_private(secret, self._password + "\n", home.account)
        try:
            self._run(home, "initdb", [
                "initdb", "--pgdata", str(building), "--username", SUPERUSER,
                "--pwfile", str(secret), "--auth", "scram-sha-256", "--encoding", "UTF8",
                # PostgreSQL's own C.UTF-8, so that an index never depends on the system's libc.
                "--locale", "C", "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8",
            ])  # fmt: skip
        finally:
            secret.unlink(missing_ok=True)
        with (building / "postgresql.conf").open("a") as file:
            file.write("\ninclude_if_exists = 'servemark.conf'\n")
            os.fsync(file.fileno())
        single = ["postgres", "--single", "-c", "exit_on_error=on", "-D", str(building), "postgres"]
        self._run(home, "The first database", single, f"CREATE DATABASE {DATABASE};\n")
        building.rename(self.cluster)

    def _run(self, home: ServerHome, title: str, argv: list[str], text_in: str = "") -> None:
        run_to_end(
            [str(self._bin / argv[0]), *argv[1:]],
            title=title,
            log=home.log,
            account=home.account,
            pass_fds=(home.server_lock,),
            text_in=text_in,
        )

    def _clear_pid_file(self) -> None:
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
