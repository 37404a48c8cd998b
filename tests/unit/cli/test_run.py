"""`servemark run` changes nothing about a command, and keeps what it wrote."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from servemark.cli.written import Watch, named_paths
from servemark.client.segment import Segment
from servemark.client.spool import Spool
from tests.support.ingest_protocol import IngestProtocol, serve
from tests.support.stack import wait_until

ROOT = Path(__file__).resolve().parents[3]
NOBODY = "127.0.0.1:9"
CONTEXT = {
    "model": "m",
    "quantization": "fp8",
    "hardware": "h",
    "gpu_count": 1,
    "framework": "vllm",
    "framework_version": "0.11.0",
    "workload_type": "random",
}
RESULT = {
    "date": "20260301-120000",
    "backend": "vllm",
    "model_id": "m",
    "num_prompts": 10,
    "request_rate": "inf",
    "max_concurrency": 4,
    "duration": 2.5,
    "completed": 10,
    "total_input_tokens": 100,
    "total_output_tokens": 200,
    "request_throughput": 4.0,
    "output_throughput": 80.0,
    "mean_ttft_ms": 41.0,
    "median_ttft_ms": 40.0,
    "p99_ttft_ms": 60.0,
    "median_tpot_ms": 8.0,
}

# Writes what vLLM writes, does what it is told, and says what it got from outside.
TOOL = """
import argparse, json, os, signal, sys, time
parser = argparse.ArgumentParser()
parser.add_argument("--result-dir", default=".")
parser.add_argument("--result-filename")
parser.add_argument("--api-key")
parser.add_argument("--exit", type=int, default=0)
parser.add_argument("--wait", action="store_true")
given = parser.parse_args()
print("out", sys.stdin.read())
print("err", file=sys.stderr)
def stop(*_):
    given.wait = False
signal.signal(signal.SIGINT, stop)
if given.wait:
    print("waiting", flush=True)
    while given.wait:
        time.sleep(0.01)
    given.exit = 130
if given.result_filename:
    os.makedirs(given.result_dir, exist_ok=True)
    with open(os.path.join(given.result_dir, given.result_filename), "w") as file:
        json.dump(RESULT, file)
    with open("config.json", "w") as file:
        json.dump({"no": "result"}, file)
