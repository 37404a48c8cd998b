"""Runs a command as if it had been typed, and says how it ended."""

import signal
import subprocess
from collections.abc import Iterable, Sequence

from servemark.cli.output import CliError

NOT_FOUND = 127
NOT_EXECUTABLE = 126

# What ends or steers a command from outside. Ctrl-Z stops both without our help.
_FORWARDED = {
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
}
# si_code of a signal that the kernel sent: Ctrl-C goes to everyone at the terminal.
_SI_KERNEL = 0x80


class NotStartedError(CliError):
    """The command could not be started; `code` is what a shell answers then."""

    def __init__(self, sentence: str, code: int) -> None:
        super().__init__(sentence)
        self.code = code


def run_command(command: Sequence[str]) -> int:
    """Runs a command with our input, outputs, terminal and environment; returns its exit code.

    Signals sent to us are passed on. One that ended the command gives 128 and its number, as in a
    shell. Raises NotStartedError.
    """
    awaited = {*_FORWARDED, signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    try:
        try:
            # The child has the signals that we had; no thread runs yet that could be in the way.
            child = subprocess.Popen(  # noqa: S603
                command,
                preexec_fn=lambda: _unblock(before),
            )
        except FileNotFoundError:
            raise NotStartedError(f"There is no command {command[0]}.", NOT_FOUND) from None
        except OSError as error:
            raise NotStartedError(
                f"{command[0]} cannot be run: {error.strerror}.", NOT_EXECUTABLE
            ) from None
        while child.poll() is None:
            came = signal.sigwaitinfo(awaited)
            if came.si_signo != signal.SIGCHLD and came.si_code != _SI_KERNEL:
                child.send_signal(came.si_signo)
    finally:
        while pending := signal.sigpending() & awaited:
            # For a command that has ended; it must not end us before its results are kept.
            signal.sigwait(pending)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _unblock(before: Iterable[int]) -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
