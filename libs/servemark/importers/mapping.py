"""Documents of a format nobody knows, read as a mapping file says."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from servemark.client.records import ResultRecord
from servemark.importers.base import (
    FIELD_INVALID,
    Document,
    Rejection,
    canonical_sha256,
    finish,
)
from servemark.importers.context import Context
from servemark.importers.mapping_file import KeyPath, MappingFile, Source
from servemark.importers.reported import detailed, reported
from servemark.importers.units import EPOCHS, UNITS
from servemark.importers.values import number

_TEXTS = (
    "model",
    "model_version",
    "quantization",
    "format",
    "hardware",
    "framework",
    "framework_version",
    "workload_type",
    "percentile_source",
    "provenance",
    "tool",
    "tool_version",
    "source",
)
# "27,803.90", as spreadsheets write it.
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?")
# What tools write where there is no figure.
_NOTHING = ("", "nan", "inf", "-inf", "infinity", "n/a", "na", "null", "none", "-")


class _WrongValueError(ValueError):
    """A value that is not what its field needs."""


class MappingImporter:
    """Reads the documents that have at least one of a mapping's fields."""

    name = "mapping"

    def __init__(self, mapping: MappingFile) -> None:
        self._mapping = mapping
        paths = [_shown(source.path) for source in mapping.fields.values()]
        self.markers = f"the mapping {mapping.path.name} ({', '.join(paths)})"

    def recognises(self, document: Any) -> bool:
        """Whether a record of the document has one of the mapped fields."""
        return any(
            _found(record, source.path) is not None
            for record in self._records(document)
            for source in self._mapping.fields.values()
        )

    def records(self, document: Document, context: Context) -> Iterator[ResultRecord | Rejection]:
        """A record, or the reason there is none, for each one that the mapping takes."""
        records = self._records(document.data)
        for record in records:
            if self._takes(record):
                whole = len(records) == 1 and record is document.data
                sha256 = document.sha256 if whole else canonical_sha256(record)
                yield self._record(record, sha256, document, context)

    def _records(self, data: Any) -> Sequence[Any]:
        if self._mapping.records is not None:
            data = _found(data, self._mapping.records)
        records = data if isinstance(data, list) else [data]
        return [record for record in records if isinstance(record, Mapping)]

    def _takes(self, record: Any) -> bool:
        return all(
            str(_found(record, path)) in map(str, wanted)
            for path, wanted in self._mapping.where.items()
        )

    def _record(
        self, record: Any, sha256: str, document: Document, context: Context
    ) -> ResultRecord | Rejection:
        values: dict[str, Any] = {}
        parallelism: dict[str, Any] = {}
        for name, source in self._mapping.fields.items():
            found = _found(record, source.path)
            try:
                value = _value(name, found, source)
            except _WrongValueError as error:
                return Rejection(
                    FIELD_INVALID, f"{name}: {_shown(source.path)} {error}.", document.place
                )
            if name.startswith("parallelism."):
                parallelism[name.partition(".")[2]] = value
            else:
                values[name] = value
        values |= {
            "parallelism": parallelism or None,
            "source_sha256": sha256,
            "detailed_metrics": detailed(reported(record.items())),
        }
        return finish(values, document, context, self._mapping.constants)


def _found(data: Any, path: KeyPath) -> Any:
    """What lies at the path. A key that has the whole text of a path comes before its parts."""
    keys = list(path)
    if len(keys) == 1 and not (isinstance(data, Mapping) and keys[0] in data):
        keys = keys[0].split(".")
    for key in keys:
        if isinstance(data, Mapping):
            data = data.get(key)
        elif isinstance(data, list) and key.isdecimal() and len(key) < 10:
            data = data[int(key)] if int(key) < len(data) else None
        else:
            return None
    return data


def _value(name: str, found: Any, source: Source) -> Any:
    """A found value in the unit and the type of its field. Raises _WrongValueError."""
    if found is None or (isinstance(found, str) and found.strip().lower() in _NOTHING):
        return None
    if name == "benchmarked_at":
        return _time(found, source)
    if name in _TEXTS:
        if isinstance(found, bool) or not isinstance(found, str | int | float):
            raise _WrongValueError(f"is {_short(found)}, not a text")
        return str(found)
    if isinstance(found, float) and number(found) is None:
        return None
    figure = number(found)
    if figure is None and isinstance(found, str) and _THOUSANDS.fullmatch(found.strip()):
        figure = number(found.replace(",", ""))
    if figure is None:
        raise _WrongValueError(f"is {_short(found)}, not a number")
    if source.unit is None:
        return figure
    times, over = UNITS[name][source.unit]
    return figure * times / over


def _time(found: Any, source: Source) -> Any:
    if source.unit is not None:
        seconds = number(found)
        if seconds is None:
            raise _WrongValueError(f"is {_short(found)}, not a number")
        try:
            return datetime.fromtimestamp(seconds / EPOCHS[source.unit], UTC)
        except (OverflowError, ValueError, OSError):
            raise _WrongValueError(f"is {_short(found)}, no time since 1970") from None
    if source.time_format is None and source.zone is None:
        return found
    try:
        if source.time_format is None:
            time = datetime.fromisoformat(str(found).strip())
        else:
            time = datetime.strptime(str(found).strip(), source.time_format)  # noqa: DTZ007
    except ValueError:
        raise _WrongValueError(f"is {_short(found)}, not a time of the format") from None
    if time.tzinfo is None and source.zone is not None:
        zone = datetime.strptime(str(source.zone).replace("Z", "+00:00"), "%z").tzinfo
        time = time.replace(tzinfo=zone)
    return time


def _shown(path: KeyPath) -> str:
    return path[0] if len(path) == 1 else ".".join(path)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
