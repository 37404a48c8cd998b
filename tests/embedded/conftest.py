"""Data directories for the embedded servers' own tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.servers import temporary_folder


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder that a server's own user can pass through."""
    with temporary_folder() as path:
        yield path


@pytest.fixture(scope="module")
def postgres_data() -> Iterator[Path]:
    """One PostgreSQL data directory for the module, so that only its first test runs initdb."""
    with temporary_folder() as path:
        yield path / "postgres"
