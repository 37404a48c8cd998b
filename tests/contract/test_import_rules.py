"""Who may import whom holds, and each rule bites when it is broken."""

import os
import shutil
import subprocess
import sysconfig
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.servers import temporary_folder

ROOT = Path(__file__).resolve().parents[2]
LINT = Path(sysconfig.get_path("scripts")) / "lint-imports"

# Rule -> a file, and an import it may not have.
VIOLATIONS = {
    "Services never import each other": ("services/catalog/store.py", "import services.ingest.app"),
    "What a runner installs needs no server package": (
        "libs/servemark/client/records.py",
        "import numpy",
    ),
    "The command line speaks RPC, not SQL": (
        "libs/servemark/cli/__main__.py",
        "import sqlalchemy",
    ),
    "Stores know no RPC": ("services/ranking/store_matrix.py", "import grpc"),
    "Servicers know no SQL": ("services/ingest/servicer.py", "import sqlalchemy"),
    "Mathematics knows only arrays": (
        "services/ranking/topsis.py",
        "import servemark.runtime.ids",
    ),
    "Migrations are a frozen history": ("migrations/runner.py", "import services.catalog.tables"),
    "What is shared does not know who shares it": (
        "libs/servemark/runtime/ids.py",
        "import services.catalog.tables",
    ),
}


def _lint(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [LINT, "--no-logo", "--no-cache"],
        cwd=folder,
        # Ahead of the installed copy, so that the planted import is the one that is seen.
        env={**os.environ, "PYTHONPATH": f"{folder}:{folder / 'libs'}"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def house() -> Iterator[Path]:
    with temporary_folder() as folder:
        for name in ("libs", "services", "migrations"):
            shutil.copytree(
                ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.json*")
            )
        shutil.copy(ROOT / "pyproject.toml", folder)
        yield folder


def test_the_import_rules_hold() -> None:
    done = _lint(ROOT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("rule", "patterns"),
    [
        ("Stores know no RPC", ["store*.py"]),
        ("Servicers know no SQL", ["servicer*.py", "convert*.py"]),
    ],
)
def test_a_rule_names_every_module_of_its_kind(rule: str, patterns: list[str]) -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    [contract] = [item for item in settings["contracts"] if item["name"] == rule]
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for pattern in patterns
        for path in (ROOT / "services").glob(f"*/{pattern}")
    }
    assert modules <= set(contract["source_modules"])


@pytest.mark.parametrize("rule", VIOLATIONS)
def test_a_broken_rule_is_noticed(house: Path, rule: str) -> None:
    file, line = VIOLATIONS[rule]
    target = house / file
    target.write_text(f"{target.read_text()}\n{line}\n")
    done = _lint(house)
    assert done.returncode != 0
    assert f"{rule} BROKEN" in done.stdout
