"""Packages that only the archive needs: loaded when it works, missed with a sentence."""

import importlib
from typing import Any

from services.ingest.archive.records import ArchiveNotUsableError


def load(name: str) -> Any:
    """The module. Raises ArchiveNotUsableError where its package is not installed."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ArchiveNotUsableError(
            f"The archive needs the package {error.name}, which is not installed. "
            "Install the server's packages: pip install 'servemark[server]'"
        ) from error
