import random
import socket
import threading
import time
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest

from servemark.client import runner_stream as runner_module
from servemark.client.channel import connect
from servemark.client.config import Config
from servemark.client.ledger import StreamError
from servemark.client.record_fields import METRICS
from servemark.client.runner_stream import Figures, RunnerStream
from servemark.client.sender import StreamTimeoutError
from servemark.ingest.v1.latency_sketch_pb2 import LatencySketch
from tests.support.stack import wait_until
from tests.unit.client.serving import QUICK, Served

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, UTC)
CONFIG = Config("meta-llama/Llama-3.1-8B", "aws/p5.48xlarge", "vllm", "chatbot", concurrency=8)


def configs(count: int) -> list[Config]:
    return [CONFIG._replace(concurrency=number + 1) for number in range(count)]


def stream(client: Any, **options: Any) -> RunnerStream:
    values: dict[str, Any] = {
        "tool": "mine",
        "provenance": "measured",
        "idle_timeout": 10,
        "reconnect": QUICK,
    }
    return RunnerStream(client, **(values | options))


def test_a_runner_in_ten_lines_stores_each_result_once(served: Served) -> None:
    protocol = served.start()
    with (
        served.client() as client,
        client.stream(tool="mine", provenance="measured") as results,
    ):
        for config in configs(3):
            for _ in range(4):
                results.add_result(config, ttft_p50_ms=40.0, throughput_tokens_sec=900)
        summary = results.close()
    assert (summary.stored, summary.duplicates, summary.rejected) == (12, 0, 0)
    assert protocol.result_count() == 12
    # Known before the first batch went out, all configurations are of one stream.
    assert protocol.batches == [(12, True)]
    assert len(summary.stream_ids) == 1


def test_results_that_come_slowly_do_not_wait_for_a_full_batch(served: Served) -> None:
    protocol = served.start()
    with served.client() as client, stream(client, flush_seconds=0.05) as results:
        for count in (1, 2, 3):
            results.add_result(CONFIG, ttft_p50_ms=40.0)
            wait_until(lambda n=count: protocol.result_count() == n, 10)  # type: ignore[misc]
    assert protocol.batches == [(1, True)] * 3


def test_a_batch_goes_out_when_it_is_full(served: Served) -> None:
    protocol = served.start()
    with served.client() as client:
        results = stream(client, batch_rows=10, flush_seconds=float("inf"))
        for _ in range(25):
            results.add_result(CONFIG, ttft_p50_ms=40.0)
        wait_until(lambda: protocol.result_count() == 20, 10)
        assert results.close().stored == 25


def test_a_configuration_that_comes_late_opens_the_next_stream_and_is_known_from_then_on(
    served: Served,
) -> None:
    protocol = served.start()
    one, two = configs(2)
    with served.client() as client:
        results = stream(client)
        for config in (one, two, one, two):
            results.add_result(config, ttft_p50_ms=40.0)
            results.flush()
        summary = results.close()
    assert summary.stored == protocol.result_count() == 4
    assert len(set(summary.stream_ids)) == len(summary.stream_ids) == 2


def test_configurations_given_beforehand_are_of_one_stream(served: Served) -> None:
    served.start()
    with served.client() as client:
        results = stream(client, configs=[*configs(3), CONFIG])
        for config in configs(3):
            results.add_result(config, ttft_p50_ms=40.0)
            results.flush()
        assert len(results.close().stream_ids) == 1


def test_more_configurations_than_a_stream_can_name_are_of_several(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "MAX_CONFIGS", 3)
    protocol = served.start()
    with served.client() as client:
        results = stream(client)
        for _ in range(2):
            for config in configs(7):
                results.add_result(config, ttft_p50_ms=40.0)
        summary = results.close()
        with pytest.raises(ValueError, match="more than the 3 that a stream can name"):
            stream(client, configs=configs(4))
    assert summary.stored == protocol.result_count() == 14
    assert [size for size, _ in protocol.batches] == [3, 3, 3, 3, 2]


