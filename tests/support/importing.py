"""Documents read the way `servemark import` reads them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from servemark.client.records import ResultRecord
from servemark.importers.base import Document, Imported, Rejection
from servemark.importers.context import Context
from servemark.importers.detect import read_document
from servemark.importers.documents import read_documents

CONTEXT: Mapping[str, Any] = {
    "model": "org/stated",
    "quantization": "fp8",
    "hardware": "rental/h100-80gb-8",
    "gpu_count": 8,
    "framework": "vllm",
    "framework_version": "0.6.4",
    "workload_type": "stated",
    "benchmarked_at": "2025-01-02T03:04:05Z",
}
"""What some file or other does not say."""

Outcome = Imported | Rejection


def outcomes(data: Any, name: str = "result.json", **context: Any) -> list[Outcome]:
    """What becomes of a parsed document, with CONTEXT changed; None takes a key away."""
    document = Document(data, Path(name), "ab" * 32)
    return list(read_document(document, Context.from_values({**CONTEXT, **context})))


def records(data: Any, name: str = "result.json", **context: Any) -> list[ResultRecord]:
    """The records of a document that gives nothing else."""
    return [_record(outcome) for outcome in outcomes(data, name, **context)]


def record(data: Any, name: str = "result.json", **context: Any) -> ResultRecord:
    """The one record of a document."""
    (found,) = records(data, name, **context)
    return found


def rejection(data: Any, **context: Any) -> Rejection:
    """The one rejection of a document."""
    (found,) = outcomes(data, **context)
    assert isinstance(found, Rejection), found
    return found


def file_outcomes(path: Path, **context: Any) -> list[Outcome]:
    """What becomes of a file."""
    stated = Context.from_values({**CONTEXT, **context})
    found: list[Outcome] = []
    for document in read_documents(path):
        if isinstance(document, Rejection):
            found.append(document)
        else:
            found.extend(read_document(document, stated))
    return found


def file_records(path: Path, **context: Any) -> list[ResultRecord]:
    """The records of a file that gives nothing else."""
    return [_record(outcome) for outcome in file_outcomes(path, **context)]


def _record(outcome: Outcome) -> ResultRecord:
    assert isinstance(outcome, Imported), outcome
    return outcome.record
