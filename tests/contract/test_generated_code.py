"""The committed Python code is what the protos give, and the contract passes buf's rules."""

import importlib.util
import subprocess
import sysconfig
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = Path(sysconfig.get_path("scripts"))


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "protos/generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_generated_code_is_fresh() -> None:
    assert _generator().stale() == []


def test_generated_code_that_was_edited_or_is_missing_is_noticed(tmp_path: Path) -> None:
    generator = _generator()
    vars(generator)["LIBS"] = tmp_path
    generator.generate(tmp_path)
    edited = tmp_path / "servemark/type/v1/metric_pb2.py"
    edited.write_text(edited.read_text() + "# edited by hand")
    (tmp_path / "servemark/events/v1/event_pb2.pyi").unlink()
    assert generator.stale() == [
        "servemark/events/v1/event_pb2.pyi",
        "servemark/type/v1/metric_pb2.py",
    ]


@pytest.mark.parametrize("arguments", [["lint"], ["format", "--diff", "--exit-code"]])
def test_the_contract_passes_buf(arguments: list[str]) -> None:
    done = subprocess.run(
        [SCRIPTS / "buf", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_breaking_change_of_the_contract_is_noticed(tmp_path: Path) -> None:
    image = tmp_path / "before.binpb"
    subprocess.run([SCRIPTS / "buf", "build", "-o", image], cwd=ROOT, check=True)
    changed = tmp_path / "protos"
    for source in (ROOT / "protos").rglob("*.proto"):
        target = changed / source.relative_to(ROOT / "protos")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(source.read_text().replace("int64 sequence = 1;", "int32 sequence = 1;"))
    (tmp_path / "buf.yaml").write_text((ROOT / "buf.yaml").read_text())
    done = subprocess.run(
        [SCRIPTS / "buf", "breaking", "--against", image],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert 'Field "1"' in done.stdout
