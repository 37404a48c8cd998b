"""`servemark up`: from nothing to a first recommendation, and then running until Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError

from servemark.catalog.v1.use_case_pb2 import ListUseCasesRequest
from servemark.client.channel import Client, connect
from servemark.client.errors import ServemarkCallError
from servemark.ranking.v1.ranking_pb2 import RefreshRankingsRequest
from servemark.ranking.v1.recommend_pb2 import RecommendRequest, RecommendResponse
from servemark.runtime.settings import ServiceSettings, describe_problems
from servemark.stack.errors import StackError
from servemark.stack.files import DataDir, sample_digest, sample_dir, write_private
from servemark.stack.ports import require_free_ports
from servemark.stack.sample import load_results
from servemark.stack.seed import load_catalog
from servemark.stack.servers import Servers
from servemark.stack.services import Services

FIRST_USE_CASE = "chatbot"


class Progress:
    """Says on stderr what is being done, and how long it took once it is done."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()

    @contextmanager
    def step(self, what: str) -> Iterator[Callable[[str], None]]:
        """Shows `what` while the block runs; the block may add a detail."""
        start = time.monotonic()

        def show(detail: str = "") -> None:
            if self._terminal:
                text = f"{what} ({detail}) ..." if detail else f"{what} ..."
                print(f"\r\x1b[2K  {text}", end="", file=sys.stderr, flush=True)

        show()
        if not self._terminal:
            print(f"  {what} ...", file=sys.stderr, flush=True)
        yield show
        took = f"{time.monotonic() - start:.1f} s"
        if self._terminal:
            print(f"\r\x1b[2K  {what}: {took}", file=sys.stderr, flush=True)

    def say(self, sentence: str) -> None:
        """Prints one sentence on stderr."""
        print(f"  {sentence}", file=sys.stderr, flush=True)


def read_settings(database_url: str = "postgresql://not-started-yet/") -> ServiceSettings:
    """The settings every service will have. Raises StackError naming each wrong variable."""
    try:
        settings = ServiceSettings(database_url=SecretStr(database_url))
    except ValidationError as error:
        raise StackError("\n".join(describe_problems(error))) from None
    if (settings.tls_cert is None) != (settings.peer_tls_ca is None):
        raise StackError(
            "SERVEMARK_TLS_CERT and SERVEMARK_PEER_TLS_CA go together on one machine: by that CA"
            " the services, which all show this certificate, know each other. It has to be for"
            f" {settings.own_host}, too."
        )
    return settings


