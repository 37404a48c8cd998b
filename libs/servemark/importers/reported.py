"""The tool's own figures as they are kept with a record, within what the wire takes."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from servemark.importers.values import at, number

_MAX_TEXT = 256
_MAX_KEYS = 150
# Of 14 KiB; the rest is room for what was computed, and for notes.
_MAX_BYTES = 11 * 1024


def reported(pairs: Iterable[tuple[Any, Any]]) -> dict[str, Any]:
    """The scalars of the pairs: finite numbers, truth values, texts. The first where keys repeat.

    Arrays and objects stay in the original, which its SHA-256 names. At most 150 keys and 11 KiB
    are kept, the first ones.
    """
    kept: dict[str, Any] = {}
    for key, value in pairs:
        if len(kept) == _MAX_KEYS:
            break
        name, scalar = _printable(str(key)), _scalar(value)
        if scalar is not None:
            kept.setdefault(name, scalar)
    size = len(json.dumps(kept))
    while size > _MAX_BYTES:
        size -= len(json.dumps(dict([kept.popitem()])))
    return kept


def flat(data: Any, names: Iterable[str], parts: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """`name.part` of every object of `data` that has one of the names."""
    parts = tuple(parts)
    for name in names:
        for part in parts:
            yield f"{name}.{part}", at(data, name, part)


def detailed(figures: Mapping[str, Any], **others: Any) -> dict[str, Any]:
    """What is kept with a record: `reported`, and whatever else is not empty."""
    return {"reported": dict(figures)} | {key: value for key, value in others.items() if value}


def _scalar(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _printable(value)
    return number(value)


def _printable(value: str) -> str:
    """The text without what neither UTF-8 nor the database can hold, cut to a length."""
    cut = value[:_MAX_TEXT].replace("\x00", "")
    return cut if cut.isascii() else cut.encode("utf-8", "replace").decode()
