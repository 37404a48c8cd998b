"""The first import of the README works as it stands there, and so does what it says of names."""

import re
import subprocess
from pathlib import Path

import pytest

from servemark.stack.files import sample_dir
from servemark.stack.seed import load_catalog
from tests.e2e.test_readme_runner import README
from tests.support.command import Run, run
from tests.support.stack import RunningStack
from tests.unit.importers.test_reading import LINE, write_lines

__all__ = ["run"]


@pytest.fixture
def command(stack: RunningStack, run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command against a stack with the shipped catalog."""
    monkeypatch.setenv("SERVEMARK_TARGET", stack.target)
    monkeypatch.setenv("SERVEMARK_API_KEY", stack.key)
    with stack.client() as client:
        load_catalog(client.catalog, sample_dir() / "catalog", lambda _: None)
    return run


def test_the_first_import_of_the_readme_stores_its_result(command: Run, tmp_path: Path) -> None:
    (script,) = re.findall(r"```sh\n(mkdir -p runs.*?)```", README.read_text(), re.S)
    files, commands = script.rsplit("END\n", 1)
    subprocess.run(["sh", "-c", f"{files}END\n"], cwd=tmp_path, check=True)
    typed = [line.split("#")[0].split()[1:] for line in commands.splitlines()]
    outcomes = [command(*words) for words in typed]
    assert [outcome.code for outcome in outcomes] == [0, 0, 0], outcomes
    assert "1 result would be sent." in outcomes[0].out
    assert outcomes[1].out == "Stored 1 result.\n"
    assert "Qwen/Qwen3-8B" in outcomes[2].out


def test_a_name_that_may_mean_several_is_refused_with_all_of_them(
    command: Run, tmp_path: Path
) -> None:
    known = {**LINE, "model": "llama-3.1-8b-instruct", "hardware": "NVIDIA-H100-80GB-HBM3"}
    path = write_lines(tmp_path / "r.jsonl", known)
    refused = command("import", path)
    assert refused.code == 3
    said = " ".join(refused.err.split())
    assert "8 x NVIDIA-H100-80GB-HBM3 may be several instances" in said
    assert "--hardware" in said
    for name in ("aws/p5.48xlarge", "lambda/gpu-8x-h100-sxm", "rental/h100-80gb-8"):
        assert name in said
    chosen = command("import", path, "--hardware", "rental/h100-80gb-8")
    assert chosen.out == "Stored 1 result.\n", chosen.err


def test_what_the_catalog_lacks_is_added_and_then_taken(command: Run, tmp_path: Path) -> None:
    line = {**LINE, "model": "org/new", "hardware": "home/rig-1", "framework_version": "9.9"}
    path = write_lines(tmp_path / "r.jsonl", line)
    assert command("import", path).code == 3
    new = ("catalog", "add", "model", "org/new", "--quantization", "fp8")
    assert "--architecture" in command(*new).err
    assert command(*new, "--architecture", "llama", "--parameters", "8e9").code == 0
    rig = ("--gpu-type", "H100-80GB", "--gpu-count", 8, "--gpu-memory", 80)
    assert command("catalog", "add", "hardware", "home/rig-1", *rig).code == 0
    added = command("catalog", "add", "framework", "vLLM", "v9.9")
    assert added.out == "Added vllm 9.9.\n"
    assert "has it already" in command("catalog", "add", "framework", "vllm", "9.9").err
    assert command("import", path).out == "Stored 1 result.\n"


def test_a_command_that_is_run_may_name_things_as_its_tool_does(
    command: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (script,) = re.findall(r"```sh\n(mkdir -p runs.*?)```", README.read_text(), re.S)
    files = script.rsplit("END\n", 1)[0].replace("20260302", "20260303")
    (tmp_path / "write.sh").write_text(f"{files}END\n")
    monkeypatch.chdir(tmp_path)
    done = command("run", "--", "sh", "write.sh")
    assert (done.code, "stored 1 of 1 results" in done.err) == (0, True), done
