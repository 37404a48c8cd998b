"""How far an import is, on a terminal."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from servemark.cli.import_summary import ImportSummary
from servemark.cli.output import err
from servemark.importers.documents import find_files


class ImportProgress:
    """A bar over the files on stderr, if that is a terminal; otherwise nothing."""

    def __init__(self, paths: Sequence[Path]) -> None:
        console = err()
        self._bar: Progress | None = None
        if console.is_terminal:
            columns = (BarColumn(), MofNCompleteColumn(), TextColumn("files {task.description}"))
            self._bar = Progress(*columns, console=console, transient=True)
            self._task = self._bar.add_task("", total=sum(1 for _ in find_files(paths)))

    def show(self, summary: ImportSummary) -> None:
        """Shows the files that were read and the results that were stored by now."""
        if self._bar is not None:
            text = f"· {summary.read:,} results read · {summary.stored:,} stored"
            self._bar.update(self._task, completed=summary.files, description=text)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Takes the bar away while somebody is asked."""
        self.stop()
        yield
        if self._bar is not None:
            self._bar.start()

    def stop(self) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.stop()

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
