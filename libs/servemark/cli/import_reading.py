"""What files hold, with the gaps filled by whoever can be asked and the names resolved."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice

from servemark.cli.asking import Answers
from servemark.cli.import_progress import ImportProgress
from servemark.cli.resolving import Resolver, Unresolved
from servemark.importers.base import Imported, Rejection
from servemark.importers.documents import Found
from servemark.importers.reading import Reader, renamed
from servemark.importers.workers import FileReaders

UNRESOLVED = "CONFIG_UNRESOLVED"


def refused(outcome: Imported, unresolved: Iterable[Unresolved]) -> Rejection:
    """The rejection of a record whose names mean no entry of the catalog, or may mean several."""
    detail = " ".join(one.detail for one in unresolved)
    return Rejection(UNRESOLVED, detail, outcome.place, outcome.file_format)


class Reading:
    """Reads found files for an import. resolver: None where there is no catalog to ask."""

    def __init__(
        self,
        reader: Reader,
        answers: Answers,
        resolver: Resolver | None,
        progress: ImportProgress,
    ) -> None:
        self._reader = reader
        self._answers = answers
        self._resolver = resolver
        self._progress = progress

    def outcomes(self, files: Iterable[Found]) -> Iterator[Imported | Rejection | None]:
        """Each outcome in order; None stands for the end of a file."""
        with FileReaders(self._reader) as readers:
            number = 0
            asked: Found | None = None
            for found, outcome in readers.outcomes(files):
                if outcome is None:
                    number, asked = 0, None
                    yield None
                    continue
                if found is asked:
                    # The rest of the file has been read again, with the answers.
                    continue
                if self._fills(outcome):
                    readers.answers = self._answers.context
                    asked = found
                    again = self._reader.read(found, self._answers.context)
                    for outcome in islice(again, number, None):
                        self._fills(outcome)
                        yield self._resolved(outcome)
                    continue
                number += 1
                yield self._resolved(outcome)

    def _fills(self, outcome: Imported | Rejection) -> bool:
        """Asks for what a record lacks; whether the file is worth reading again."""
        if isinstance(outcome, Imported) or not outcome.missing:
            return False
        with self._progress.paused():
            return self._answers.fill(outcome.missing, outcome.place)

    def _resolved(self, outcome: Imported | Rejection) -> Imported | Rejection:
        if self._resolver is None or isinstance(outcome, Rejection):
            return outcome
        record, unresolved = self._resolver.resolve(outcome.record, outcome.hardware)
        if unresolved and (names := self._chosen(unresolved, outcome.place)):
            record, unresolved = self._resolver.resolve(renamed(record, names), outcome.hardware)
        return replace(outcome, record=record) if not unresolved else refused(outcome, unresolved)

    def _chosen(self, unresolved: Iterable[Unresolved], place: str) -> dict[str, dict[str, str]]:
        names: dict[str, dict[str, str]] = {}
        for one in unresolved:
            with self._progress.paused():
                choice = self._answers.choose(one, place)
            if choice is not None:
                names.setdefault(one.kind, {})[one.name] = choice
        return names
