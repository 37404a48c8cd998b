"""A day of any size goes and comes back in the memory of a small one."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import grpc
import psutil
import pytest

from servemark.ingest.v1.storage_service_pb2_grpc import StorageServiceStub
from tests.rpc.ingest.archiving import (
    OLD_DAY,
    RETENTION_DAYS,
    Archiving,
    count_of,
    files,
    gone,
    put_many,
)
from tests.rpc.ingest.process import ingest_process
from tests.rpc.ingest.serving import Served

pytestmark = pytest.mark.every_profile

WARM_ROWS = 20_000
ROWS = 100_000
# About what a row has as CSV. A day that was held whole took nine times that of its rows.
ROW_BYTES = 500
MOST_GROWTH = 80 * 1024 * 1024


class _Peak:
    """The most memory a process has been seen to use."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self.before = self.most = self._process.memory_info().rss

    def look(self) -> None:
        """Looks now."""
        self.most = max(self.most, self._process.memory_info().rss)

    @property
    def growth(self) -> int:
        """Bytes more than at the beginning."""
        return self.most - self.before


@contextmanager
def _watched(pid: int) -> Iterator[_Peak]:
    peak, ended = _Peak(pid), threading.Event()

    def watch() -> None:
        while not ended.wait(0.005):
            peak.look()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        ended.set()
        watcher.join()


@pytest.mark.faults
async def test_memory_does_not_grow_with_the_day(ingest_dsn: str, tmp_path: Path) -> None:
    url = (tmp_path / "archive").as_uri()
    settings = {"ARCHIVE_URL": url, "RETENTION_DAYS": RETENTION_DAYS}
    small = OLD_DAY + timedelta(days=1)
    with ingest_process(ingest_dsn, 1, **settings) as service:
        async with grpc.aio.insecure_channel(service.target) as channel:
            stub = StorageServiceStub(channel)
            archive = Archiving(stub, Served(None, None, None, ingest_dsn, 0), url)  # type: ignore[arg-type]
            await put_many(ingest_dsn, small, WARM_ROWS)
            # What the first day needs once, libraries and a few pieces, is not the day's.
            await archive.maintain()
            await archive.restore(small)
            await put_many(ingest_dsn, OLD_DAY, ROWS)
            with _watched(service.started.pid) as going:
                assert (await archive.maintain())[:3] == gone(OLD_DAY, ROWS)
            with _watched(service.started.pid) as coming:
                assert (await archive.restore(OLD_DAY)).restored_count == ROWS
    print(f"\ngrowth: {going.growth / 1e6:.0f} MB going, {coming.growth / 1e6:.0f} MB coming")
    assert going.growth < MOST_GROWTH
    assert coming.growth < MOST_GROWTH
    assert count_of(ingest_dsn, OLD_DAY) == ROWS
    assert files(url)[0].stat().st_size < 0.4 * ROWS * ROW_BYTES
