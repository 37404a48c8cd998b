"""Several processes take results in on one port, and to clients they are one service."""

import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
import pytest_asyncio

from servemark.client.channel import connect
from servemark.client.stream import ResultStream, StreamSummary
from servemark.ingest.v1.ingest_service_pb2_grpc import IngestServiceStub
from servemark.ingest.v1.result_stream_pb2 import GetStreamCursorRequest, StreamHeader
from tests.rpc.ingest.builders import batch, header, rows
from tests.rpc.ingest.process import COMMAND, Process, environment, ingest_process
from tests.rpc.ingest.serving import AppendCall, Served, append, serving
from tests.support import servers
from tests.support.processes import is_running, wait_until
from tests.support.stack import free_block

WORKERS = 2


@pytest_asyncio.fixture(scope="module")
async def module_ingest(postgres_server: str, ingest_template: str) -> AsyncIterator[Served]:
    """A database and a catalog that the tests of this module share."""
    with servers.database(postgres_server, ingest_template) as dsn:
        async with serving(dsn) as served:
            yield served


@contextmanager
def with_workers(ingest: Served, **settings: object) -> Iterator[Process]:
    """The service with workers that all listen."""
    with ingest_process(
        ingest.dsn, ingest.catalog_port, INGEST_WORKERS=WORKERS, **settings
    ) as process:
        wait_until(lambda: len(listeners(process)) == WORKERS, 60, "both workers listen")
        yield process


@pytest.fixture(scope="module")
def module_service(module_ingest: Served) -> Iterator[Process]:
    """A service with two workers for tests that leave it as they found it."""
    with with_workers(module_ingest) as process:
        yield process


@pytest.fixture
def service(module_service: Process) -> Process:
    """The module's service with both workers there, after a test before has killed some."""
    wait_until(lambda: len(listeners(module_service)) == WORKERS, 60, "both workers listen")
    return module_service


def listeners(service: Process) -> list[int]:
    """Process ids of the workers that listen on the service's port."""
    workers = psutil.Process(service.started.pid).children()
    return [worker.pid for worker in workers if listens(worker, service.port)]


def listens(process: psutil.Process, port: int) -> bool:
    """Whether the process is there and takes connections on the port."""
    try:
        return any(
            one.status == psutil.CONN_LISTEN and one.laddr.port == port
            for one in process.net_connections()
        )
    except psutil.NoSuchProcess:
        return False


async def worker_of(call: Any) -> str:
    """The number of the worker that a call reached."""
    return str(dict(await call.initial_metadata())["x-servemark-worker"])


@asynccontextmanager
async def connections(service: Process) -> AsyncIterator[dict[str, Any]]:
    """A stub for each worker, by its number, on a connection that leads there."""
    async with AsyncExitStack() as opened:
        found: dict[str, Any] = {}
        for _ in range(100):
            channel = await opened.enter_async_context(
                grpc.aio.insecure_channel(
                    service.target, options=[("grpc.use_local_subchannel_pool", 1)]
                )
            )
            stub: Any = IngestServiceStub(channel)
            found[await worker_of(stub.GetStreamCursor(GetStreamCursorRequest()))] = stub
            if len(found) == WORKERS:
                break
        yield found


def metrics(service: Process) -> str:
    """The service's metrics page."""
    with urllib.request.urlopen(f"http://127.0.0.1:{service.metrics_port}/metrics") as page:
        text: str = page.read().decode()
    return text


def number_on(page: str, name: str) -> float:
    """A figure on a metrics page; 0 where it is not there yet."""
    match = re.search(rf"^{re.escape(name)} (.*)$", page, re.MULTILINE)
    return float(match[1]) if match else 0.0


def started(service: Process, method: str) -> float:
    """Calls of a method, as the metrics page counts them."""
    labels = f'grpc_method="{method}",grpc_service="servemark.ingest.v1.IngestService"'
    return number_on(metrics(service), f"servemark_grpc_started_total{{{labels}}}")


async def stored(stub: Any, message: StreamHeader) -> int:
    """Rows that a stream has stored."""
    cursor = await stub.GetStreamCursor(GetStreamCursorRequest(stream_id=message.stream_id))
    return int(cursor.stored_count)


