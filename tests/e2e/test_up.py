"""`servemark up` as a newcomer meets it: from nothing to an answer, and gone without a trace."""

import json
import os
import signal
import socket
import subprocess
import sysconfig
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from servemark.client.channel import connect
from servemark.client.errors import ServemarkCallError
from servemark.ingest.v1.result_query_pb2 import ListBenchmarkResultsRequest
from servemark.ingest.v1.storage_pb2 import GetStorageRequest
from tests.support import servers
from tests.support.certificates import Certificates
from tests.support.servers import temporary_folder
from tests.support.stack import free_block, wait_until

SERVEMARK = Path(sysconfig.get_path("scripts")) / "servemark"
READY = "Ctrl-C stops it"


class Up:
    """One running `servemark up` and what it has printed."""

    def __init__(self, folder: Path, base: int, **variables: str) -> None:
        self.folder = folder
        self.base = base
        self.out = folder / f"out-{time.monotonic_ns()}"
        self.err = self.out.with_suffix(".err")
        self.started = time.monotonic()
        environment = {
            key: value for key, value in os.environ.items() if not key.startswith("SERVEMARK_")
        } | {
            "SERVEMARK_PORT_BASE": str(base),
            "SERVEMARK_HTTP_PORT": str(base + 4),
            "SERVEMARK_METRICS_PORT": "0",
            **variables,
        }
        self.environment = environment
        with self.out.open("w") as out, self.err.open("w") as err:
            self.process = subprocess.Popen(
                [SERVEMARK, "up", "--data-dir", folder / "data"],
                stdout=out,
                stderr=err,
                env=environment,
                cwd=folder,
            )

    def wait_ready(self, seconds: float = 120) -> float:
        """Seconds until everything was printed."""

        def ready() -> bool:
            assert self.process.poll() is None, self.err.read_text()
            return READY in self.out.read_text()

        wait_until(ready, seconds, "servemark up is ready")
        return time.monotonic() - self.started

    def family(self) -> list[psutil.Process]:
        """Everything it started."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self, number: int) -> int:
        """Sends a signal, waits for the end and returns the exit status."""
        self.process.send_signal(number)
        return self.process.wait(60)


@contextmanager
def up(folder: Path, base: int, **variables: str) -> Iterator[Up]:
    running = Up(folder, base, **variables)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.end(signal.SIGTERM)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with temporary_folder() as path:
        yield path


def test_up_shows_a_recommendation_and_a_second_start_finds_its_data(folder: Path) -> None:
    base = free_block(5)
    with up(folder, base) as first:
        first.wait_ready()
        text = first.out.read_text()
        assert "grpcurl" in text
        assert "servemark recommend" in text
        assert "Why the first" in text
        http = f"http://127.0.0.1:{base + 4}"
        assert f"{http}/servemark.ranking.v1.RankingService/Recommend" in text
        with urllib.request.urlopen(f"{http}/readyz", timeout=10) as ready:
            assert ready.status == 200
        # The data is where the user looks for it, whoever the server runs as.
        assert (folder / "data/postgres/server/cluster/PG_VERSION").exists()
        saved = json.loads((folder / "data/client.json").read_text())
        assert saved["key"] in text
        with connect(saved["target"], key=saved["key"]) as client:
            stored = client.ingest.ListBenchmarkResults(ListBenchmarkResultsRequest(page_size=1000))
            how = client.storage.GetStorage(GetStorageRequest()).storage
        assert len(stored.benchmark_results) >= 200
        assert how.archive_location == (folder / "data/archive").resolve().as_uri()
        started = first.family()
        assert len(started) >= 6
        assert first.end(signal.SIGINT) == 0
        wait_until(lambda: not any(child.is_running() for child in started), 20, "all have ended")
    with up(folder, base) as second:
        second.wait_ready()
        assert json.loads((folder / "data/client.json").read_text()) == saved
        with connect(saved["target"], key=saved["key"]) as client:
            again = client.ingest.ListBenchmarkResults(ListBenchmarkResultsRequest(page_size=1000))
        assert again == stored
        assert "Streaming the measured results" not in second.err.read_text()


def test_a_second_up_beside_the_first_fails_with_the_port_and_the_fix(folder: Path) -> None:
    with socket.socket() as taken:
        base = free_block(5)
        taken.bind(("127.0.0.1", base + 2))
        taken.listen()
        with up(folder, base) as refused:
            assert refused.process.wait(30) == 1
            text = refused.err.read_text()
            assert f"Port {base + 2}" in text
            assert "SERVEMARK_PORT_BASE=" in text
            assert "Traceback" not in text


def test_kill_9_of_up_leaves_no_process_behind(folder: Path) -> None:
    with up(folder, free_block(5), SERVEMARK_INGEST_WORKERS="2") as running:
        running.wait_ready()
        started = running.family()
        ingest = json.loads((folder / "data/up.json").read_text())["services"]["ingest"]
        assert len(psutil.Process(ingest).children()) == 2
        running.process.kill()
        running.process.wait(10)
        wait_until(
            lambda: (
                not any(
                    child.is_running() and child.status() != psutil.STATUS_ZOMBIE
                    for child in started
                )
            ),
            20,
            "everything it started has ended",
        )


def test_up_starts_again_what_was_killed(folder: Path) -> None:
    with up(folder, free_block(5)) as running:
        running.wait_ready()
        saved = json.loads((folder / "data/client.json").read_text())
        document = json.loads((folder / "data/up.json").read_text())
        os.kill(document["services"]["ingest"], signal.SIGKILL)

        def answers() -> bool:
            with connect(saved["target"], key=saved["key"]) as client:
                request = ListBenchmarkResultsRequest(page_size=1)
                try:
                    return bool(client.ingest.ListBenchmarkResults(request).benchmark_results)
                except ServemarkCallError:
                    return False

        wait_until(answers, 30, "ingest answers again")


def test_up_its_doctor_and_the_command_line_speak_tls(
    folder: Path, fresh_database: str, valkey: str
) -> None:
    own = folder / "tls"
    own.mkdir()
    ours = Certificates(own / "ca")
    cert, key = ours.issue("front")
    with up(
        own,
        free_block(5),
        SERVEMARK_DATABASE_URL=fresh_database,
        SERVEMARK_REDIS_URL=valkey,
        SERVEMARK_TLS_CERT=str(cert),
        SERVEMARK_TLS_KEY=str(key),
        SERVEMARK_PEER_TLS_CA=str(ours.ca_file),
    ) as running:
        running.wait_ready()
        text = running.out.read_text()
        assert "Why the first" in text
        assert f"grpcurl -cacert {ours.ca_file}" in text
        for command in ("doctor", "recommend --use-case chatbot"):
            done = subprocess.run(
                [SERVEMARK, *command.split(), "--json"],
                env={**running.environment, "SERVEMARK_DATA_DIR": str(own / "data")},
                cwd=own,
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, done.stderr
            if command == "doctor":
                findings = {item["subject"]: item for item in json.loads(done.stdout)}
                assert {item["state"] for item in findings.values()} == {"ok"}
                assert "https://" in findings["HTTP"]["text"]


def test_up_with_a_certificate_and_no_ca_says_what_is_missing(folder: Path) -> None:
    with up(folder, free_block(5), SERVEMARK_TLS_CERT="a", SERVEMARK_TLS_KEY="b") as refused:
        assert refused.process.wait(30) == 1
        assert "SERVEMARK_PEER_TLS_CA" in refused.err.read_text()


def test_up_and_doctor_use_the_servers_they_are_given(
    folder: Path, fresh_database: str, valkey: str
) -> None:
    own = folder / "own"
    own.mkdir()
    with up(
        own, free_block(5), SERVEMARK_DATABASE_URL=fresh_database, SERVEMARK_REDIS_URL=valkey
    ) as running:
        running.wait_ready()
        commands = [" ".join(child.cmdline()) for child in running.family()]
        assert len(commands) == 4, commands
        examined = subprocess.run(
            [SERVEMARK, "doctor", "--data-dir", own / "data", "--json"],
            env=running.environment,
            cwd=own,
            capture_output=True,
            text=True,
        )
        assert examined.returncode == 0, examined.stderr
        findings = {item["subject"]: item for item in json.loads(examined.stdout)}
        assert findings["servers"]["text"] == "environment"
        assert {item["state"] for item in findings.values()} == {"ok"}
    assert (
        servers.fetch_value(fresh_database, "SELECT count(*) FROM ingest.benchmark_results") > 200
    )
    idle = subprocess.run(
        [SERVEMARK, "doctor", "--data-dir", own / "data", "--json"],
        env={
            key: value
            for key, value in running.environment.items()
            if key not in ("SERVEMARK_DATABASE_URL", "SERVEMARK_REDIS_URL")
        },
        cwd=own,
        capture_output=True,
        text=True,
    )
    states = {item["subject"]: item["state"] for item in json.loads(idle.stdout)}
    assert states["PostgreSQL"] == states["gateway"] == "missing"
