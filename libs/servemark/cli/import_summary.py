"""What became of an import: counts by format and by reason, in bounded memory."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from servemark.cli.output import err, out
from servemark.client.load import LoadSummary
from servemark.importers.base import Rejection

_MAX_SHOWN = 10
_MAX_DETAILS = 1_000
_UNKNOWN = "(unknown)"


class RejectionCounts:
    """Rejections by reason and sentence, with the first place of each.

    Of sentences the first 1,000 are told apart; the others count for their reason alone.
    """

    def __init__(self, rejections: Iterable[Rejection] = ()) -> None:
        self.by_reason: Counter[str] = Counter()
        self._by_detail: Counter[tuple[str, str]] = Counter()
        self._first: dict[tuple[str, str], str] = {}
        for rejection in rejections:
            self.add(rejection)

    def add(self, rejection: Rejection) -> None:
        """Counts a rejection."""
        self.by_reason[rejection.reason] += 1
        key = (rejection.reason, rejection.detail)
        if key in self._first or len(self._first) < _MAX_DETAILS:
            self._by_detail[key] += 1
            self._first.setdefault(key, rejection.place)

    def print(self) -> None:
        """Prints each distinct sentence once, with how often it occurred and where first."""
        console = err()
        for (reason, detail), count in self._by_detail.most_common(_MAX_SHOWN):
            place = self._first[reason, detail]
            where = f" ({count} times, first in {place})" if count > 1 else f" ({place})"
            line = Text.assemble((f"rejected {reason}", "yellow"), f": {detail}{where}")
            console.print(line, soft_wrap=True)
        if len(self._by_detail) > _MAX_SHOWN:
            more = len(self._by_detail) - _MAX_SHOWN
            console.print(f"... and {more} more reasons; --json lists them all.")


@dataclass
class _Counts:
    stored: int = 0
    duplicates: int = 0
    rejected: int = 0


@dataclass
class ImportSummary:
    """The counts of an import."""

    files: int = 0
    read: int = 0
    replayed: int = 0
    by_format: dict[str, _Counts] = field(default_factory=dict)
    rejections: RejectionCounts = field(default_factory=RejectionCounts)

    @property
    def stored(self) -> int:
        """Results that are stored now and were not before."""
        return sum(counts.stored for counts in self.by_format.values())

    @property
    def duplicates(self) -> int:
        """Results that were stored before, or came twice."""
        return sum(counts.duplicates for counts in self.by_format.values())

    @property
    def rejected(self) -> int:
        """Documents and records that were refused."""
        return self.rejections.by_reason.total()

    def add_rejection(self, rejection: Rejection) -> None:
        """Counts a rejection for its format and its reason."""
        self._of(rejection.file_format).rejected += 1
        self.rejections.add(rejection)

    def add_sent(self, file_format: str, answer: LoadSummary) -> None:
        """Counts what became of records of a format; their rejections come one by one."""
        counts = self._of(file_format)
        counts.stored += answer.stored
        counts.duplicates += answer.duplicates
        self.replayed += answer.replayed

    def to_json(self) -> dict[str, Any]:
        """The counts as `servemark import --json` prints them at the end."""
        return {
            "stored": self.stored,
            "duplicates": self.duplicates,
            "rejected": self.rejected,
            "replayed": self.replayed,
            "files": self.files,
            "formats": {name: vars(counts) for name, counts in sorted(self.by_format.items())},
            "reasons": dict(sorted(self.rejections.by_reason.items())),
        }

    def print(self) -> None:
        """Prints the counts in a sentence, by format where there are several, and the reasons."""
        sentence = f"Stored {in_words(self.stored)}"
        if self.duplicates:
            sentence += f"; {self.duplicates} were stored before"
        if self.rejected:
            sentence += f"; {self.rejected} rejected"
        out().print(f"{sentence}.")
        if len(self.by_format) > 1:
            self._print_table()
        self.rejections.print()

    def _print_table(self) -> None:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
        table.add_column("format")
        for label in ("stored", "stored before", "rejected"):
            table.add_column(label, justify="right")
        for name, counts in sorted(self.by_format.items()):
            figures = (counts.stored, counts.duplicates, counts.rejected)
            table.add_row(name, *(f"{figure:,}" for figure in figures))
        out().print(table)

    def _of(self, file_format: str) -> _Counts:
        return self.by_format.setdefault(file_format or _UNKNOWN, _Counts())


def in_words(results: int) -> str:
    """A number of results as people say it."""
    return "1 result" if results == 1 else f"{results} results"