sys.exit(given.exit)
""".replace("RESULT", repr(RESULT))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "work"
    made.mkdir()
    (tmp_path / "context.json").write_text(json.dumps(CONTEXT))
    (tmp_path / "tool.py").write_text(TOOL)
    # A result of another day: nobody wrote it now.
    (made / "old.json").write_text(json.dumps(RESULT | {"duration": 9.5}))
    return made


@pytest.fixture
def protocol(tmp_path: Path) -> Iterator[tuple[IngestProtocol, str]]:
    made = IngestProtocol(tmp_path / "state")
    server, port = serve(made)
    yield made, f"127.0.0.1:{port}"
    server.stop(None)


def start(folder: Path, target: str, *options: str, pipe: Any = None) -> subprocess.Popen[str]:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("SERVEMARK_")
    }
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "servemark.cli", "run", "--target", target),
            *("--context", str(folder.parent / "context.json")),
            *("--spool", str(folder.parent / "spool")),
            *("--", sys.executable, str(folder.parent / "tool.py"), *options),
        ],
        cwd=folder,
        env=environment | {"PYTHONPATH": f"{ROOT}:{ROOT / 'libs'}", "SOME_SECRET": "env-secret"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(folder: Path, target: str, *options: str) -> tuple[int, str, str]:
    with start(folder, target, *options) as process:
        out, err = process.communicate("typed", timeout=60)
    return process.returncode, out, err


def spooled(folder: Path) -> list[dict[str, Any]]:
    """The details of what waits."""
    details = []
    for path in Spool(folder.parent / "spool").paths():
        segment = Segment.open(path)
        for sequence in range(segment.batch_count):
            rows = segment.batch(sequence) or []
            details += [json.loads(row.detailed_metrics_json) for row in rows]
        segment.close()
    return details


def test_what_the_command_wrote_is_stored_and_its_output_is_its_own(
    folder: Path, protocol: tuple[IngestProtocol, str]
) -> None:
    kept, target = protocol
    code, out, err = run(folder, target, "--result-filename", "bench.json")
    assert (code, out) == (0, "out typed\n")
    assert err.startswith("err\n")
    assert "stored 1 of 1 results" in err
    assert kept.result_count() == 1
    assert list(folder.parent.glob("spool/*")) == []


def test_a_failed_command_keeps_its_exit_code_and_its_results(
    folder: Path, protocol: tuple[IngestProtocol, str]
) -> None:
    kept, target = protocol
    # Outside of the working directory: the command line names it.
    options = ("--result-dir", "../elsewhere", "--result-filename", "bench.json", "--exit", "3")
    code, _, err = run(folder, target, *options)
    assert (code, kept.result_count()) == (3, 1), err


def test_without_a_server_the_results_wait_with_where_they_came_from(folder: Path) -> None:
    options = ("--result-filename", "bench.json", "--api-key", "s3cret-of-mine")
    code, _, err = run(folder, NOBODY, *options)
    assert code == 0
    assert "1 results wait in" in err
    (details,) = spooled(folder)
    environment = details["environment"]
    assert "tool.py" in environment["command"]
    assert "--api-key ***" in environment["command"]
    assert "s3cret" not in json.dumps(details)
    assert "env-secret" not in json.dumps(details)
    assert environment["versions"]["python"].startswith("3.")
    assert environment["host"]


def test_a_command_that_writes_no_result_is_told_apart(folder: Path) -> None:
    code, _, err = run(folder, NOBODY)
    assert code == 4
    assert "wrote no result file" in err
    # Its own failure counts more.
    assert run(folder, NOBODY, "--exit", "3")[0] == 3


def test_a_result_without_its_context_is_said_and_not_imported(folder: Path) -> None:
    (folder.parent / "context.json").write_text("{}")
    code, _, err = run(folder, NOBODY, "--result-filename", "bench.json")
    assert code == 4
    assert "rejected CONTEXT_MISSING" in err


def test_an_interrupt_reaches_the_command_and_its_results_are_kept(
    folder: Path, protocol: tuple[IngestProtocol, str]
) -> None:
    kept, target = protocol
    with start(folder, target, "--result-filename", "bench.json", "--wait") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        assert process.stdout.readline() == "out \n"
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        process.stdout.close()
    assert kept.result_count() == 1


def test_ctrl_c_at_a_terminal_reaches_the_command_once(tmp_path: Path) -> None:
    count = tmp_path / "count"
    program = (
        "import signal, sys, time\n"
        f"signal.signal(signal.SIGINT, lambda *_: open({str(count)!r}, 'a').write('x'))\n"
        "print('waiting', sys.stdin.isatty(), sys.stdout.isatty(), flush=True)\n"
        "end = time.monotonic() + 1\n"
        "while time.monotonic() < end: time.sleep(0.05)\n"
    )
    child, terminal = os.forkpty()
    if not child:
        os.chdir(tmp_path)
        os.environ["PYTHONPATH"] = f"{ROOT}:{ROOT / 'libs'}"
        command = [
            sys.executable,
            "-m",
            "servemark.cli",
            "run",
            "--",
            sys.executable,
            "-c",
            program,
        ]
        os.execv(sys.executable, command)
    said = b""
    while b"\n" not in said:
        said += os.read(terminal, 1024)
    assert b"waiting True True" in said
    os.write(terminal, b"\x03")
    wait_until(count.exists, 10)
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    # It went on, wrote nothing that could be imported, and got one signal for one key.
    assert os.waitstatus_to_exitcode(status) == 4
    assert count.read_text() == "x"


def test_a_command_that_is_not_there_gives_what_a_shell_gives(folder: Path) -> None:
    command = [sys.executable, "-m", "servemark.cli", "run", "--", "no-such-command"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 127
    assert "There is no command no-such-command" in done.stderr


@pytest.mark.parametrize(
    ("command", "paths"),
    [
        ("vllm bench --result-dir d --model m", ["d"]),
        ("tool --output-file=o.json --n 3", ["o.json"]),
        ("tool -o out -v", ["out"]),
        ("tool results.jsonl --config c.yaml", ["results.jsonl"]),
    ],
)
def test_a_command_line_names_where_it_writes(command: str, paths: list[str]) -> None:
    assert list(map(str, named_paths(command.split()))) == paths


def test_only_what_was_written_meanwhile_is_found(tmp_path: Path) -> None:
    (tmp_path / "same.json").write_text("1")
    (tmp_path / "changed.jsonl").write_text("1")
    (tmp_path / ".hidden").mkdir()
    watch = Watch(["tool"], tmp_path)
    time.sleep(0.01)
    (tmp_path / "changed.jsonl").write_text("2")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "new.json").write_text("1")
    (tmp_path / ".hidden" / "new.json").write_text("1")
    (tmp_path / "new.txt").write_text("1")
    assert [path.name for path in watch.written()] == ["changed.jsonl", "new.json"]