async def test_both_workers_take_streams_and_count_into_one_page(service: Process) -> None:
    before = started(service, "AppendResults")
    async with connections(service) as stubs:
        assert set(stubs) == {"1", "2"}
        for turns, stub in enumerate(stubs.values(), start=2):
            for _ in range(turns):
                message = header()
                call = AppendCall(stub)
                await call.open(message)
                assert stubs[await worker_of(call.call)] is stub
                await call.append(batch(0, rows(10)))
                await call.close()
                assert await stored(stub, message) == 10
    assert started(service, "AppendResults") - before == 5
    assert "servemark_grpc_in_flight 0.0" in metrics(service)


def test_a_refused_call_says_its_worker_too(service: Process) -> None:
    # Not grpc.aio: its client may lose the beginning of an answer that ends at once.
    with grpc.insecure_channel(service.target) as channel:
        call: Any = IngestServiceStub(channel).AppendResults(iter([]))
        assert dict(call.initial_metadata())["x-servemark-worker"] in {"1", "2"}
        assert call.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_single_process_starts_no_other_and_says_no_number(module_ingest: Served) -> None:
    with ingest_process(module_ingest.dsn, module_ingest.catalog_port) as alone:
        assert psutil.Process(alone.started.pid).children() == []
        async with grpc.aio.insecure_channel(alone.target) as channel:
            call = AppendCall(IngestServiceStub(channel))
            await call.open(header())
            assert "x-servemark-worker" not in dict(await call.call.initial_metadata())
            await call.close()
        with socket.socket() as second:
            second.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            with pytest.raises(OSError, match="in use"):
                second.bind(("127.0.0.1", alone.port))
        assert started(alone, "AppendResults") == 1


async def test_clients_of_one_stream_take_turns_through_two_workers(service: Process) -> None:
    message = header()
    batches = [batch(sequence, rows(20)) for sequence in range(15)]
    async with connections(service) as stubs:
        answers = await asyncio.gather(
            *(append(stub, message, *batches) for stub in stubs.values())
        )
        assert await stored(stubs["1"], message) == 300
    counted: Counter[int] = Counter()
    for _, acks in answers:
        for ack in acks:
            counted[ack.sequence] += ack.stored_count
            assert ack.replayed == (ack.stored_count == 0)
    assert counted == Counter(dict.fromkeys(range(15), 20))


async def until(fact: Callable[[], bool], what: str) -> None:
    """Returns once the fact holds; the clients go on meanwhile."""
    await asyncio.to_thread(wait_until, fact, 60, what)


async def test_a_killed_worker_is_replaced_and_its_clients_go_on(
    module_ingest: Served, service: Process
) -> None:
    enough = threading.Event()
    at_first = module_ingest.stored()
    ended = number_on(metrics(service), "servemark_workers_ended_total")

    def send() -> tuple[int, StreamSummary]:
        sent = 0
        with (
            connect(service.target, key="none") as client,
            ResultStream(client, header(), batch_rows=20) as stream,
        ):
            # At a pace that leaves the machine time to start workers.
            while not enough.wait(0.05):
                for row in rows(100):
                    stream.add(row)
                    sent += 1
            return sent, stream.close()

    sending = [asyncio.create_task(asyncio.to_thread(send)) for _ in range(4)]
    try:
        for _ in range(3):
            already = module_ingest.stored()
            await until(lambda n=already: module_ingest.stored() > n + 500, "rows flow")  # type: ignore[misc]
            killed, kept = listeners(service)
            os.kill(killed, signal.SIGKILL)
            await until(
                lambda gone=killed: len({*listeners(service)} - {gone}) == WORKERS,  # type: ignore[misc]
                "another took its place",
            )
            assert kept in listeners(service)
    finally:
        enough.set()
    answers = await asyncio.gather(*sending)
    assert sum(summary.replayed for _, summary in answers) > 0
    for sent, summary in answers:
        assert (summary.stored + summary.duplicates, summary.rejected) == (sent, 0)
    assert module_ingest.stored() - at_first == sum(sent for sent, _ in answers)
    assert number_on(metrics(service), "servemark_workers_ended_total") == ended + 3
    # Calls that the killed were answering are not in flight for ever.
    await until(lambda: number_on(metrics(service), "servemark_grpc_in_flight") == 0, "none is")