def migrate(database_url: str) -> None:
    """Brings every schema to its newest revision. Raises StackError."""
    done = subprocess.run(
        [sys.executable, "-m", "migrations", "upgrade"],
        env={**os.environ, "SERVEMARK_DATABASE_URL": database_url},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or ["it wrote nothing"]
        raise StackError(f"The database could not be migrated: {last[0]}")


def connect_to(settings: ServiceSettings, key: str) -> Client:
    """A client of the gateway that runs with these settings."""
    return connect(
        client_target(settings),
        key=key,
        ca=settings.peer_tls_ca,
        client_cert=settings.peer_tls_cert,
        client_key=settings.peer_tls_key,
        # To this machine's own address, whatever that is.
        allow_plaintext_key=True,
    )


def client_target(settings: ServiceSettings) -> str:
    """The gateway's address as clients name it."""
    return f"{'https://' if settings.tls_cert else ''}{settings.target('gateway')}"


def _key(data: DataDir, environment: dict[str, str], settings: ServiceSettings) -> str:
    """The key in client.json if it still works; otherwise a new one, written there."""
    # The command line reads there how to connect.
    way = {"target": client_target(settings)}
    if settings.peer_tls_ca is not None:
        way["ca"] = str(settings.peer_tls_ca.resolve())
    if data.client_file.exists():
        saved = json.loads(data.client_file.read_text())
        key: str = saved["key"]
        with connect_to(settings, key) as client:
            try:
                client.catalog.ListUseCases(ListUseCasesRequest(page_size=1))
                if saved != {**way, "key": key}:
                    # The ports moved since the last start, or the certificate came or went.
                    write_private(data.client_file, json.dumps({**way, "key": key}))
                return key
            except ServemarkCallError as error:
                if error.reason != "KEY_INVALID":
                    raise
    made = subprocess.run(
        [sys.executable, "-m", "services.gateway.bootstrap", "--name", "servemark up",
         "--scopes", "admin"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    if made.returncode != 0:
        raise StackError(f"No API key could be made: {made.stderr.strip()[-500:]}")
    key = made.stdout.strip()
    write_private(data.client_file, json.dumps({**way, "key": key}))
    return key


def _load_sample(client: Client, data: DataDir, progress: Progress) -> None:
    digest = sample_digest()
    if data.sample_file.exists() and json.loads(data.sample_file.read_text()) == digest:
        return
    with progress.step("Loading the catalog") as detail:
        load_catalog(client.catalog, sample_dir() / "catalog", detail)
    with progress.step("Streaming the measured results") as detail:
        load_results(client, sample_dir(), detail)
    data.sample_file.write_text(json.dumps(digest))


def _first_recommendation(client: Client, progress: Progress, *, fresh: bool) -> RecommendResponse:
    if fresh:
        with progress.step("Calculating the rankings"):
            client.ranking.RefreshRankings(RefreshRankingsRequest(), timeout=60)
    answer: RecommendResponse = client.ranking.Recommend(
        RecommendRequest(use_case=FIRST_USE_CASE, max_results=5), timeout=30
    )
    return answer


class Stack:
    """Everything `servemark up` runs. `start`, then `watch` until told to stop, then `stop`."""

    def __init__(self, root: Path, *, sample: bool = True) -> None:
        self.data = DataDir(root.resolve())
        self.settings = read_settings()
        self.progress = Progress()
        self.key = ""
        self._sample = sample
        self._servers = Servers()
        self._services: Services | None = None
        self._stop = threading.Event()

    @property
    def target(self) -> str:
        """Address of the gateway."""
        return self.settings.target("gateway")

    def start(self) -> RecommendResponse | None:
        """Starts everything and returns the first recommendation, or None without sample data.

        Raises StackError or EmbeddedServerError with a sentence for the person who typed `up`.
        """
        require_free_ports(self.settings)
        self.data.create()
        with self.progress.step("Starting PostgreSQL and Valkey"):
            self._servers.start(self.data)
        with self.progress.step("Migrating the database"):
            migrate(self._servers.database_url)
        environment = {
            "SERVEMARK_DATABASE_URL": self._servers.database_url,
            "SERVEMARK_REDIS_URL": self._servers.redis_url,
            "SERVEMARK_KEY_PEPPER": os.environ.get("SERVEMARK_KEY_PEPPER")
            or self.data.key_pepper(),
            "SERVEMARK_ARCHIVE_URL": os.environ.get("SERVEMARK_ARCHIVE_URL")
            or self.data.archive.as_uri(),
        }
        self.settings = read_settings(self._servers.database_url)
        self._services = Services(self.settings, environment, self.data.logs, self.progress.say)
        with self.progress.step("Starting the four services"):
            self._services.start()
        self._write_pid_file()
        self.key = _key(self.data, environment, self.settings)
        if not self._sample:
            return None
        with connect_to(self.settings, self.key) as client:
            fresh = not self.data.sample_file.exists()
            _load_sample(client, self.data, self.progress)
            return _first_recommendation(client, self.progress, fresh=fresh)

    def watch(self) -> None:
        """Keeps everything running until SIGINT or SIGTERM."""
        while not self._stop.wait(0.5):
            for sentence in self._servers.mend():
                self.progress.say(sentence)
            if self._services is not None:
                self._services.mend()
            self._write_pid_file()

    def request_stop(self, *_: Any) -> None:
        """Ends `watch`; a signal handler."""
        self._stop.set()

    def stop(self) -> None:
        """Stops the services, then the servers: calls finish, nothing is left behind."""
        if self._services is not None:
            self._services.stop()
        self._servers.stop()
        self.data.pid_file.unlink(missing_ok=True)

    def _write_pid_file(self) -> None:
        """Where everything is, for `servemark doctor` and `servemark down`."""
        services = self._services.pids() if self._services else {}
        document = {
            "pid": os.getpid(),
            "database_url": self._servers.database_url,
            "redis_url": self._servers.redis_url,
            "services": services,
        }
        text = json.dumps(document)
        if not self.data.pid_file.exists() or self.data.pid_file.read_text() != text:
            write_private(self.data.pid_file, text)


def up(
    root: Path, *, sample: bool, present: Callable[[Stack, RecommendResponse | None], None]
) -> None:
    """Runs the stack until Ctrl-C. `present` shows the first recommendation and the addresses.

    Raises StackError or EmbeddedServerError where it cannot start; nothing is left running then.
    """
    stack = Stack(root, sample=sample)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        first = stack.start()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, stack.request_stop)
        present(stack, first)
        stack.watch()
        stack.progress.say("Stopping ...")
    except KeyboardInterrupt:
        stack.progress.say("Stopping ...")
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        stack.stop()


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def down(root: Path, seconds: float = 60.0) -> str:
    """Asks the running `up` of a data directory to stop, waits for it, and says what happened."""
    data = DataDir(root.resolve())
    try:
        pid = int(json.loads(data.pid_file.read_text())["pid"])
        os.kill(pid, signal.SIGTERM)
    except (FileNotFoundError, ProcessLookupError):
        return "Nothing is running here."
    deadline = time.monotonic() + seconds
    while data.pid_file.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    if data.pid_file.exists():
        raise StackError(f"Process {pid} has not stopped within {seconds:.0f} s.")
    return "Stopped."
