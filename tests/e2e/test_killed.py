"""Clients and services that are killed in the middle lose nothing and store nothing twice."""

import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from servemark.client.load import load_records
from servemark.client.stream import ResultStream
from servemark.ingest.v1.result_stream_pb2 import GetStreamCursorRequest
from tests.support import servers
from tests.support.runs import make_catalog, records
from tests.support.stack import RunningStack, wait_until

ROWS = 4000
ROOT = Path(__file__).resolve().parents[2]

# Always the same rows; after each hundred it waits for a line, or the end of its input.
RUNNER = """
import sys
from servemark.client.channel import connect
from servemark.client.records import records_to_stream
from servemark.client.stream import ResultStream
from tests.support.runs import records

stream_id = sys.argv[1]
with connect() as client:
    [plan] = records_to_stream(list(records(int(sys.argv[2]))))
    plan.header.stream_id = stream_id
    with ResultStream(client, plan.header, batch_rows=100) as stream:
        for number, row in enumerate(plan.rows):
            stream.add(row)
            if number % 100 == 99:
                sys.stdin.readline()
        summary = stream.close()
print(summary.stored, summary.duplicates, summary.rejected, summary.replayed)
"""


# One that knows no messages: it adds each result as it comes, by the names of what was measured.
PLAIN_RUNNER = """
import sys
from servemark.client.channel import connect
from servemark.client.records import config_of
from tests.support.runs import records

with connect() as client:
    with client.stream(tool="vllm", provenance="measured", flush_seconds=0.02) as stream:
        for number, record in enumerate(records(int(sys.argv[2]))):
            stream.add_result(
                config_of(record),
                benchmark_time=record.benchmarked_at,
                key=f"run {number}",
                ttft_p50_ms=record.ttft_p50_ms,
                throughput_tokens_sec=record.throughput_tokens_sec,
            )
            if number % 100 == 99:
                sys.stdin.readline()
        summary = stream.close()
print(summary.stored, summary.duplicates, summary.rejected, summary.replayed)
"""


def _runner(stack: RunningStack, stream_id: str, program: str = RUNNER) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, stream_id, str(ROWS)],
        env={
            **os.environ,
            "SERVEMARK_TARGET": stack.target,
            "SERVEMARK_API_KEY": stack.key,
            "PYTHONPATH": f"{ROOT}:{ROOT / 'libs'}",
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _let_go_on(runner: subprocess.Popen[str], rows: int) -> None:
    """So many rows more; the last hundred of those it has now may wait in the runner."""
    assert runner.stdin is not None
    runner.stdin.write("\n" * (rows // 100))
    runner.stdin.flush()


@pytest.fixture(autouse=True)
def _empty(stack: RunningStack, module_database: str) -> None:
    stack.wait_serving()
    with stack.client() as client:
        if not servers.fetch_value(module_database, "SELECT count(*) FROM catalog.models"):
            make_catalog(client)
    servers.execute(
        module_database, "TRUNCATE ingest.benchmark_results", "TRUNCATE ingest.streams CASCADE"
    )


def _count(dsn: str) -> tuple[int, int]:
    query = "SELECT {} FROM ingest.benchmark_results"
    return (
        servers.fetch_value(dsn, query.format("count(*)")),
        servers.fetch_value(dsn, query.format("count(DISTINCT id)")),
    )


def test_a_plain_runner_killed_in_the_middle_may_simply_run_again(
    stack: RunningStack, module_database: str
) -> None:
    first = _runner(stack, "", PLAIN_RUNNER)
    _let_go_on(first, 1000)
    wait_until(lambda: _count(module_database)[0] >= 500, 30, "the runner is on its way")
    first.kill()
    first.wait()
    on_its_way, _ = _count(module_database)
    assert 500 <= on_its_way < ROWS

    second = _runner(stack, "", PLAIN_RUNNER)
    output, _ = second.communicate(timeout=60)
    assert second.returncode == 0
    stored, duplicates, rejected, _ = map(int, output.split())
    assert (stored + duplicates, rejected) == (ROWS, 0)
    assert duplicates >= on_its_way
    assert _count(module_database) == (ROWS, ROWS)


def test_a_client_killed_in_the_middle_resumes_with_nothing_lost(
    stack: RunningStack, module_database: str
) -> None:
    stream_id = str(uuid.uuid4())
    first = _runner(stack, stream_id)
    _let_go_on(first, 1000)
    wait_until(lambda: _count(module_database)[0] >= 500, 30, "the runner is on its way")
    first.kill()
    first.wait()
    on_its_way, _ = _count(module_database)
    assert 500 <= on_its_way < ROWS

    second = _runner(stack, stream_id)
    output, _ = second.communicate(timeout=60)
    assert second.returncode == 0
    stored, duplicates, rejected, replayed = map(int, output.split())
    assert replayed > 0
    assert rejected == 0
    assert stored + duplicates == ROWS
    assert _count(module_database) == (ROWS, ROWS)
    with stack.client() as client:
        cursor = client.ingest.GetStreamCursor(GetStreamCursorRequest(stream_id=stream_id))
    assert cursor.next_sequence == ROWS // 100
    assert cursor.stored_count == ROWS


@pytest.mark.parametrize("program", [RUNNER, PLAIN_RUNNER], ids=["rows", "plain"])
@pytest.mark.parametrize("service", ["ingest", "gateway"])
def test_a_service_killed_in_the_middle_loses_nothing(
    stack: RunningStack, module_database: str, service: str, program: str
) -> None:
    runner = _runner(stack, str(uuid.uuid4()), program)
    for kill in range(1, 4):
        _let_go_on(runner, 1000)
        # Of the thousand some hundreds are on their way.
        wait_until(
            lambda least=1000 * kill - 700: _count(module_database)[0] >= least,  # type: ignore[misc]
            30,
            "rows flow",
        )
        stack.kill(service)  # type: ignore[arg-type]
    output, _ = runner.communicate(timeout=90)
    assert runner.returncode == 0
    stored, duplicates, rejected, _ = map(int, output.split())
    assert rejected == 0
    assert stored + duplicates == ROWS
    assert _count(module_database) == (ROWS, ROWS)


def test_the_other_services_come_back_after_kill_9(stack: RunningStack) -> None:
    with stack.client() as client:
        load_records(client, records(10))
    for service in ("catalog", "ranking"):
        pid = stack.kill(service)
        wait_until(lambda s=service, p=pid: stack.services.pids()[s] != p, 10, "restarted")  # type: ignore[misc]
    with stack.client() as client:
        deadline = time.monotonic() + 20
        while True:
            try:
                assert load_records(client, records(20)).rejected == 0
                break
            except Exception:
                assert time.monotonic() < deadline
                time.sleep(0.2)


def test_resume_does_not_send_what_is_durable(stack: RunningStack, module_database: str) -> None:
    from servemark.client.records import records_to_stream

    [plan] = records_to_stream(list(records(1000)))
    plan.header.stream_id = str(uuid.uuid4())
    with stack.client() as client:
        for _ in range(2):
            with ResultStream(client, plan.header, batch_rows=250) as stream:
                for row in plan.rows:
                    stream.add(row)
                summary = stream.close()
    assert summary.replayed == 1000
    assert _count(module_database) == (1000, 1000)
