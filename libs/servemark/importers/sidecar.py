"""The context of a file: side-cars and manifests of its folder and those above, and what was typed.

By rising precedence: `servemark.yaml`, `.json` or `.toml` in the file's folder or above it, the
nearer before the farther; the manifests beside inference-perf's reports; what the user typed. All
of it key by key.
"""

import json
import tomllib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from servemark.client.record_fields import RecordError
from servemark.importers import manifests
from servemark.importers.base import Rejection
from servemark.importers.context import Context
from servemark.importers.documents import SIDECARS
from servemark.importers.documents_yaml import read_yaml

_MAX_BYTES = 2**20
_FOLDERS = 256


class ContextError(ValueError):
    """A context that cannot be used, in a sentence that names the file and every wrong key."""


class ContextSearch:
    """Finds the context of each file; what the last folders gave is kept."""

    def __init__(self, typed: Context | None = None) -> None:
        self._typed = typed or Context()
        self._sidecar: Callable[[Path], Context] = lru_cache(_FOLDERS)(_sidecar_of)
        self._manifests: Callable[[Path], Context] = lru_cache(_FOLDERS)(_manifests_of)
        self._of_folder: Callable[[Path, Path, bool], Context] = lru_cache(_FOLDERS)(self._find)

    def of(self, path: Path, root: Path) -> Context:
        """The context of a file; folders above `root` do not count. Raises ContextError."""
        return self._of_folder(path.parent, root, manifests.is_report(path))

    def _find(self, folder: Path, root: Path, with_manifests: bool) -> Context:
        folders = _folders(folder, root)
        found = Context()
        for each in folders:
            found = found.below(self._sidecar(each))
        if with_manifests:
            for each in folders:
                found = found.below(self._manifests(each))
        return found.below(self._typed)


def read_context(path: Path) -> Context:
    """The context that a YAML, JSON or TOML file states. Raises ContextError."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError("it has more than 1 MiB")
        return Context.from_values(_parsed(path))
    except RecordError as error:
        wrong = "; ".join(f"{item.field} {item.description}" for item in error.problems)
        raise ContextError(f"{path} cannot be used as the context: {wrong}.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ContextError(f"{path} cannot be read as the context: {error}.") from None


def _parsed(path: Path) -> dict[str, Any]:
    suffix = path.suffix.lower()
    if suffix in (".yaml", ".yml"):
        document = next(read_yaml(path, None), None)
        if isinstance(document, Rejection):
            raise ValueError(document.detail.rstrip("."))
        data: Any = {} if document is None else document.data
    else:
        text = path.read_text(encoding="utf-8")
        data = tomllib.loads(text) if suffix == ".toml" else json.loads(text)
    if not isinstance(data, dict):
        raise ValueError("must be one object: JSON, YAML or a TOML file")
    return data


def _folders(folder: Path, root: Path) -> list[Path]:
    """The folders from the root down to this one."""
    above = [each for each in folder.parents if each.is_relative_to(root)]
    return [*reversed(above), folder]


def _sidecar_of(folder: Path) -> Context:
    present = [path for name in SIDECARS if (path := folder / name).is_file()]
    if len(present) > 1:
        names = ", ".join(path.name for path in present)
        raise ContextError(f"{folder} has {names}; keep one of them.")
    return read_context(present[0]) if present else Context()


def _manifests_of(folder: Path) -> Context:
    try:
        return Context.from_values(manifests.facts(folder))
    except RecordError:
        return Context()
