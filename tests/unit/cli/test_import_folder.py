"""`servemark import` of whole folders: in order, in bounded memory, and stopped at any moment."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from servemark.importers.base import Imported
from servemark.importers.documents import find_files
from servemark.importers.reading import Reader
from servemark.importers.workers import FileReaders, WorkerLostError
from tests.support.command import Run
from tests.support.ingest_protocol import IngestProtocol, serve
from tests.unit.cli.test_import import lines
from tests.unit.importers.test_reading import LINE, write_lines

FEW, MANY = 1_000, 8_000
GROWTH_BYTES = 12 * 2**20
"""A window that is gathered and one that is sent; a folder's file names are small beside them."""
# The command, and then the peak of its own memory and of the largest of its processes.
MEASURED = """
import resource, sys
from servemark.cli.__main__ import main
try:
    main(sys.argv[1:])
finally:
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        print(resource.getrusage(who).ru_maxrss * 1024, file=sys.stderr)
"""


@pytest.fixture
def ingest(tmp_path: Path) -> Iterator[tuple[IngestProtocol, str]]:
    protocol = IngestProtocol(tmp_path / "state")
    server, port = serve(protocol)
    yield protocol, f"127.0.0.1:{port}"
    server.stop(None).wait()


def folder_of(path: Path, count: int) -> Path:
    """A folder of so many files with a result each."""
    for number in range(count):
        part = path / f"{number // 1000:03}"
        part.mkdir(parents=True, exist_ok=True)
        record = {**LINE, "ttft_p90_ms": 100 + number, "ttft_p99_ms": 10**6}
        (part / f"{number % 1000:04}.jsonl").write_text(json.dumps(record))
    return path


def figures(files: Path, processes: int) -> list[float | None]:
    with FileReaders(Reader(), processes) as readers:
        outcomes = [outcome for _, outcome in readers.outcomes(find_files([files])) if outcome]
    records = [outcome.record for outcome in outcomes if isinstance(outcome, Imported)]
    return [record.ttft_p90_ms for record in records]


def test_several_processes_give_the_records_in_the_order_of_the_files(tmp_path: Path) -> None:
    files = folder_of(tmp_path / "runs", 600)
    write_lines(files / "000" / "0005.jsonl", *({**LINE, "ttft_p90_ms": n} for n in range(1, 900)))
    found = figures(files, processes=3)
    assert len(found) == 599 + 899
    assert found[5:904] == list(range(1, 900))
    assert found[904:] == list(range(106, 700))


def test_a_process_that_is_killed_ends_the_import_in_words(tmp_path: Path) -> None:
    files = folder_of(tmp_path / "runs", 1000)
    with FileReaders(Reader(), 2) as readers:
        outcomes = readers.outcomes(find_files([files]))
        next(outcomes)
        for worker in readers._workers:
            worker._process.kill()
        with pytest.raises(WorkerLostError, match="-9"):
            list(outcomes)


def test_eight_thousand_files_take_no_more_memory_than_one_thousand(
    tmp_path: Path, ingest: tuple[IngestProtocol, str]
) -> None:
    peaks = {}
    for count in (FEW, MANY):
        files = folder_of(tmp_path / str(count), count)
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, "import", files, "--target", ingest[1], "--json"],
            capture_output=True,
            text=True,
            timeout=200,
            check=True,
        )
        summary = lines(done.stdout)[-1]
        assert summary["stored"] + summary["duplicates"] == count
        peaks[count] = list(map(int, done.stderr.split()[-2:]))
    growth = [many - few for few, many in zip(peaks[FEW], peaks[MANY], strict=True)]
    assert max(growth) < GROWTH_BYTES, f"peaks {peaks}"


def test_ctrl_c_says_what_was_stored_and_the_same_again_stores_the_rest(
    tmp_path: Path, ingest: tuple[IngestProtocol, str]
) -> None:
    protocol, target = ingest
    files = tmp_path / "runs"
    files.mkdir()
    for number in range(600):
        records = ({**LINE, "ttft_p90_ms": number * 10 + line} for line in range(10))
        write_lines(files / f"{number}.jsonl", *records)
    command = [sys.executable, "-m", "servemark.cli", "import", str(files), "--json"]
    command += ["--target", target]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not protocol.result_count():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.005)
    # As a terminal does: to all of the command's processes.
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Interrupted." in err
    assert "Traceback" not in err
    said = lines(out)[-1]["stored"]
    assert said == protocol.result_count()
    assert 0 < said < 6_000
    again = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert lines(again.stdout)[-1]["stored"] == 6_000 - said


