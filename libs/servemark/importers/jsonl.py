"""Servemark's own format: one result a line or row, with the keys of ResultRecord.

JSON Lines, or a table or Parquet with these columns.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from servemark.client.record_fields import METRICS, PARSERS
from servemark.client.records import ResultRecord
from servemark.importers.base import Document, Rejection, canonical_sha256, finish
from servemark.importers.context import Context
from servemark.importers.values import number

_ENOUGH_KEYS = 5
_NUMBERS = (
    *METRICS,
    "gpu_count",
    "input_tokens",
    "output_tokens",
    "concurrency",
    "request_rate",
    "batch_size",
    "request_count",
    "failed_request_count",
)


class JsonLinesImporter:
    """Reads results written with our own keys."""

    name = "jsonl"
    markers = "Servemark JSON Lines (model, hardware, framework, workload_type, benchmarked_at, …)"

    def recognises(self, document: Any) -> bool:
        """Whether at least five of the document's keys, among them `model`, are a record's."""
        return (
            isinstance(document, Mapping)
            and "model" in document
            and len(document.keys() & PARSERS.keys()) >= _ENOUGH_KEYS
        )

    def records(self, document: Document, context: Context) -> Iterator[ResultRecord | Rejection]:
        """The one record of a line, or the reason there is none."""
        data = document.data
        if all(isinstance(value, str) for value in data.values()):
            data = {key: _from_cell(key, value) for key, value in data.items()}
        values = {key: value for key, value in data.items() if value is not None}
        values.setdefault("tool", "servemark")
        values.setdefault("source_sha256", canonical_sha256(document.data))
        yield finish(values, document, context)


def _from_cell(key: str, text: str) -> Any:
    """A table's cell as the key needs it: a table has only texts."""
    if key not in _NUMBERS:
        return text
    found = number(text)
    return text if found is None else found


importer = JsonLinesImporter()
