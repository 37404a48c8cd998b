"""The wheel with its base dependencies alone is enough to stream results."""

import os
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement

from servemark.client.spool import Spool
from tests.support.ingest_protocol import IngestProtocol, serve

ROOT = Path(__file__).resolve().parents[2]

RUNNER = """
import sys
from servemark.client.channel import connect
from servemark.client.config import Config
with connect(sys.argv[1]) as client:
    with client.stream(tool="mine", provenance="measured", spool=sys.argv[2]) as stream:
        for _ in range(100):
            stream.add_result(Config("m", "h", "vllm", "chatbot"), ttft_p50_ms=1.0)
        print(stream.close().stored)
for name in ("numpy", "sqlalchemy", "asyncpg", "redis", "pydantic", "structlog", "typer", "rich"):
    try:
        __import__(name)
    except ModuleNotFoundError:
        continue
    sys.exit(f"{name} is installed")
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"),
            *("--no-build-isolation", "--no-index", "--wheel-dir", str(folder), str(ROOT)),
        ],
        check=True,
        env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
    )
    (made,) = folder.iterdir()
    return made


def needed(name: str) -> dict[str, Distribution]:
    """A package and whatever it needs without extras, as they are installed here."""
    found = {name: distribution(name)}
    for text in found[name].requires or []:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            found |= needed(requirement.name)
    return found


def lay(package: Distribution, site: Path) -> Iterator[str]:
    """Puts links to a package's files into a folder of packages."""
    for file in package.files or []:
        target = site / file
        if ".." in file.parts or file.suffix == ".pyc":
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(str(package.locate_file(file)))
        yield str(file)


def test_the_base_install_streams_and_has_no_package_of_the_server(
    wheel: Path, tmp_path: Path
) -> None:
    # The packages are those that are installed here: an install needs no network, and is theirs.
    began = time.monotonic()
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    (site,) = (tmp_path / "venv" / "lib").glob("python3*/site-packages")
    with ZipFile(wheel) as packed:
        packed.extractall(site)
        (metadata,) = (name for name in packed.namelist() if name.endswith("/METADATA"))
        lines = packed.read(metadata).decode().splitlines()
    base = [
        Requirement(line.removeprefix("Requires-Dist: "))
        for line in lines
        if line.startswith("Requires-Dist: ") and "extra ==" not in line
    ]
    packages = {name: one for each in base for name, one in needed(each.name).items()}
    assert {"grpcio", "protobuf", "grpcio-status"} <= packages.keys()
    assert sum(len(list(lay(package, site))) for package in packages.values()) < 1_000
    assert time.monotonic() - began < 60

    protocol = IngestProtocol(tmp_path / "state")
    server, port = serve(protocol)
    done = subprocess.run(
        [python, "-I", "-c", RUNNER, f"127.0.0.1:{port}", str(tmp_path / "spool")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    server.stop(None)
    assert (done.returncode, done.stdout) == (0, "100\n"), done.stderr
    assert protocol.result_count() == 100
    assert Spool(tmp_path / "spool").used_bytes() == 0
    command = subprocess.run(
        [python, "-I", "-c", "from servemark.cli.entry import main; main()"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "pip install 'servemark[cli]'" in command.stderr