def test_a_result_that_occurs_twice_in_a_folder_counts_as_a_duplicate(
    run: Run, tmp_path: Path, ingest: tuple[IngestProtocol, str]
) -> None:
    for name in ("a", "b"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        write_lines(tmp_path / "runs" / name / "r.jsonl", LINE)
    summary = lines(run("import", tmp_path / "runs", "--target", ingest[1], "--json").out)[-1]
    assert (summary["stored"], summary["duplicates"], summary["files"]) == (1, 1, 2)


def test_the_summary_counts_by_format_and_by_reason(
    run: Run, tmp_path: Path, ingest: tuple[IngestProtocol, str]
) -> None:
    write_lines(tmp_path / "runs.jsonl", LINE, {**LINE, "hardware": "unknown"}, {"x": 1})
    done = run("import", tmp_path / "runs.jsonl", "--target", ingest[1])
    assert done.code == 3
    rows = [line.split() for line in done.out.splitlines()]
    assert ["jsonl", "1", "0", "1"] in rows
    assert ["(unknown)", "0", "0", "1"] in rows
    summary = lines(run("import", tmp_path / "runs.jsonl", "--target", ingest[1], "--json").out)[-1]
    assert summary["reasons"] == {"CONFIG_UNRESOLVED": 1, "FORMAT_UNKNOWN": 1}


def test_options_count_before_the_context_file(run: Run, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "r.jsonl", {**LINE, "hardware": None, "gpu_count": None})
    context = tmp_path / "context.yaml"
    context.write_text("hardware: from-file\ngpu_count: 2\n")
    done = run(*("import", path, "--context", context, "--gpu-count", 4, "--dry-run", "--json"))
    (shown,) = lines(done.out)
    assert (shown["hardware"], shown["gpu_count"]) == ("from-file", 4)
    wrong = run("import", path, "--gpu-count", 0, "--dry-run")
    assert wrong.code == 1
    assert "--gpu-count is 0" in wrong.err


class Terminal:
    """The command on a terminal of its own, answered as by a person."""

    def __init__(self, folder: Path, *arguments: object) -> None:
        own, far = pty.openpty()
        self._own = own
        self.said = ""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "servemark.cli", *map(str, arguments)],
            stdin=far,
            stdout=far,
            stderr=far,
            cwd=folder,
            env={**os.environ, "TERM": "dumb", "COLUMNS": "200"},
            start_new_session=True,
        )
        os.close(far)

    def answer(self, question: str, text: str) -> None:
        """Waits for the question after all that was said before, and types the answer."""
        self._read_until(question)
        os.write(self._own, f"{text}\n".encode())

    def code(self) -> int:
        """Everything to the end, and the exit code."""
        self._read_until(None)
        os.close(self._own)
        return self._process.wait(30)

    def _read_until(self, words: str | None) -> None:
        new = ""
        while words is None or words not in new:
            try:
                data = os.read(self._own, 4096)
            except OSError:
                data = b""
            if not data:
                assert words is None, f"{words!r} was not asked: {self.said + new}"
                break
            new += data.decode()
        self.said += new


def test_what_is_missing_is_asked_for_once_and_offered_to_be_kept(
    tmp_path: Path, ingest: tuple[IngestProtocol, str]
) -> None:
    files = tmp_path / "runs"
    files.mkdir()
    for number in (1, 2, 3):
        incomplete = {**LINE, "ttft_p90_ms": number, "hardware": None, "gpu_count": None}
        write_lines(files / f"{number}.jsonl", incomplete)
    terminal = Terminal(tmp_path, "import", files, "--target", ingest[1])
    terminal.answer("hardware", "rental/h100-80gb-8")
    terminal.answer("gpu_count", "eight")
    terminal.answer("must be a whole number", "8")
    terminal.answer("Write your answers", "y")
    assert terminal.code() == 0
    assert "Stored 3 results." in terminal.said
    assert terminal.said.count("does not say its hardware") == 1
    kept = (files / "servemark.yaml").read_text()
    assert kept == "hardware: rental/h100-80gb-8\ngpu_count: 8\n"
    again = Terminal(tmp_path, "import", files, "--target", ingest[1])
    assert again.code() == 0
    assert "3 were stored before" in again.said


def test_an_empty_answer_leaves_a_file_out_and_is_not_asked_again(
    tmp_path: Path, ingest: tuple[IngestProtocol, str]
) -> None:
    records = ({**LINE, "ttft_p90_ms": number, "hardware": None} for number in (1, 2))
    path = write_lines(tmp_path / "r.jsonl", *records)
    terminal = Terminal(tmp_path, "import", path, "--target", ingest[1])
    terminal.answer("hardware", "")
    assert terminal.code() == 3
    assert "2 rejected" in terminal.said


def test_no_input_asks_nothing_on_a_terminal(
    tmp_path: Path, ingest: tuple[IngestProtocol, str]
) -> None:
    path = write_lines(tmp_path / "r.jsonl", {**LINE, "hardware": None})
    terminal = Terminal(tmp_path, "import", path, "--target", ingest[1], "--no-input")
    assert terminal.code() == 3
    assert "CONTEXT_MISSING" in terminal.said
