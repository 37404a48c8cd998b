import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from servemark.client.channel import Client, connect
from servemark.client.errors import ServemarkCallError
from servemark.client.ledger import StreamError
from servemark.client.retry import RetryPolicy
from servemark.client.stream import ResultStream, StreamSummary, StreamTimeoutError
from tests.support.ingest_protocol import IngestProtocol, serve
from tests.unit.client.streams import header, rows

QUICK = RetryPolicy(first_delay=0.02, max_delay=0.1)
STREAM = "0199a3c5-0000-7000-8000-000000000001"


class Faults:
    """Breaks the connection at the named points, each once."""

    def __init__(self, *points: tuple[str, int]) -> None:
        self._points = set(points)

    def __call__(self, point: str, sequence: int) -> None:
        if (point, sequence) in self._points:
            self._points.remove((point, sequence))
            raise ConnectionError


class Served:
    def __init__(self, state: Path) -> None:
        self._state = state
        self._servers: list[grpc.Server] = []
        self.port = 0

    def start(self, *faults: tuple[str, int]) -> IngestProtocol:
        protocol = IngestProtocol(self._state, Faults(*faults))
        server, self.port = serve(protocol, self.port)
        self._servers.append(server)
        return protocol

    def stop(self) -> None:
        while self._servers:
            self._servers.pop().stop(None).wait()

    def client(self) -> Client:
        return connect(f"127.0.0.1:{self.port}")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path / "state")
    yield made
    made.stop()


def send(client: Client, count: int, batch_rows: int = 10, stream_id: str = "") -> StreamSummary:
    stream = ResultStream(
        client, header(stream_id), batch_rows=batch_rows, idle_timeout=10, reconnect=QUICK
    )
    with stream:
        for row in rows(count):
            stream.add(row)
        return stream.close()


def counts(summary: StreamSummary) -> tuple[int, int, int, int]:
    return summary.stored, summary.duplicates, summary.rejected, summary.replayed


def test_rows_go_out_in_batches_and_each_is_stored_once(served: Served) -> None:
    protocol = served.start()
    with served.client() as client:
        assert counts(send(client, 95)) == (95, 0, 0, 0)
    assert protocol.result_count() == 95


def test_more_batches_than_may_be_unacknowledged_go_through(served: Served) -> None:
    protocol = served.start()
    with served.client() as client:
        assert counts(send(client, 100, batch_rows=1)) == (100, 0, 0, 0)
    assert protocol.result_count() == 100


def test_a_stream_without_rows_stores_nothing_and_does_not_hang(served: Served) -> None:
    served.start()
    with served.client() as client:
        assert counts(send(client, 0)) == (0, 0, 0, 0)


def test_a_batch_stays_below_its_size_in_bytes(served: Served) -> None:
    protocol = served.start()
    with served.client() as client:
        stream = ResultStream(client, header(), batch_bytes=20_000, idle_timeout=10)
        with stream:
            for row in rows(30):
                row.detailed_metrics_json = '{"x":"' + "x" * 3_000 + '"}'
                stream.add(row)
            assert stream.close().stored == 30
    assert 12_000 < protocol.largest_batch < 20_100


def test_a_connection_lost_before_the_commit_is_taken_up_again(served: Served) -> None:
    protocol = served.start(("before_commit", 3))
    with served.client() as client:
        stored, duplicates, rejected, replayed = counts(send(client, 100))
    assert (stored, duplicates, rejected) == (100, 0, 0)
    assert replayed >= 10
    assert protocol.result_count() == 100


def test_an_acknowledgement_that_got_lost_counts_its_rows_as_stored(served: Served) -> None:
    protocol = served.start(("after_commit", 3), ("after_commit", 9))
    with served.client() as client:
        stored, duplicates, rejected, replayed = counts(send(client, 100))
    assert (stored, duplicates, rejected) == (100, 0, 0)
    assert replayed >= 20
    assert protocol.result_count() == 100


def test_rejections_are_values_even_where_their_acknowledgement_got_lost(served: Served) -> None:
    protocol = served.start(("after_commit", 1))
    given = rows(40)
    for index in (3, 15, 39):
        given[index].metrics.accuracy_score = 80
    with served.client() as client:
        stream = ResultStream(client, header(), batch_rows=10, idle_timeout=10, reconnect=QUICK)
        for row in given:
            stream.add(row)
        summary = stream.close()
    assert counts(summary)[:3] == (37, 0, 3)
    assert [(item.sequence, item.row) for item in summary.rejections] == [(0, 3), (3, 9), (1, 5)]
    assert {item.result_id for item in summary.rejections} == {given[i].id for i in (3, 15, 39)}
    assert protocol.result_count() == 37


def test_the_same_stream_again_sends_nothing_that_is_durable(served: Served) -> None:
    protocol = served.start()
    with served.client() as client:
        send(client, 30, stream_id=STREAM)
        assert counts(send(client, 45, stream_id=STREAM)) == (15, 30, 0, 30)
    assert protocol.result_count() == 45


