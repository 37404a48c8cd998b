"""Mapping files: what a document of a format nobody knows has, told in TOML or YAML.

README.md beside this module describes them.
"""

import difflib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from servemark.client.record_fields import PARALLELISM, PARSERS, parse_fields
from servemark.importers.units import EPOCHS, UNITS

_SECTIONS = ("records", "where", "fields", "constants")
_OPTIONS = ("from", "unit", "format", "zone")
# The importer's own: the hash of what was read, and what else the record said.
_NOT_MAPPED = ("source_sha256", "detailed_metrics", "parallelism")
MAPPED = (
    *(name for name in PARSERS if name not in _NOT_MAPPED),
    *(f"parallelism.{degree}" for degree in PARALLELISM),
)
KeyPath = tuple[str, ...]


class MappingError(ValueError):
    """A mapping file that cannot be used, with everything that is wrong with it."""


@dataclass(frozen=True)
class Source:
    """Where a field's value lies in a record, and how it is written there."""

    path: KeyPath
    unit: str | None = None
    time_format: str | None = None
    zone: str | None = None


@dataclass(frozen=True)
class MappingFile:
    """What a mapping file says."""

    path: Path
    records: KeyPath | None
    """Where a document's list of records lies. None: the document is one record."""
    where: Mapping[KeyPath, tuple[Any, ...]]
    """Values that a record must have to be taken."""
    fields: Mapping[str, Source]
    constants: Mapping[str, Any]


def read_mapping(path: Path) -> MappingFile:
    """The mapping a TOML or YAML file describes.

    Raises MappingError, which names each wrong line and field, and OSError.
    """
    text = path.read_text(encoding="utf-8")
    document = _parsed(path, text)
    problems = _Problems(path, text)
    problems.unknown("", document, _SECTIONS)
    records = _path(document["records"]) if "records" in document else None
    if "records" in document and records is None:
        problems.add("records", "must be a path such as results.runs")
    fields = {
        name: source
        for name, value in _dotted(_table(document, "fields", problems), "parallelism")
        if (source := _source(name, value, problems)) is not None
    }
    if not fields:
        problems.add("fields", "must name at least one field and where it lies")
    constants = _constants(_table(document, "constants", problems), fields, problems)
    if "tool" not in constants and "tool" not in fields:
        problems.add("constants", "must name the tool that wrote the files: tool = '...'")
    where = {
        place: tuple(value) if isinstance(value, list) else (value,)
        for name, value in _dotted(_table(document, "where", problems))
        if (place := _path(name)) is not None
    }
    if problems.found:
        raise MappingError("; ".join(problems.found))
    return MappingFile(path, records, where, fields, constants)


class _Problems:
    """What is wrong with a file, each with its place."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._lines = text.splitlines()
        self.found: list[str] = []

    def add(self, field: str, what: str) -> None:
        self.found.append(f"{self._place(field)}: {field} {what}")

    def unknown(self, section: str, keys: Iterable[Any], known: tuple[str, ...]) -> None:
        for key in map(str, keys):
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
                self.add(f"{section}.{key}" if section else key, f"is not known; {hint}")

    def _place(self, field: str) -> str:
        """The file, and the line that sets the field, or else what the field is part of."""
        parts = field.split(".")
        for name in (".".join(parts[1:]), *parts[1:], parts[0]):
            key = re.compile(rf"""^\s*\[?["']?{re.escape(name)}["']?\]?\s*(?:[:=]|$)""")
            for number, line in enumerate(self._lines, start=1):
                if name and key.match(line):
                    return f"{self._path}:{number}"
        return str(self._path)


def _parsed(path: Path, text: str) -> Mapping[str, Any]:
    try:
        is_yaml = path.suffix.lower() in (".yaml", ".yml")
        document = _yaml(text) if is_yaml else tomllib.loads(text)
    except ValueError as error:
        # Both parsers name the line.
        raise MappingError(f"{path}: {' '.join(str(error).split())}") from None
    if not isinstance(document, Mapping):
        raise MappingError(f"{path}: must have the sections {', '.join(_SECTIONS)}")
    return document


def _yaml(text: str) -> Any:
    try:
        import yaml
    except ModuleNotFoundError:
        raise MappingError("a YAML mapping needs PyYAML: pip install pyyaml") from None
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(error) from None


def _table(document: Mapping[str, Any], name: str, problems: _Problems) -> Mapping[str, Any]:
    table = document.get(name, {})
    if isinstance(table, Mapping):
        return {str(key): value for key, value in table.items()}
    problems.add(name, "must be a table of names and values")
    return {}


def _dotted(table: Mapping[str, Any], *names: str) -> Iterator[tuple[str, Any]]:
    """The table's values by dotted names: TOML nests `a.b = 1`. Without names, all are unnested."""
    for name, value in table.items():
        if isinstance(value, Mapping) and (name in names or not names):
            yield from ((f"{name}.{key}", inner) for key, inner in _dotted(value))
        else:
            yield name, value


def _source(name: str, value: Any, problems: _Problems) -> Source | None:
    field = f"fields.{name}"
    if name not in MAPPED:
        problems.unknown("fields", [name], MAPPED)
        return None
    options = value if isinstance(value, Mapping) else {"from": value}
    problems.unknown(field, options, _OPTIONS)
    path = _path(options.get("from"))
    if path is None:
        problems.add(field, "must say where it lies: a column, or a path such as latency.p50")
        return None
    unit, time_format, zone = (options.get(key) for key in ("unit", "format", "zone"))
    units = (*UNITS.get(name, ()), *(EPOCHS if name == "benchmarked_at" else ()))
    if unit is not None and unit not in units:
        known = f"one of {', '.join(units)}" if units else "left out: the field has none"
        problems.add(field, f"has the unit {unit!r}; it must be {known}")
    if (time_format, zone) != (None, None):
        _check_time(name, time_format, zone, problems)
    return Source(path, unit, time_format, zone)


def _check_time(name: str, time_format: Any, zone: Any, problems: _Problems) -> None:
    field = f"fields.{name}"
    if name != "benchmarked_at":
        problems.add(field, "is no time; only benchmarked_at has a format and a zone")
    elif time_format is not None and not isinstance(time_format, str):
        problems.add(field, "must have a text such as '%Y-%m-%d %H:%M:%S' as its format")
    elif zone is not None:
        try:
            datetime.strptime(str(zone).replace("Z", "+00:00"), "%z")
        except ValueError:
            problems.add(field, f"has the zone {zone!r}; it must be Z or an offset such as +02:00")


def _constants(
    stated: Mapping[str, Any], fields: Mapping[str, Source], problems: _Problems
) -> dict[str, Any]:
    problems.unknown("constants", stated, tuple(PARSERS))
    known = {key: value for key, value in stated.items() if key in PARSERS}
    values, wrong = parse_fields(known)
    for problem in wrong:
        problems.add(f"constants.{problem.field}", problem.description)
    for key in values.keys() & fields.keys():
        problems.add(f"constants.{key}", "is among the fields too; only one of them can be right")
    return values


def _path(value: Any) -> KeyPath | None:
    """A path of keys: a text with dots between them, or a list for keys that have dots."""
    if isinstance(value, str) and value.strip():
        return (value,)
    if isinstance(value, list) and value and all(isinstance(key, str | int) for key in value):
        return tuple(map(str, value))
    return None
