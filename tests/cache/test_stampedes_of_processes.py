"""Five hundred readers of an expired key, in four processes of the operating system."""

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

import pytest

from servemark.embedded import EmbeddedValkey
from tests.cache.reader import LIFETIME_SECONDS, TABLE
from tests.support import servers

PROCESSES: Final = 4
READERS: Final = 500
ROUNDS: Final = 3
_COUNT: Final = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM catalog.readings"


@dataclass(frozen=True)
class Readers:
    """The processes, and how often they have asked the database."""

    dsn: str
    processes: list[subprocess.Popen[str]]

    def rush(self, readers: int) -> tuple[int, Counter[str]]:
        """All read at one moment: the readings in Postgres, and what came from which level."""
        before = servers.fetch_value(self.dsn, _COUNT)
        at = time.time() + 0.2
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.write(f"{readers // PROCESSES} {at}\n")
            process.stdin.flush()
        found: Counter[str] = Counter()
        for process in self.processes:
            assert process.stdout is not None
            found.update(json.loads(process.stdout.readline()))
        return servers.fetch_value(self.dsn, _COUNT) - before, found


@contextmanager
def reading(dsn: str, redis_url: str) -> Iterator[Readers]:
    """Four processes that hear of what changes."""
    servers.execute(dsn, *TABLE)
    command = [sys.executable, "-m", "tests.cache.reader", dsn, redis_url]
    with ExitStack() as stack:
        made = []
        for _ in range(PROCESSES):
            process = stack.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            stack.callback(process.kill)
            made.append(process)
        for process in made:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        yield Readers(dsn, made)


@pytest.fixture
def readers(migrated_database: str, valkey: str) -> Iterator[Readers]:
    """Four processes with a Redis."""
    with reading(migrated_database, valkey) as made:
        yield made


def test_an_expired_key_is_read_at_most_once_by_each_and_not_by_all(readers: Readers) -> None:
    counts = []
    for _ in range(ROUNDS):
        readers.rush(PROCESSES)
        # The reply is gone, from memory and from Redis.
        time.sleep(LIFETIME_SECONDS * 1.2)
        count, found = readers.rush(READERS)
        assert sum(found.values()) == READERS
        assert 1 <= count <= PROCESSES, found
        counts.append(count)
    # One that is slow to hear from Redis may read itself, but they do share.
    assert sum(counts) < ROUNDS * PROCESSES, counts


def test_without_redis_each_process_reads_once(migrated_database: str) -> None:
    with servers.temporary_folder() as folder:
        valkey = EmbeddedValkey(folder / "valkey")
        valkey.start()
        try:
            with reading(migrated_database, valkey.url()) as readers:
                readers.rush(PROCESSES)
                valkey.stop()
                time.sleep(LIFETIME_SECONDS * 1.2)
                count, found = readers.rush(READERS)
        finally:
            valkey.stop()
    assert sum(found.values()) == READERS
    assert count == PROCESSES, found
