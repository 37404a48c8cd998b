"""From a found file to its records, with the context that lies around it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from servemark.client.records import ResultRecord
from servemark.importers import manifests
from servemark.importers.base import (
    CONTEXT_INVALID,
    FORMAT_UNKNOWN,
    UNREADABLE,
    Document,
    Imported,
    Importer,
    Rejection,
)
from servemark.importers.context import Context
from servemark.importers.detect import read_document
from servemark.importers.documents import Found, read_documents
from servemark.importers.sidecar import ContextError, ContextSearch

NOTHING = Context()


@dataclass(frozen=True)
class Reader:
    """Reads files the way an import was told to. It can be sent to another process."""

    typed: Context = field(default_factory=Context)
    """The context of --context and of the options."""
    file_format: str = "auto"
    mapping: Importer | None = None
    time_from_file: bool = False

    def read(self, found: Found, answers: Context = NOTHING) -> Iterator[Imported | Rejection]:
        """The records of a file, in order, and a rejection for each that cannot be one.

        answers: what fills the gaps that everything else leaves. A file that cannot be read, or
        whose context is wrong, gives one rejection.
        """
        place = str(found.path)
        try:
            context = self._search.of(found.path, found.root)
        except ContextError as error:
            yield Rejection(CONTEXT_INVALID, str(error), place)
            return
        if answers != NOTHING:
            context = answers.below(context)
        try:
            for document in read_documents(found.path, time_from_file=self.time_from_file):
                yield from self._of_document(document, found, context)
        except OSError as error:
            yield Rejection(UNREADABLE, f"It cannot be read: {error.strerror}.", place)

    def _of_document(
        self, document: Document | Rejection, found: Found, context: Context
    ) -> Iterator[Imported | Rejection]:
        if isinstance(document, Rejection):
            yield document
            return
        for outcome in read_document(document, context, self.file_format, self.mapping):
            if isinstance(outcome, Imported):
                yield replace(
                    outcome,
                    record=renamed(outcome.record, context.names),
                    hardware=context.values.get("hardware"),
                )
            elif outcome.reason != FORMAT_UNKNOWN or not _is_passed_over(document, found):
                yield outcome

    @cached_property
    def _search(self) -> ContextSearch:
        return ContextSearch(self.typed)

    def __getstate__(self) -> dict[str, object]:
        """Everything but the search, which keeps what it found in this process."""
        return {key: value for key, value in vars(self).items() if key != "_search"}


def renamed(record: ResultRecord, names: Mapping[str, Mapping[str, str]]) -> ResultRecord:
    """The record with what a context's `names` say for its own names.

    A name together with what belongs to it (`8 x H100`, `vllm 0.11.0`, `Qwen3-8B fp8`) is looked up
    before the name alone. A model's new name may have the quantization behind it, a framework's the
    version.
    """
    changes: dict[str, Any] = {}
    if found := _named(names, "model", f"{record.model} {record.quantization}", record.model):
        changes |= zip(("model", "quantization"), found.split(maxsplit=1), strict=False)
    gpus = f"{record.gpu_count} x {record.hardware}"
    if found := _named(names, "hardware", gpus, record.hardware):
        changes["hardware"] = found
    framework = f"{record.framework} {record.framework_version}"
    if found := _named(names, "framework", framework, record.framework):
        changes |= zip(("framework", "framework_version"), found.split(maxsplit=1), strict=False)
    return replace(record, **changes) if changes else record


def _named(
    names: Mapping[str, Mapping[str, str]], kind: str, complete: str, alone: str
) -> str | None:
    table = names.get(kind, {})
    return table.get(complete, table.get(alone))


def _is_passed_over(document: Document, found: Found) -> bool:
    """Whether the document was found beside results and tells about them."""
    return not found.is_named and manifests.is_manifest(found.path, document.data)
