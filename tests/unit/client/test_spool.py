"""Results wait on disk until the server has them, whatever happens to the runner or the server."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from servemark.client.channel import connect
from servemark.client.push import PushSummary, push
from servemark.client.segment import REFUSED_SUFFIX, Segment, SpoolError, SpoolInUseError
from servemark.client.spool import Spool, SpoolFullError, spool_records
from servemark.client.spooled_stream import SpooledStream
from tests.support.runs import records
from tests.support.stack import wait_until
from tests.unit.client.serving import QUICK, Served
from tests.unit.client.test_runner_stream import CONFIG, configs

ROOT = Path(__file__).resolve().parents[3]
NOBODY = "127.0.0.1:9"

# Adds a result, says so, and goes on until it is killed or has added as many as it was told.
RUNNER = """
import sys, time
from servemark.client.channel import connect
from servemark.client.config import Config
config = Config("m", "h", "vllm", "chatbot")
stream = connect(sys.argv[1]).stream(
    tool="mine", provenance="measured", spool=sys.argv[2], flush_seconds=0.05
)
for number in range(int(sys.argv[3])):
    stream.add_result(config, ttft_p50_ms=1.0)
    print(number + 1, flush=True)
    time.sleep(float(sys.argv[4]))
"""


def runner(target: str, folder: Path, count: int, pause: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", RUNNER, target, str(folder), str(count), str(pause)],
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'libs'}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


def stream(client: Any, spool: Spool, **options: Any) -> SpooledStream:
    values: dict[str, Any] = {"tool": "mine", "provenance": "measured", "reconnect": QUICK}
    return SpooledStream(client, spool=spool, **(values | options))


def push_all(served: Served, spool: Spool, suffix: str = ".spool") -> PushSummary:
    with served.client() as client:
        return push(client, spool.paths(suffix), idle_timeout=10)


def left(spool: Spool) -> list[str]:
    return sorted(path.suffix for path in spool.folder.iterdir())


def fill(target: str, spool: Spool, count: int = 3) -> None:
    """Leaves results of a runner whose server is away."""
    with connect(target) as client, stream(client, spool, idle_timeout=0.05) as results:
        for _ in range(count):
            results.add_result(CONFIG, ttft_p50_ms=1.0)


def test_a_spool_is_empty_once_everything_is_acknowledged(served: Served, spool: Spool) -> None:
    protocol = served.start()
    with served.client() as client, stream(client, spool, batch_rows=10) as results:
        for _ in range(25):
            results.add_result(CONFIG, ttft_p50_ms=1.0)
        summary = results.close()
    assert (summary.stored, summary.spooled) == (25, 0)
    assert [size for size, _ in protocol.batches] == [10, 10, 5]
    assert left(spool) == []


def test_without_a_server_the_runner_goes_on_and_the_results_are_pushed_later(
    served: Served, spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    with connect(NOBODY) as client, stream(client, spool, idle_timeout=0.3) as results:
        for _ in range(25):
            results.add_result(CONFIG, ttft_p50_ms=1.0)
        summary = results.close()
    assert (summary.stored, summary.spooled) == (0, 25)
    assert "No Servemark answers at 127.0.0.1:9" in summary.spool_failure
    assert "25 results wait in" in caplog.text
    protocol = served.start()
    pushed = push_all(served, spool)
    assert (pushed.stored, pushed.duplicates, pushed.failures) == (25, 0, {})
    assert protocol.result_count() == 25
    assert left(spool) == []


def test_each_result_outlives_the_runner_from_the_moment_it_was_added(
    served: Served, spool: Spool
) -> None:
    with runner(NOBODY, spool.folder, 10_000, 0.001) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) == 200:
                break
        process.kill()
        added = 200 + len(process.stdout.read().split())
    protocol = served.start()
    stored = push_all(served, spool).stored
    # One may have been written whose number was not printed.
    assert added <= stored <= added + 1
    assert protocol.result_count() == stored


def test_a_runner_killed_while_it_streams_is_resumed_with_the_same_batches(
    served: Served, spool: Spool
) -> None:
    protocol = served.start()
    with runner(f"127.0.0.1:{served.port}", spool.folder, 10_000, 0.002) as process:
        wait_until(lambda: protocol.result_count() > 100, 20)
        process.kill()
        assert process.stdout is not None
        added = len(process.stdout.read().split())
    batches = len(protocol.batches)
    pushed = push_all(served, spool)
    total = pushed.stored + pushed.duplicates
    assert added <= total <= added + 1
    assert protocol.result_count() == total
    # What was durable was not sent again.
    assert sum(size for size, _ in protocol.batches) == total
    assert len(protocol.batches) > batches
    assert pushed.duplicates > 100


def test_a_stream_that_nobody_closed_is_sent_when_the_interpreter_ends(
    served: Served, spool: Spool
) -> None:
    protocol = served.start()
    with runner(f"127.0.0.1:{served.port}", spool.folder, 7, 0) as process:
        _, said = process.communicate(timeout=30)
    assert process.returncode == 0, said
    assert protocol.result_count() == 7
    assert left(spool) == []


def test_the_next_runner_sends_what_the_last_one_left_for_the_same_server(
    served: Served, spool: Spool
) -> None:
    served.start()
    served.stop()
    fill(f"127.0.0.1:{served.port}", spool, 3)
    fill(NOBODY, spool, 5)
    protocol = served.start()
    with served.client() as client, stream(client, spool) as results:
        results.add_result(CONFIG, ttft_p50_ms=1.0)
        summary = results.close()
    # The summary is of its own results.
    assert (summary.stored, summary.spooled) == (1, 0)
    assert protocol.result_count() == 4
    assert [Segment.open(path).row_count for path in spool.paths()] == [5]


def test_what_was_refused_stays_on_disk_and_is_taken_once_the_catalog_knows_it(
    served: Served, spool: Spool
) -> None:
    protocol = served.start()
    unknown = CONFIG._replace(hardware="unknown")
    with served.client() as client, stream(client, spool) as results:
        for config in (CONFIG, unknown, CONFIG, unknown):
            results.add_result(config, ttft_p50_ms=1.0)
        summary = results.close()
    assert (summary.stored, summary.rejected) == (2, 2)
    assert summary.unresolved == {unknown: "No hardware is named unknown."}
    assert left(spool) == [REFUSED_SUFFIX]
    assert len(push_all(served, spool, REFUSED_SUFFIX).rejections) == 2
    assert left(spool) == [REFUSED_SUFFIX]
    protocol.known.add("unknown")
    assert push_all(served, spool, REFUSED_SUFFIX).stored == 2
    assert left(spool) == []


def test_what_an_earlier_process_was_told_is_refused_is_told_again(
    served: Served, spool: Spool
) -> None:
    served.start()
    with connect(NOBODY) as client, stream(client, spool, idle_timeout=0.05) as results:
        for accuracy in (0.5, 80.0, 0.7):
            results.add_result(CONFIG, accuracy_score=accuracy)
    (path,) = spool.paths()
    content = path.read_bytes()
    assert len(push_all(served, spool).rejections) == 1
    path.write_bytes(content)
    again = push_all(served, spool)
    assert (again.stored, again.duplicates, len(again.rejections)) == (0, 2, 1)


def test_two_cannot_send_the_same_segment_at_once(served: Served, spool: Spool) -> None:
    served.start()
    fill(NOBODY, spool)
    (path,) = spool.paths()
    first = Segment.open(path)
    with pytest.raises(SpoolInUseError, match="in use by a running process"):
        Segment.open(path)
    assert push_all(served, spool).in_use == [path]
    first.close()
    assert push_all(served, spool).stored == 3


def test_a_full_spool_says_what_to_do_and_keeps_what_it_has(served: Served, spool: Spool) -> None:
    small = Spool(spool.folder, max_bytes=20_000)
    added = 0
    with connect(NOBODY) as client:
        results = stream(client, small, idle_timeout=0.3)

        def add_all() -> None:
            nonlocal added
            while added < 10_000:
                results.add_result(CONFIG, ttft_p50_ms=1.0)
                added += 1

        with pytest.raises(SpoolFullError, match="servemark push"):
            add_all()
        assert results.close().spooled == added
    assert 100 < added < 400
    assert small.used_bytes() <= 20_000 + 1_024
    served.start()
    assert push_all(served, spool).stored == added


def test_a_spool_that_the_server_empties_is_never_full(served: Served, spool: Spool) -> None:
    protocol = served.start()
    small = Spool(spool.folder, max_bytes=40_000)
    with served.client() as client, stream(client, small, batch_rows=50) as results:
        for _ in range(1_000):
            results.add_result(CONFIG, ttft_p50_ms=1.0)
        summary = results.close()
    assert (summary.stored, summary.duplicates) == (1_000, 0)
    assert len(summary.stream_ids) > 5
    assert protocol.result_count() == 1_000


def test_a_frame_that_was_not_written_whole_is_kept_beside_and_the_rest_is_sent(
    served: Served, spool: Spool
) -> None:
    served.start()
    fill(NOBODY, spool)
    (path,) = spool.paths()
    path.write_bytes(path.read_bytes() + b"R\x00\x00\x01torn")
    assert push_all(served, spool).stored == 3
    (torn,) = spool.folder.iterdir()
    assert torn.suffix == ".torn"
    assert torn.read_bytes() == b"R\x00\x00\x01torn"


def test_a_file_that_is_no_spool_is_left_alone(served: Served, spool: Spool) -> None:
    served.start()
    spool.folder.mkdir()
    path = spool.folder / "mine.spool"
    path.write_text("mine")
    assert "not a spool" in push_all(served, spool).failures[path]
    assert path.read_text() == "mine"


def test_configurations_that_come_before_the_first_batch_share_its_stream(
    served: Served, spool: Spool
) -> None:
    served.start()
    with served.client() as client:
        results = stream(client, spool)
        for config in configs(3):
            results.add_result(config, ttft_p50_ms=1.0)
        results.flush()
        for config in configs(5):
            results.add_result(config, ttft_p50_ms=1.0)
        summary = results.close()
    assert (summary.stored, len(summary.stream_ids)) == (8, 2)


def test_a_refused_stream_is_told_when_it_is_closed_and_stays(served: Served, spool: Spool) -> None:
    protocol = served.start()
    with served.client() as client, stream(client, spool, tool="refused") as results:
        results.add_result(CONFIG, ttft_p50_ms=1.0)
        summary = results.close()
    assert summary.spooled == 1
    assert "HEADER_CHANGED" in summary.spool_failure
    assert protocol.result_count() == 0


def test_records_wait_as_results_do_and_are_those_that_an_import_stores(
    served: Served, spool: Spool
) -> None:
    from servemark.client.load import load_records

    served.start()
    given = list(records(20))
    spool_records(spool, given, environment={"host": "here"})
    assert push_all(served, spool).stored == 20
    with served.client() as client:
        assert load_records(client, given).duplicates == 20
    with pytest.raises(SpoolFullError):
        spool_records(Spool(spool.folder, max_bytes=100), given)


def in_child(act: Callable[[], object]) -> str:
    """What an act in a forked child raises."""
    readable, writable = os.pipe()
    child = os.fork()
    if not child:
        said = b"nothing"
        try:
            act()
        except BaseException as error:
            said = f"{type(error).__name__}: {error}".encode()
        finally:
            os.write(writable, said)
            os._exit(0)
    os.close(writable)
    with open(readable) as pipe:
        said_text = pipe.read()
    os.waitpid(child, 0)
    return said_text


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_is_refused_and_holds_no_lock(served: Served, spool: Spool) -> None:
    served.start()
    client = served.client()
    results = stream(client, spool)
    plain = client.stream(tool="mine", provenance="measured")
    results.add_result(CONFIG, ttft_p50_ms=1.0)
    for use in (
        lambda: results.add_result(CONFIG, ttft_p50_ms=1.0),
        lambda: plain.add_result(CONFIG, ttft_p50_ms=1.0),
        results.close,
        plain.close,
        client.ping,
    ):
        assert in_child(use).startswith(
            f"ForkedError: This client was made in process {os.getpid()}"
        )
    assert in_child(client.close) == "nothing"
    # A child that lives on does not keep what its parent let go of.
    readable, writable = os.pipe()
    child = os.fork()
    if not child:
        os.close(writable)
        os.read(readable, 1)
        os._exit(0)
    results.abandon()
    plain.abandon()
    client.close()
    assert push_all(served, spool).in_use == []
    os.close(writable)
    os.close(readable)
    os.waitpid(child, 0)


def test_a_folder_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with connect(NOBODY) as client, pytest.raises(SpoolError, match="cannot be made"):
        stream(client, Spool(tmp_path / "file" / "spool")).add_result(CONFIG, ttft_p50_ms=1.0)


def test_the_usual_spool_is_in_the_users_folder_for_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SERVEMARK_SPOOL_DIR", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with connect(NOBODY) as client:
        results = client.stream(tool="mine", provenance="measured", spool=True, idle_timeout=0)
        results.add_result(CONFIG, ttft_p50_ms=1.0)
        results.close()
    (path,) = Spool.at().paths()
    assert path.parent == tmp_path / "servemark" / "spool"
    assert path.stat().st_mode & 0o077 == 0
    monkeypatch.setenv("SERVEMARK_SPOOL_MAX_BYTES", "much")
    with pytest.raises(SpoolError, match="a number of bytes"):
        Spool.at()