def test_other_streams_rows_are_duplicates(served: Served) -> None:
    served.start()
    with served.client() as client:
        send(client, 30)
        assert counts(send(client, 45)) == (15, 30, 0, 0)


def test_a_changed_header_ends_the_stream_with_its_reason(served: Served) -> None:
    served.start()
    with served.client() as client:
        send(client, 5, stream_id=STREAM)
        changed = header(STREAM)
        changed.tool = "other"
        stream = ResultStream(client, changed, idle_timeout=10, reconnect=QUICK)
        stream.add(rows(1)[0])
        with pytest.raises(ServemarkCallError) as caught:
            stream.close()
        assert caught.value.reason == "HEADER_CHANGED"


def test_a_server_that_comes_back_is_found_again(served: Served) -> None:
    served.start()
    with served.client() as client:
        stream = ResultStream(client, header(), batch_rows=5, idle_timeout=10, reconnect=QUICK)
        given = rows(200)
        for row in given[:100]:
            stream.add(row)
        served.stop()
        back = threading.Timer(1.0, served.start)
        back.start()
        for row in given[100:]:
            stream.add(row)
        summary = stream.close()
        back.join()
    assert counts(summary)[:3] == (200, 0, 0)


def test_a_server_that_never_answers_ends_in_an_error_and_not_in_silence(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with connect(f"127.0.0.1:{closed.getsockname()[1]}") as client:
            stream = ResultStream(client, header(), idle_timeout=0.5, reconnect=QUICK)
            stream.add(rows(1)[0])
            start = time.monotonic()
            with pytest.raises(StreamTimeoutError, match=r"acknowledged nothing for 0\.5 s"):
                stream.close()
            assert time.monotonic() - start < 5


def test_a_server_that_takes_the_connection_and_says_nothing_ends_in_an_error() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with connect(f"127.0.0.1:{silent.getsockname()[1]}") as client:
            stream = ResultStream(client, header(), idle_timeout=0.5, reconnect=QUICK)
            stream.add(rows(1)[0])
            with pytest.raises(StreamTimeoutError):
                stream.close()


def test_a_server_that_lost_acknowledged_rows_is_found_out(served: Served, tmp_path: Path) -> None:
    served.start()
    with served.client() as client:
        stream = ResultStream(client, header(), batch_rows=5, idle_timeout=10, reconnect=QUICK)
        for row in rows(20):
            stream.add(row)
        while stream.done_rows < 20:
            time.sleep(0.01)
        served.stop()
        (tmp_path / "state").unlink()
        served.start()
        stream.add(rows(1)[0])
        with pytest.raises(StreamError, match="has lost rows"):
            stream.close()


def test_a_closed_stream_takes_no_rows_and_keeps_its_summary(served: Served) -> None:
    served.start()
    with served.client() as client:
        stream = ResultStream(client, header(), batch_rows=1, idle_timeout=10)
        stream.add(rows(1)[0])
        assert stream.close() == stream.close()
        with pytest.raises(StreamError, match="closed"):
            stream.add(rows(1)[0])


def test_an_error_in_the_block_abandons_the_stream_at_once(served: Served) -> None:
    served.start()
    with served.client() as client:
        stream = ResultStream(client, header(), idle_timeout=10)
        stream.add(rows(1)[0])
        start = time.monotonic()
        with pytest.raises(KeyError), stream:
            raise KeyError
        assert time.monotonic() - start < 5
        assert stream.abandon().stored == 0


def test_no_thread_is_left_behind(served: Served) -> None:
    served.start(("after_commit", 2))
    with served.client() as client:
        send(client, 50)
        deadline = time.monotonic() + 5
        while any(thread.name == "servemark-stream" for thread in threading.enumerate()):
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.mark.faults
def test_a_server_killed_in_the_middle_again_and_again_loses_and_doubles_nothing(
    tmp_path: Path,
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    state = tmp_path / "state"
    stop = threading.Event()
    kills = 0

    def keep_serving() -> None:
        nonlocal kills
        while not stop.is_set():
            command = [sys.executable, "-m", "tests.support.ingest_protocol"]
            options = ["--state", str(state), "--port", str(port), "--kill-after", "7"]
            child = subprocess.Popen(command + options)
            while child.poll() is None and not stop.wait(0.02):
                pass
            if child.poll() is None:
                child.kill()
            else:
                kills += child.returncode == -9
            child.wait()

    keeper = threading.Thread(target=keep_serving)
    keeper.start()
    try:
        with connect(f"127.0.0.1:{port}") as client:
            stream = ResultStream(client, header(), batch_rows=10, idle_timeout=30)
            for row in rows(300):
                stream.add(row)
            summary = stream.close()
    finally:
        stop.set()
        keeper.join()
    assert kills >= 3
    assert counts(summary)[:3] == (300, 0, 0)
    assert summary.replayed > 0
    assert IngestProtocol(state).result_count() == 300
