"""Files read by several processes, with the outcomes in the order of the files.

Each process gets a few files at a time and answers through a pipe, whose buffer is small: a
process that is ahead waits, so that however large the files and however many, only a few hundred
outcomes are in memory.
"""

import os
import signal
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection
from typing import Any

from servemark.importers.base import Imported, Rejection
from servemark.importers.context import Context
from servemark.importers.documents import Found
from servemark.importers.reading import Reader

Outcome = Imported | Rejection

# Below these, starting processes takes longer than reading.
_FEW_FILES = 500
_FEW_BYTES = 8 * 2**20
_TASK_FILES = 32
_TASK_BYTES = 2**20
_TASK_CHARACTERS = 2**14
"""Of the paths of a task: with both of its tasks, a process's pipe is far from full."""
_MESSAGE_OUTCOMES = 200
_AHEAD = 2
"""Tasks that a process has at most."""
_MAX_PROCESSES = 4


class WorkerLostError(Exception):
    """A process that read files ended: mostly because the system had no memory left."""


class FileReaders:
    """Reads found files; `with` ends the processes, whatever they are at."""

    def __init__(self, reader: Reader, processes: int | None = None) -> None:
        self.reader = reader
        self.answers = Context()
        """What fills the gaps of files that are handed out from now on."""
        self._limit = processes or min(_MAX_PROCESSES, len(os.sched_getaffinity(0)))
        self._workers: list[_Worker] = []

    def outcomes(self, files: Iterable[Found]) -> Iterator[tuple[Found, Outcome | None]]:
        """Each outcome with its file, in order; None stands for the end of a file.

        Raises WorkerLostError.
        """
        remaining = iter(files)
        first = list(islice(remaining, _FEW_FILES + 1))
        if len(first) <= _FEW_FILES and sum(map(_size, first)) <= _FEW_BYTES:
            for found in first:
                for outcome in self.reader.read(found, self.answers):
                    yield found, outcome
                yield found, None
            return
        tasks = _tasks(chain(first, remaining))
        self._workers = [_Worker(self.reader) for _ in range(min(self._limit, len(first)))]
        handed: deque[_Worker] = deque()
        for number, task in enumerate(tasks):
            worker = self._workers[number % len(self._workers)]
            worker.hand(task, self.answers)
            handed.append(worker)
            if len(handed) == _AHEAD * len(self._workers):
                yield from handed.popleft().answers()
        while handed:
            yield from handed.popleft().answers()

    def __enter__(self) -> "FileReaders":
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.end()


class _Worker:
    """A process that reads files, seen from the one that hands them out."""

    def __init__(self, reader: Reader) -> None:
        # A forked copy of a process with threads and channels may hang; a fresh one cannot.
        context = get_context("spawn")
        self._pipe, far = context.Pipe()
        self._process = context.Process(target=_work, args=(far, reader), daemon=True)
        # Ctrl-C goes to the whole group, and is the first process's to answer. The tracker is
        # started before, as starting it takes the block away.
        resource_tracker.ensure_running()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        far.close()
        self._tasks: deque[list[Found]] = deque()

    def hand(self, task: list[Found], answers: Context) -> None:
        """Gives the process files to read."""
        self._tasks.append(task)
        try:
            self._pipe.send((task, answers))
        except OSError:
            raise WorkerLostError(self._lost()) from None

    def answers(self) -> Iterator[tuple[Found, Outcome | None]]:
        """The outcomes of the oldest task."""
        task = self._tasks.popleft()
        while True:
            try:
                message = self._pipe.recv()
            except (EOFError, OSError):
                raise WorkerLostError(self._lost()) from None
            if message is None:
                return
            for number, outcome in message:
                yield task[number], outcome

    def end(self) -> None:
        """Ends the process now: it only reads."""
        self._pipe.close()
        self._process.terminate()
        self._process.join()
        self._process.close()

    def _lost(self) -> str:
        self._process.join(5)
        return f"A process that read files ended with {self._process.exitcode}."


def _work(pipe: Connection, reader: Reader) -> None:
    """Reads what comes through the pipe until its other end is closed."""
    try:
        while True:
            task, answers = pipe.recv()
            _answer(pipe, reader, task, answers)
    except (EOFError, OSError):
        return


def _answer(pipe: Connection, reader: Reader, task: list[Found], answers: Context) -> None:
    message: list[tuple[int, Outcome | None]] = []
    for number, found in enumerate(task):
        for outcome in chain[Any](reader.read(found, answers), [None]):
            message.append((number, outcome))
            if len(message) == _MESSAGE_OUTCOMES:
                pipe.send(message)
                message = []
    pipe.send(message)
    pipe.send(None)


def _tasks(files: Iterator[Found]) -> Iterator[list[Found]]:
    """The files in lists that are worth a message."""
    task: list[Found] = []
    size = characters = 0
    for found in files:
        task.append(found)
        size += _size(found)
        characters += len(str(found.path))
        if len(task) == _TASK_FILES or size >= _TASK_BYTES or characters >= _TASK_CHARACTERS:
            yield task
            task, size, characters = [], 0, 0
    if task:
        yield task


def _size(found: Found) -> int:
    try:
        return found.path.stat().st_size
    except OSError:
        return 0
