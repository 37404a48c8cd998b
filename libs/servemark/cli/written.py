"""Which files a command wrote."""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from servemark.importers.documents_json import SUFFIXES

MAX_FILES = 200_000
"""Most files that are looked at before a command; a folder with more is named as too large."""

_OUTPUT_WORDS = {"result", "results", "output", "out", "artifact", "artifacts", "export", "report"}

# What tells a file that was written from one that was not: inode, size, time of the last change.
_State = tuple[int, int, int]


class Watch:
    """The state of the places where a command may write, before it runs.

    Those are the working directory, and what the command line names as its output (`--result-dir
    D`, `--output-file=F`) or as a file. Hidden folders are passed over.
    """

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        self._places = [folder, *(folder / path for path in named_paths(command))]
        self._before = self._states()
        self.is_complete = len(self._before) < MAX_FILES

    def written(self) -> list[Path]:
        """The files that are new or have changed since, the oldest first."""
        found = [path for path, state in self._states().items() if self._before.get(path) != state]
        return sorted(found, key=lambda path: path.stat().st_mtime_ns)

    def _states(self) -> dict[Path, _State]:
        states = {}
        for path in islice(_files(self._places), MAX_FILES):
            try:
                found = path.stat()
            except OSError:
                continue
            states[path.resolve()] = (found.st_ino, found.st_size, found.st_mtime_ns)
        return states


def named_paths(command: Sequence[str]) -> list[Path]:
    """The paths that a command line names: the values of options for output, and its files."""
    paths = []
    is_output = False
    for word in command[1:]:
        option, has_value, value = word.partition("=")
        if word.startswith("-"):
            is_output = word == "-o" or bool(_OUTPUT_WORDS & set(re.split(r"[-_.]+", option)))
            if is_output and has_value:
                paths.append(Path(value))
            continue
        if is_output or _is_read(Path(word)):
            paths.append(Path(word))
        is_output = False
    return paths


def _files(places: Iterable[Path]) -> Iterator[Path]:
    for place in places:
        if place.is_file():
            yield place
            continue
        for folder, folders, names in os.walk(place):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                path = Path(folder, name)
                if not name.startswith(".") and _is_read(path):
                    yield path


def _is_read(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES
