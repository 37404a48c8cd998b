from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.client.serving import Served


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """The stand-in for ingest, not started."""
    made = Served(tmp_path / "state")
    yield made
    made.stop()
