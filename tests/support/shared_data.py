"""Where the real benchmark files of other people's tools lie."""

import os
from pathlib import Path

import pytest

_BESIDE_THE_REPOSITORY = Path(__file__).resolve().parents[3] / "shared" / "data"


def shared_data(*parts: str) -> Path:
    """A file or folder of the shared data; skips the test, saying so, where there is none.

    SERVEMARK_SHARED_DATA names another place than the folder beside the repository.
    """
    root = Path(os.environ.get("SERVEMARK_SHARED_DATA", _BESIDE_THE_REPOSITORY))
    path = root.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"the shared benchmark files are not here: {path}")
    return path