async def test_what_a_killed_worker_counted_stays(service: Process) -> None:
    async with connections(service) as stubs:
        await append(stubs["1"], header())
        await append(stubs["2"], header())
        before = started(service, "AppendResults")
        files = sorted(path.name for path in folder(service).iterdir())
        killed = listeners(service)
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        await until(lambda: not any(map(is_running, killed)), "both have ended")
    assert started(service, "AppendResults") == before
    await until(lambda: len(listeners(service)) == WORKERS, "both were replaced")
    async with connections(service) as stubs:
        for stub in stubs.values():
            await append(stub, header())
    assert started(service, "AppendResults") == before + 2
    # However often workers die, the page is made of as many files.
    assert sorted(path.name for path in folder(service).iterdir()) == files


def folder(service: Process) -> Path:
    """Where the workers' metrics lie."""
    [pid, *_] = listeners(service)
    return Path(psutil.Process(pid).environ()["PROMETHEUS_MULTIPROC_DIR"])


async def test_a_stop_lets_calls_end_and_leaves_nothing(module_ingest: Served) -> None:
    with with_workers(module_ingest) as service:
        workers, kept_in = listeners(service), folder(service)
        assert kept_in.stat().st_mode & 0o777 == 0o700
        async with connections(service) as stubs:
            calls = [AppendCall(stub) for stub in stubs.values()]
            for call in calls:
                await call.open(header())
            service.started.send_signal(signal.SIGTERM)
            await until(lambda: listeners(service) == [], "no new connections are taken")
            for call in calls:
                assert (await call.append(batch(0, rows(5)))).stored_count == 5
                await call.close()
        assert await asyncio.to_thread(service.started.wait, 10) == 0
    assert not any(map(is_running, workers))
    assert not kept_in.exists()


async def test_a_worker_that_does_not_end_is_killed(module_ingest: Served) -> None:
    with with_workers(module_ingest, SHUTDOWN_GRACE_SECONDS=0) as service:
        workers = listeners(service)
        os.kill(workers[0], signal.SIGSTOP)
        service.started.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(service.started.wait, 15) == 0
    assert not any(map(is_running, workers))


async def test_kill_9_of_the_first_process_leaves_nobody(module_ingest: Served) -> None:
    with with_workers(module_ingest) as service:
        workers, kept_in = listeners(service), folder(service)
        # Less than a kill would not end one that hangs.
        os.kill(workers[0], signal.SIGSTOP)
        service.started.kill()
        await until(lambda: not any(map(is_running, workers)), "the workers have ended")
    # The killed could not tidy up.
    shutil.rmtree(kept_in)


def refusal(base: int, **settings: object) -> subprocess.CompletedProcess[str]:
    """How a start that is refused ends."""
    nowhere = "postgresql://nobody@127.0.0.1:1/none"
    return subprocess.run(
        COMMAND,
        env=environment(nowhere, base, **{"INGEST_WORKERS": WORKERS, **settings}),
        capture_output=True,
        text=True,
        timeout=30,
    )


@pytest.mark.parametrize(("offset", "shares"), [(2, False), (2, True), (6, False)])
def test_a_taken_port_is_refused_in_a_sentence(offset: int, shares: bool) -> None:
    base = free_block(8)
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, shares)
        taken.bind(("127.0.0.1", base + offset))
        taken.listen()
        refused = refusal(base)
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"Port {base + offset} on 127.0.0.1 is in use.")
    assert len(refused.stderr.splitlines()) == 1


def test_a_second_service_with_workers_does_not_join_the_first(service: Process) -> None:
    refused = refusal(service.port - 2)
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"Port {service.port} on 127.0.0.1 is in use.")


def test_a_number_of_workers_that_cannot_be_is_refused_in_a_sentence() -> None:
    refused = refusal(free_block(8), INGEST_WORKERS=0)
    assert refused.returncode == 2
    assert refused.stderr.startswith("SERVEMARK_INGEST_WORKERS: ")
