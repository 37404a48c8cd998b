"""What an importer is: it recognises a document and turns it into records or reasons."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from servemark.client.record_fields import FieldProblem, RecordError
from servemark.client.records import ResultRecord
from servemark.importers import aliases
from servemark.importers.context import CONTEXT_KEYS, Context, option

# Reasons an importer refuses a document for; the server has its own (ErrorReason).
NOT_JSON = "NOT_JSON"
NOT_YAML = "NOT_YAML"
NOT_TABLE = "NOT_TABLE"
NOT_PARQUET = "NOT_PARQUET"
TOO_LARGE = "TOO_LARGE"
PARSER_MISSING = "PARSER_MISSING"
FORMAT_UNKNOWN = "FORMAT_UNKNOWN"
CONTEXT_MISSING = "CONTEXT_MISSING"
TIME_MISSING = "TIME_MISSING"
NO_METRICS = "NO_METRICS"
RUN_FAILED = "RUN_FAILED"
FIELD_INVALID = "FIELD_INVALID"
CONTEXT_INVALID = "CONTEXT_INVALID"
UNREADABLE = "UNREADABLE"


@dataclass(frozen=True)
class Document:
    """One value of a file, with what identifies its original.

    Of JSON, YAML, a table's row or Parquet it is what JSON can hold; a table's cells are texts. Of
    a text it is the text, and of a table with several rows of names a Table.
    """

    data: Any
    path: Path
    sha256: str
    """SHA-256 of the original as 64 hexadecimal digits: of the file or its line, or of the
    canonical JSON of a row or an element."""
    line: int | None = None
    """Line, row or element in the file, from 1. None: the document is the whole file."""
    file_time: datetime | None = None
    """When the file was last written, UTC; only set where the user asked for it to count."""

    @property
    def place(self) -> str:
        """Where the document lies, as people say it."""
        return str(self.path) if self.line is None else f"{self.path}:{self.line}"


@dataclass(frozen=True)
class Rejection:
    """A document no record could be made from, and why."""

    reason: str
    detail: str
    place: str = ""
    file_format: str = ""
    """The format that was recognised; empty where none was."""
    missing: tuple[str, ...] = ()
    """The keys a context could give, where nothing but these is missing."""

    def to_json(self) -> dict[str, str]:
        """The rejection as `servemark import --json` prints it."""
        return {"rejected": self.reason, "detail": self.detail}


@dataclass(frozen=True)
class Imported:
    """A record, the place it was read from and the format of its file."""

    record: ResultRecord
    place: str
    file_format: str
    hardware: str | None = None
    """The hardware that the context states, also where the file names its GPU itself."""


class Importer(Protocol):
    """A reader of one tool's format."""

    name: str
    """The format's name, as in `--format`."""
    markers: str
    """What a document is recognised by, as people say it."""

    def recognises(self, document: Any) -> bool:
        """Whether a document's data is of this format, by its markers alone."""

    def records(self, document: Document, context: Context) -> Iterator[ResultRecord | Rejection]:
        """The records of a recognised document, and a rejection for each that cannot be one."""


def finish(
    values: Mapping[str, Any],
    document: Document,
    context: Context,
    presumed: Mapping[str, Any] | None = None,
) -> ResultRecord | Rejection:
    """The record of an importer's values, completed by the context, or why there is none.

    What the file says stays; the context fills what it does not say; `presumed` is what the format
    suggests and the context may correct.
    """
    complete = {**(presumed or {}), **context.stated()}
    complete |= {key: value for key, value in values.items() if value is not None}
    _add_what_names_say(complete)
    complete.setdefault("benchmarked_at", document.file_time)
    try:
        return ResultRecord.from_json(complete)
    except RecordError as error:
        return _rejection(error.problems, document)


def _rejection(problems: list[FieldProblem], document: Document) -> Rejection:
    missing = [problem.field for problem in problems if problem.reason == "missing"]
    from_context = [key for key in missing if key in CONTEXT_KEYS and key != "benchmarked_at"]
    sentences = []
    if from_context:
        sentences.append(
            f"The file does not say {', '.join(from_context)}; give them with --context,"
            f" with {', '.join(map(option, from_context))}, or in a servemark.yaml"
        )
    if "benchmarked_at" in missing:
        sentences.append(
            "The file does not say when the run ended; give benchmarked_at with --context,"
            " or use the file's own time with --time-from-file"
        )
    said = {*from_context, "benchmarked_at"} & set(missing)
    sentences += [
        f"{problem.field} {problem.description}"
        for problem in problems
        if problem.field not in said
    ]
    if any(problem.reason not in ("missing", "no_metrics") for problem in problems):
        reason = FIELD_INVALID
    elif from_context:
        reason = CONTEXT_MISSING
    elif "benchmarked_at" in missing:
        reason = TIME_MISSING
    elif missing:
        reason = FIELD_INVALID
    else:
        reason = NO_METRICS
    askable = from_context if len(from_context) == len(problems) else []
    return Rejection(reason, "; ".join(sentences) + ".", document.place, missing=tuple(askable))


def _add_what_names_say(values: dict[str, Any]) -> None:
    """`Llama-3.1-405B-FP8` says its quantization, and an image's tag the framework's version."""
    model, framework = values.get("model"), values.get("framework")
    if isinstance(model, str) and (said := aliases.weights(model).quantization):
        values.setdefault("quantization", said)
    if isinstance(framework, str) and (version := aliases.framework_version(framework)):
        values.setdefault("framework_version", version)


def canonical_sha256(data: Any) -> str:
    """SHA-256 of a value's canonical JSON, so that spaces and the order of keys do not matter."""
    canonical = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    # Half a character is the record's to refuse, by the name of its field.
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


def utc(timestamp: float) -> datetime:
    """The UTC time of seconds since 1970."""
    return datetime.fromtimestamp(timestamp, UTC)
