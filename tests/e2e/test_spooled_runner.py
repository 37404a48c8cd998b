"""A runner with a spool loses nothing and doubles nothing, whatever is killed or cut."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from servemark.client.push import PushSummary, push
from servemark.client.spool import Spool
from tests.support import servers
from tests.support.proxy import Proxy, proxy
from tests.support.runs import make_catalog
from tests.support.stack import RunningStack, wait_until

ROOT = Path(__file__).resolve().parents[2]
ROWS = 3_000

# Two configurations, the second of which comes late; results without a key, so that a repeat by the
# runner itself would be a new one: only the spool can tell them apart.
RUNNER = """
import sys, time
from servemark.client.channel import connect
from servemark.client.config import Config
first = Config("test/llama-8b", "test/h100-1", "vllm", "chatbot", quantization="fp8")
with connect() as client:
    stream = client.stream(
        tool="mine", provenance="measured", spool=sys.argv[1], flush_seconds=0.02, idle_timeout=30
    )
    with stream:
        for number in range(int(sys.argv[2])):
            config = first if number < 400 else first._replace(concurrency=8)
            stream.add_result(config, ttft_p50_ms=40.0)
            print(number + 1, flush=True)
            time.sleep(0.001)
        summary = stream.close()
print(summary.stored, summary.duplicates, summary.rejected, summary.spooled, sep=",")
"""


@pytest.fixture(autouse=True)
def _empty(stack: RunningStack, module_database: str) -> None:
    stack.wait_serving()
    with stack.client() as client:
        if not servers.fetch_value(module_database, "SELECT count(*) FROM catalog.models"):
            make_catalog(client)
    servers.execute(
        module_database, "TRUNCATE ingest.benchmark_results", "TRUNCATE ingest.streams CASCADE"
    )


@pytest.fixture
def network(stack: RunningStack) -> Iterator[Proxy]:
    with proxy(stack.target) as made:
        yield made


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


def run(stack: RunningStack, spool: Spool, target: str | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", RUNNER, str(spool.folder), str(ROWS)],
        env={
            **os.environ,
            "SERVEMARK_TARGET": target or stack.target,
            "SERVEMARK_API_KEY": stack.key,
            "PYTHONPATH": f"{ROOT}:{ROOT / 'libs'}",
        },
        stdout=subprocess.PIPE,
        text=True,
    )


def stored(dsn: str) -> int:
    """Results stored, which have to be of as many ids."""
    query = "SELECT ARRAY[count(*), count(DISTINCT id)] FROM ingest.benchmark_results"
    count, ids = servers.fetch_value(dsn, query)
    assert count == ids
    return int(count)


def push_all(stack: RunningStack, spool: Spool) -> PushSummary:
    with stack.client() as client:
        return push(client, spool.paths())


def ended(runner: subprocess.Popen[str]) -> tuple[int, ...]:
    """What the runner's last line says; fails if it failed."""
    output, _ = runner.communicate(timeout=90)
    assert runner.returncode == 0
    return tuple(map(int, output.splitlines()[-1].split(",")))


def test_a_killed_runner_is_resumed_with_nothing_lost_and_nothing_doubled(
    stack: RunningStack, module_database: str, spool: Spool
) -> None:
    runner = run(stack, spool)
    wait_until(lambda: stored(module_database) >= 700, 30, "the runner is on its way")
    runner.kill()
    output, _ = runner.communicate()
    added = int(output.split()[-1])
    assert added < ROWS
    pushed = push_all(stack, spool)
    assert (pushed.failures, pushed.in_use, pushed.rejections) == ({}, [], [])
    # One may be in the spool that the runner could not speak of any more.
    assert added <= stored(module_database) <= added + 1
    assert pushed.duplicates > 0
    assert list(spool.folder.iterdir()) == []
    assert push_all(stack, spool).stored == 0


def test_a_gateway_killed_under_a_runner_loses_and_doubles_nothing(
    stack: RunningStack, module_database: str, spool: Spool
) -> None:
    runner = run(stack, spool)
    for wanted in (300, 1_200):
        wait_until(lambda n=wanted: stored(module_database) >= n, 30, "it streams")  # type: ignore[misc]
        stack.kill("gateway")
    taken = ended(runner)
    assert (sum(taken[:2]), *taken[2:]) == (ROWS, 0, 0)
    assert stored(module_database) == ROWS
    assert list(spool.folder.iterdir()) == []


def test_a_network_that_is_cut_and_swallows_loses_and_doubles_nothing(
    stack: RunningStack, module_database: str, spool: Spool, network: Proxy
) -> None:
    runner = run(stack, spool, network.target)
    wait_until(lambda: stored(module_database) >= 200, 30, "it streams")
    network.cut()
    before = stored(module_database)
    # It goes on without the network.
    wait_until(lambda: spool.used_bytes() > 60_000, 30, "it spools")
    assert stored(module_database) <= before + 200
    network.mend()
    wait_until(lambda: stored(module_database) >= 1_200, 30, "it goes on")
    network.swallow()
    wait_until(lambda: network.is_holding, 30, "something is under way")
    # It is never answered; then the connection ends.
    network.cut()
    network.mend()
    taken = ended(runner)
    assert (sum(taken[:2]), *taken[2:]) == (ROWS, 0, 0)
    assert stored(module_database) == ROWS


def test_a_runner_whose_network_never_comes_back_leaves_all_of_it_for_a_push(
    stack: RunningStack, module_database: str, spool: Spool, network: Proxy
) -> None:
    runner = run(stack, spool, network.target)
    wait_until(lambda: stored(module_database) >= 500, 30, "it streams")
    network.cut()
    wait_until(lambda: spool.used_bytes() > 60_000, 30, "it spools")
    runner.kill()
    output, _ = runner.communicate()
    added = int(output.split()[-1])
    assert stored(module_database) < added
    assert push_all(stack, spool).failures == {}
    assert added <= stored(module_database) <= added + 1
