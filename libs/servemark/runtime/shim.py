"""Becomes another program: gives up root, ties its life to the starter's, executes the program.

Run as a script: ``python -I -S shim.py STARTER_PID UID GID SIGNAL PROGRAM ARGUMENT...``; a UID
of -1 keeps the user. It is a program of its own, and not a ``preexec_fn``, because code between
fork and exec can deadlock in a process that has threads. It imports nothing of this package.
"""

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1


def _give_up_root(uid: int, gid: int) -> None:
    if uid < 0:
        return
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def _die_with(starter: int, signal_number: int) -> None:
    """Asks the kernel to send the signal once the thread that started us is gone (Linux only)."""
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    # It may have died before the request was in place; then no signal would ever come.
    if os.getppid() != starter:
        sys.exit("The program that started this one has already ended.")


def main(arguments: list[str]) -> None:
    """Replaces this process with the program, or ends with a sentence on standard error."""
    starter, uid, gid, signal_number = (int(value) for value in arguments[:4])
    program = arguments[4:]
    try:
        _give_up_root(uid, gid)
        # After the change of user, which would clear it.
        _die_with(starter, signal_number)
        os.execv(program[0], program)
    except OSError as error:
        sys.exit(f"{program[0]} could not be started as user {os.getuid()}: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
