"""Servemark's own format: JSON Lines, one result a line, with the keys of ResultRecord."""

from collections.abc import Iterator, Mapping
from typing import Any

from servemark.client.record_fields import PARSERS
from servemark.client.records import ResultRecord
from servemark.importers.base import Document, Rejection, canonical_sha256, finish
from servemark.importers.context import Context

_ENOUGH_KEYS = 5


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
        values = {key: value for key, value in document.data.items() if value is not None}
        values.setdefault("tool", "servemark")
        values.setdefault("source_sha256", canonical_sha256(document.data))
        yield finish(values, document, context)


importer = JsonLinesImporter()
