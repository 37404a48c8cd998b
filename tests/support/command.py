"""Runs the servemark command in this process and keeps what it said."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from servemark.cli.__main__ import main


@dataclass
class Outcome:
    code: int
    out: str
    err: str


Run = Callable[..., Outcome]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs the command in an empty folder, away from any real key, and returns what it said."""
    for name in ("SERVEMARK_TARGET", "SERVEMARK_API_KEY", "SERVEMARK_DATA_DIR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> Outcome:
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        code = caught.value.code
        return Outcome(code if isinstance(code, int) else 0, captured.out, captured.err)

    return call