def test_what_the_catalog_does_not_know_is_told_with_its_configuration(served: Served) -> None:
    protocol = served.start()
    unknown = CONFIG._replace(hardware="unknown")
    with served.client() as client:
        results = stream(client)
        results.add_result(CONFIG, ttft_p50_ms=40.0)
        lost = results.add_result(unknown, ttft_p50_ms=40.0)
        wrong = results.add_result(CONFIG, accuracy_score=80)
        summary = results.close()
    assert (summary.stored, summary.rejected) == (1, 2)
    assert [refused.result_id for refused in summary.rejections] == [lost, wrong]
    assert summary.unresolved == {unknown: "No hardware is named unknown."}
    assert protocol.result_count() == 1


def test_the_same_key_and_time_make_the_same_result_and_others_another(served: Served) -> None:
    served.start()
    with served.client() as client, stream(client) as results:

        def add(**values: Any) -> str:
            given: dict[str, Any] = {"benchmark_time": NOW, "ttft_p50_ms": 1.0} | values
            return results.add_result(CONFIG, **given)

        first = add(key="run 1")
        assert add(key=b"run 1") == first
        assert add(key="run 2") != first
        assert add(key="run 1", benchmark_time=NOW + timedelta(milliseconds=1)) != first
        assert add() != add()
        summary = results.close()
    assert (summary.stored, summary.duplicates) == (5, 1)


def test_an_id_carries_the_time_to_the_millisecond(served: Served) -> None:
    with connect("127.0.0.1:9") as client:
        results = stream(client, flush_seconds=float("inf"))
        there = NOW.astimezone(timezone(timedelta(hours=-7)))
        before = time.time_ns() // 1_000_000
        texts = [
            results.add_result(CONFIG, benchmark_time=when, ttft_p50_ms=1.0)
            for when in (NOW, there, None)
        ]
        results.abandon()
    found = [UUID(text) for text in texts]
    assert [(one.version, one.variant) for one in found] == [(7, found[0].variant)] * 3
    milliseconds = [one.int >> 80 for one in found]
    assert milliseconds[:2] == [1_772_366_400_123] * 2
    assert before <= milliseconds[2] <= time.time_ns() // 1_000_000


def test_ids_differ_also_where_a_benchmark_seeds_the_common_generator() -> None:
    found = set()
    with connect("127.0.0.1:9") as client:
        for _ in range(3):
            random.seed(7)
            results = stream(client, flush_seconds=float("inf"))
            found.add(results.add_result(CONFIG, benchmark_time=NOW, ttft_p50_ms=1.0))
            results.abandon()
    assert len(found) == 3


@pytest.mark.parametrize(
    ("values", "error", "text"),
    [
        ({"ttft_p50": 1.0}, TypeError, "ttft_p50 is not a figure of a result"),
        ({"ttft_p50_ms": "fast"}, TypeError, "must be real number, not str"),
        ({"benchmark_time": datetime(2026, 3, 1)}, ValueError, "has no zone"),  # noqa: DTZ001
        ({"benchmark_time": datetime(1969, 12, 31, tzinfo=UTC)}, ValueError, "is before 1970"),
        ({"key": "run 1"}, ValueError, "key needs a benchmark_time"),
        ({"percentile_source": "guessed"}, ValueError, "give one of measured"),
        ({"source_sha256": "ab" * 32}, ValueError, "not 32 bytes"),
        ({"source_sha256": b"ab"}, ValueError, "not 32 bytes"),
        ({"detailed_metrics": {"x": "y" * 16_384}}, ValueError, "16384 are allowed"),
        ({"detailed_metrics": {"x": object()}}, TypeError, "not JSON serializable"),
        ({"ttft_sketch": LatencySketch(counts=[1] * 2202)}, ValueError, "2202 buckets"),
        ({"request_count": 2**63}, OverflowError, "too big"),
        ({"config": "meta-llama/Llama-3.1-8B"}, TypeError, "not a servemark.client.config.Config"),
        ({"config": CONFIG._replace(concurrency="8")}, TypeError, "int"),  # type: ignore[arg-type]
        ({"config": CONFIG._replace(input_tokens=2**31)}, ValueError, "out of range"),
    ],
)
def test_what_cannot_be_sent_is_told_where_it_is_added_and_the_rest_is_stored(
    served: Served, values: dict[str, Any], error: type[Exception], text: str
) -> None:
    served.start()
    with served.client() as client:
        results = stream(client)
        results.add_result(CONFIG, ttft_p50_ms=1.0)
        given: dict[str, Any] = {"config": CONFIG, "tpot_p50_ms": 1.0} | values
        with pytest.raises(error, match=text):
            results.add_result(**given)
        results.add_result(CONFIG, ttft_p50_ms=2.0)
        summary = results.close()
    assert (summary.stored, summary.rejected) == (2, 0)


