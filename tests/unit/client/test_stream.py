import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from servemark.client.channel import Client, connect
from servemark.client.errors import ServemarkCallError
from servemark.client.ledger import StreamError
from servemark.client.stream import ResultStream, StreamSummary, StreamTimeoutError
from tests.support.ingest_protocol import IngestProtocol
from tests.support.stack import wait_until
from tests.unit.client.serving import QUICK, Served
from tests.unit.client.streams import header, rows

STREAM = "0199a3c5-0000-7000-8000-000000000001"


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


def test_full_batches_go_out_as_columns(served: Served) -> None:
    protocol = served.start()
    with served.client() as client:
        assert counts(send(client, 250, batch_rows=100)) == (250, 0, 0, 0)
    assert protocol.batches == [(100, True), (100, True), (50, True)]
    assert protocol.result_count() == 250


def test_a_row_that_columns_cannot_express_reaches_the_server_and_is_refused_there(
    served: Served,
) -> None:
    protocol = served.start()
    given = rows(200)
    given[120].id = "the second run"
    with served.client() as client:
        stream = ResultStream(client, header(), batch_rows=100, idle_timeout=10)
        for row in given:
            stream.add(row)
        summary = stream.close()
    assert counts(summary) == (199, 0, 1, 0)
    (refused,) = summary.rejections
    assert (refused.sequence, refused.row, refused.result_id) == (1, 20, "the second run")
    assert protocol.batches == [(100, True), (100, False)]


def test_rows_that_come_slowly_do_not_wait_for_a_full_batch(served: Served) -> None:
    protocol = served.start()
    with served.client() as client:
        stream = ResultStream(client, header(), flush_seconds=0.05, idle_timeout=10)
        given = rows(4)
        for row in given[:3]:
            stream.add(row)
        wait_until(lambda: protocol.result_count() == 3, 10)
        stream.add(given[3])
        wait_until(lambda: protocol.result_count() == 4, 10)
        assert counts(stream.close()) == (4, 0, 0, 0)
    assert len(protocol.batches) >= 2


def test_rows_of_a_stream_with_an_id_of_its_own_wait_for_their_batch(served: Served) -> None:
    protocol = served.start()
    with served.client() as client:
        resumable = ResultStream(client, header(STREAM), flush_seconds=0.02, idle_timeout=10)
        for row in rows(3):
            resumable.add(row)
        # A stream whose rows do not wait says how time goes by.
        for _ in range(3):
            other = ResultStream(client, header(), flush_seconds=0.02, idle_timeout=10)
            other.add(rows(1)[0])
            wait_until(lambda s=other: s.done_rows == 1, 10)  # type: ignore[misc]
            other.close()
        assert resumable.done_rows == 0
        resumable.close()
    assert protocol.batches[-1] == (3, False)


def test_rows_that_wait_for_a_server_that_is_behind_hold_nobody_up(served: Served) -> None:
    served.start()
    with served.client() as client:
        served.stop()
        stream = ResultStream(
            client, header(), batch_rows=3, flush_seconds=0.01, idle_timeout=30, reconnect=QUICK
        )
        # As many batches as may be unacknowledged, and a row of the next.
        given = rows(16 * 3 + 2)
        for row in given[:-1]:
            stream.add(row)
        time.sleep(0.1)
        start = time.monotonic()
        stream.add(given[-1])
        assert time.monotonic() - start < 5
        protocol = served.start()
        assert counts(stream.close())[:3] == (50, 0, 0)
    assert protocol.result_count() == 50


def test_a_batch_has_at_most_so_many_rows_as_the_server_takes(served: Served) -> None:
    served.start()
    with served.client() as client:
        for size in (0, 10_001):
            with pytest.raises(ValueError, match=f"is {size}; it must be 1 to 10000"):
                ResultStream(client, header(), batch_rows=size)


def test_several_threads_may_add_rows(served: Served) -> None:
    protocol = served.start()
    given = rows(400)
    with served.client() as client:
        stream = ResultStream(client, header(), batch_rows=7, flush_seconds=0.01, idle_timeout=10)

        def add(part: int) -> None:
            for row in given[part::4]:
                stream.add(row)

        threads = [threading.Thread(target=add, args=(part,)) for part in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert counts(stream.close()) == (400, 0, 0, 0)
    assert protocol.result_count() == 400


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


@pytest.mark.parametrize(("first", "then"), [(10, 15), (10, 5), (40, 500)])
def test_a_stream_resumed_with_other_batches_is_found_out(
    served: Served, first: int, then: int
) -> None:
    served.start()
    with served.client() as client:
        send(client, 40, batch_rows=first, stream_id=STREAM)
        with pytest.raises(StreamError, match="the same batch size, or take a new stream id"):
            send(client, 80, batch_rows=then, stream_id=STREAM)


def test_a_stream_may_be_resumed_with_fewer_rows_and_after_refused_ones(served: Served) -> None:
    served.start()
    given = rows(40)
    given[5].metrics.accuracy_score = 80
    with served.client() as client:
        for count, expected in ((20, (19, 0, 1, 0)), (10, (0, 10, 0, 10)), (40, (20, 20, 0, 20))):
            stream = ResultStream(client, header(STREAM), batch_rows=10, idle_timeout=10)
            for row in given[:count]:
                stream.add(row)
            assert counts(stream.close()) == expected


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


def test_a_closed_or_abandoned_stream_does_not_wait_for_its_batches(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with connect(f"127.0.0.1:{closed.getsockname()[1]}") as client:
            stream = ResultStream(client, header(), idle_timeout=60, reconnect=QUICK)
            stream.add(rows(1)[0])
            stream.flush()
            stream.abandon()
            start = time.monotonic()
            with pytest.raises(StreamError, match="abandoned"):
                stream.close()
            assert time.monotonic() - start < 5


@pytest.mark.parametrize("flush_seconds", [0.0, 0.001, 0.005, 0.02, float("inf")])
def test_a_closed_client_ends_its_streams(served: Served, flush_seconds: float) -> None:
    served.start()
    with served.client() as client:
        stream = ResultStream(client, header(), batch_rows=2, flush_seconds=flush_seconds)
        stream.add(rows(1)[0])

    def add() -> None:
        for row in rows(3):
            stream.add(row)
            time.sleep(0.05)

    with pytest.raises(StreamError, match="closed"):
        add()
    with pytest.raises(StreamError, match="client is closed"):
        ResultStream(client, header())


def test_no_thread_is_left_behind(served: Served) -> None:
    served.start(("after_commit", 2))
    with served.client() as client:
        send(client, 55)
        wait_until(
            lambda: (
                not any(thread.name.startswith("servemark-") for thread in threading.enumerate())
            ),
            5,
        )


@pytest.mark.faults
@pytest.mark.parametrize("batch_rows", [10, 60], ids=["rows", "columns"])
def test_a_server_killed_in_the_middle_again_and_again_loses_and_doubles_nothing(
    tmp_path: Path, batch_rows: int
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
            stream = ResultStream(client, header(), batch_rows=batch_rows, idle_timeout=30)
            for row in rows(30 * batch_rows):
                stream.add(row)
            summary = stream.close()
    finally:
        stop.set()
        keeper.join()
    assert kills >= 3
    assert counts(summary)[:3] == (30 * batch_rows, 0, 0)
    assert summary.replayed > 0
    assert IngestProtocol(state).result_count() == 30 * batch_rows
