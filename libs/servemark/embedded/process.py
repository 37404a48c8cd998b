"""A child process that lives as long as its starter: started, awaited, stopped, and explained."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from servemark.embedded.account import Account
from servemark.embedded.errors import EmbeddedServerError
from servemark.runtime.lifetime import tied

_LOG_KEPT_BYTES = 16 * 1024 * 1024
_LINES_SHOWN = 12


def _command(
    argv: Sequence[str], account: Account | None, death_signal: signal.Signals
) -> list[str]:
    uid, gid = (account.uid, account.gid) if account else (-1, -1)
    return tied(argv, death_signal, uid=uid, gid=gid)


def _environment() -> dict[str, str]:
    # Nothing of ours: no PGDATA that bends the server, no secret in its /proc entry.
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def tail(log: Path, start: int = 0) -> str:
    """Returns the last lines of the log after the byte `start` as one text; a remark if none."""
    try:
        with log.open("rb") as file:
            file.seek(max(start, log.stat().st_size - 16_384))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        lines = []
    return "\n".join(f"  {line}" for line in lines[-_LINES_SHOWN:]) or "  (it wrote nothing)"


def open_log(log: Path) -> IO[bytes]:
    """Opens the log for appending, readable by its owner only; a long one is kept as `.1`."""
    if log.exists() and log.stat().st_size > _LOG_KEPT_BYTES:
        log.replace(log.with_name(log.name + ".1"))
    return os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")


def run_to_end(
    argv: Sequence[str],
    *,
    title: str,
    log: Path,
    account: Account | None = None,
    pass_fds: Sequence[int] = (),
    text_in: str = "",
    seconds: float = 120,
) -> None:
    """Runs a program to its end as the account; raises EmbeddedServerError if it fails."""
    with open_log(log) as out:
        start = out.tell()
        try:
            done = subprocess.run(
                _command(argv, account, signal.SIGTERM),
                input=text_in.encode(),
                stdout=out,
                stderr=subprocess.STDOUT,
                env=_environment(),
                cwd="/",
                start_new_session=True,
                pass_fds=pass_fds,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise EmbeddedServerError(
                f"{title} did not end within {seconds:.0f} s; see {log}:\n{tail(log, start)}"
            ) from error
    if done.returncode != 0:
        raise EmbeddedServerError(f"{title} failed; see {log}:\n{tail(log, start)}")


class ChildProcess:
    """A server that the kernel ends when this process ends, even by SIGKILL.

    The kernel's promise is tied to the thread that forked, not to the process. So each child has
    a thread of its own that starts it and waits for it: whoever calls start() may end.
    """

    def __init__(
        self,
        title: str,
        argv: Sequence[str],
        *,
        log: Path,
        stop_signal: signal.Signals,
        account: Account | None = None,
        pass_fds: Sequence[int] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """`environment` is the whole environment of the child; the bare minimum where None."""
        self._title = title
        self._argv = list(argv)
        self._log = log
        self._stop_signal = stop_signal
        self._account = account
        self._pass_fds = tuple(pass_fds)
        self._environment = dict(environment) if environment is not None else _environment()
        self._process: subprocess.Popen[bytes] | None = None
        self._refusal: OSError | None = None
        self._begun = threading.Event()
        self._gone = threading.Event()
        self._log_start = 0

    @property
    def pid(self) -> int | None:
        """The process id of the server, which stays known after its end; None before the start."""
        return self._process.pid if self._process else None

    @property
    def alive(self) -> bool:
        """True while the server process exists."""
        return self._process is not None and not self._gone.is_set()

    def start(self) -> None:
        """Starts the program; returns once it has a process id, before it is ready."""
        self._log_start = self._log.stat().st_size if self._log.exists() else 0
        threading.Thread(target=self._own, name=f"own-{self._title}", daemon=True).start()
        self._begun.wait()
        if self._refusal is not None:
            raise EmbeddedServerError(f"{self._title} could not be started: {self._refusal}")

    def _own(self) -> None:
        try:
            with open_log(self._log) as out:
                self._process = subprocess.Popen(
                    _command(self._argv, self._account, self._stop_signal),
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    env=self._environment,
                    cwd="/",
                    # A Ctrl-C at the terminal is for the starter, which stops things in order.
                    start_new_session=True,
                    pass_fds=self._pass_fds,
                )
        except OSError as error:
            self._refusal = error
            self._gone.set()
            return
        finally:
            self._begun.set()
        self._process.wait()
        self._gone.set()

    def wait_ready(self, ready: Callable[[], bool], seconds: float) -> None:
        """Returns once `ready` says so; EmbeddedServerError if the server ends or is late."""
        deadline = time.monotonic() + seconds
        while not ready():
            if self._gone.wait(0.02):
                raise EmbeddedServerError(
                    f"{self._title} ended while it was starting; see {self._log}:\n{self._tail()}"
                )
            if time.monotonic() > deadline:
                raise EmbeddedServerError(
                    f"{self._title} was not ready within {seconds:.0f} s; "
                    f"see {self._log}:\n{self._tail()}"
                )

    def stop(self, grace: float) -> None:
        """Ends the server: asks, waits `grace` seconds, then kills. A repeat does no harm."""
        if self._process is None:
            return
        for number in (self._stop_signal, signal.SIGKILL):
            self._process.send_signal(number)
            if self._gone.wait(grace):
                return
        raise EmbeddedServerError(
            f"{self._title}, process {self._process.pid}, does not end even when killed; "
            "its disk may be hanging."
        )

    def _tail(self) -> str:
        return tail(self._log, self._log_start)