def test_wrong_options_are_told_at_once() -> None:
    with connect("127.0.0.1:9") as client:
        with pytest.raises(ValueError, match="give one of measured, simulated, estimated"):
            stream(client, provenance="guessed")
        with pytest.raises(ValueError, match="it must be 1 to 10000"):
            stream(client, batch_rows=10_001)


def test_every_figure_may_be_given() -> None:
    assert tuple(Figures.__annotations__) == METRICS


def test_several_threads_may_add_results(served: Served) -> None:
    protocol = served.start()
    with served.client() as client:
        results = stream(client, batch_rows=7, flush_seconds=0.01)

        def add(part: int) -> None:
            for config in configs(100)[part::4]:
                results.add_result(config, ttft_p50_ms=1.0)

        threads = [threading.Thread(target=add, args=(part,)) for part in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results.close().stored == 100
    assert protocol.result_count() == 100


@pytest.mark.parametrize("point", ["before_commit", "after_commit"])
def test_a_connection_that_is_lost_loses_and_doubles_nothing(served: Served, point: str) -> None:
    protocol = served.start((point, 3), (point, 7))
    with served.client() as client:
        results = stream(client, batch_rows=10)
        for _ in range(100):
            results.add_result(CONFIG, ttft_p50_ms=1.0)
        summary = results.close()
    assert (summary.stored, summary.duplicates, summary.rejected) == (100, 0, 0)
    assert summary.replayed >= 20
    assert protocol.result_count() == 100


def test_a_server_that_never_answers_ends_in_an_error(served: Served) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with connect(f"127.0.0.1:{closed.getsockname()[1]}") as client:
            results = stream(client, idle_timeout=0.5)
            results.add_result(CONFIG, ttft_p50_ms=1.0)
            with pytest.raises(StreamTimeoutError, match=r"acknowledged nothing for 0\.5 s"):
                results.close()
            assert results.abandon().stored == 0


@pytest.mark.parametrize("flush_seconds", [0.0, 0.001, 0.005, 0.02])
def test_a_closed_client_ends_its_streams(served: Served, flush_seconds: float) -> None:
    served.start()
    with served.client() as client:
        results = stream(client, flush_seconds=flush_seconds)
        results.add_result(CONFIG, ttft_p50_ms=1.0)

    def add() -> None:
        for _ in range(200):
            results.add_result(CONFIG, ttft_p50_ms=1.0)
            time.sleep(0.02)

    with pytest.raises(StreamError, match="closed"):
        add()
    with pytest.raises(StreamError, match="closed"):
        results.close()


def test_a_closed_stream_takes_no_results_and_keeps_its_summary(served: Served) -> None:
    served.start()
    with served.client() as client:
        results = stream(client)
        results.add_result(CONFIG, ttft_p50_ms=1.0)
        assert results.close() == results.close()
        with pytest.raises(StreamError, match="closed"):
            results.add_result(CONFIG, ttft_p50_ms=1.0)


def test_an_error_in_the_block_abandons_the_stream_at_once_and_keeps_what_is_stored(
    served: Served,
) -> None:
    protocol = served.start()
    with served.client() as client:
        results = stream(client, flush_seconds=float("inf"), idle_timeout=60)
        results.add_result(CONFIG, ttft_p50_ms=1.0)
        results.flush()
        wait_until(lambda: results.done_rows == 1, 10)
        results.add_result(CONFIG, ttft_p50_ms=1.0)
        served.stop()
        start = time.monotonic()
        with pytest.raises(KeyError), results:
            raise KeyError
        assert time.monotonic() - start < 15
        assert results.close().stored == 1
    assert protocol.result_count() == 1
