"""Tells a server that still runs from a number left in a file by one that does not."""

import os
import subprocess
import sys
from pathlib import Path


def server_of(directory: Path, pid_file: Path, program: str) -> int | None:
    """Returns the process id in the file if that process is `program` working in the directory.

    None if there is no file, no such process, or if the number now belongs to something else.
    """
    try:
        pid = int(pid_file.read_text().split("\n", 1)[0])
    except (OSError, ValueError):
        return None
    return pid if pid > 0 and _is_server(pid, directory, program) else None


def _is_server(pid: int, directory: Path, program: str) -> bool:
    if sys.platform == "linux":
        process = Path("/proc") / str(pid)
        try:
            return (
                Path(os.readlink(process / "exe")).name.startswith(program)
                and Path(os.readlink(process / "cwd")) == directory.resolve()
            )
        except OSError:
            return False
    shown = subprocess.run(
        ["ps", "-o", "command=", "-p", str(pid)],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    return program in shown.stdout and str(directory) in shown.stdout
