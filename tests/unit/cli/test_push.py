"""What waits in a spool is listed, sent and dropped."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from servemark.client.segment import Segment
from servemark.client.spool import Spool, spool_records
from tests.support.command import Run, run
from tests.support.ingest_protocol import IngestProtocol, serve
from tests.support.runs import record, records

__all__ = ["run"]


@pytest.fixture
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Spool:
    monkeypatch.setenv("SERVEMARK_SPOOL_DIR", str(tmp_path / "spool"))
    return Spool.at()


@pytest.fixture
def protocol(tmp_path: Path) -> Iterator[tuple[IngestProtocol, str]]:
    made = IngestProtocol(tmp_path / "state")
    server, port = serve(made)
    yield made, f"127.0.0.1:{port}"
    server.stop(None)


@pytest.mark.parametrize("word", ["push", "resume"])
def test_what_waits_is_sent_once(
    run: Run, spool: Spool, protocol: tuple[IngestProtocol, str], word: str
) -> None:
    kept, target = protocol
    spool_records(spool, records(20))
    done = run("--target", target, word)
    assert (done.code, done.out) == (0, "Stored 20 results.\n")
    assert kept.result_count() == 20
    again = run("--target", target, word)
    assert (again.code, again.out) == (0, "Nothing waits.\n")


def test_a_named_folder_or_file_is_sent(
    run: Run, tmp_path: Path, protocol: tuple[IngestProtocol, str]
) -> None:
    _, target = protocol
    folder = Spool(tmp_path / "a")
    (one,) = spool_records(folder, records(3))
    spool_records(folder, [record(50)])
    (other,) = spool_records(Spool(tmp_path / "b"), [record(51), record(52)])
    sent = run("push", "--json", "--target", target, one, other.parent)
    assert json.loads(sent.out)["stored"] == 5
    assert len(folder.paths()) == 1


def test_what_was_refused_exits_with_3_and_is_listed(
    run: Run, spool: Spool, protocol: tuple[IngestProtocol, str]
) -> None:
    _, target = protocol
    spool_records(spool, [record(1), record(2, hardware="unknown")], target)
    listed = run("spool", "list", "--json")
    entry = json.loads(listed.out)
    assert (entry["results"], entry["target"], entry["state"]) == (2, target, "waits")
    sent = run("push", "--target", target)
    assert sent.code == 3
    assert "rejected CONFIG_UNRESOLVED" in sent.err
    (refused,) = spool.paths(".refused")
    shown = run("spool", "list")
    assert "refused" in shown.out
    assert run("spool", "drop", refused).out.startswith("Dropped 1 results")
    assert run("spool", "list").out.startswith("Nothing waits in")


def test_what_cannot_be_sent_stays_and_says_why(
    run: Run, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("servemark.cli.push._IDLE_SECONDS", 0.2)
    spool_records(spool, records(2))
    failed = run("push", "--target", "127.0.0.1:9")
    assert failed.code == 1
    assert "No Servemark answers at 127.0.0.1:9" in failed.err
    assert len(spool.paths()) == 1


def test_what_is_in_use_is_neither_dropped_nor_sent(
    run: Run, spool: Spool, protocol: tuple[IngestProtocol, str]
) -> None:
    _, target = protocol
    (path,) = spool_records(spool, records(2))
    held = Segment.open(path)
    assert run("spool", "drop", path).code == 1
    assert "sent by another process" in run("push", "--target", target).err
    assert "in use" in run("spool", "list").out
    held.close()
    assert path.exists()
