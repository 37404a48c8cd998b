"""Redis killed, emptied and frozen under clients that write: they notice nothing."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import pytest

from servemark.embedded import EmbeddedValkey
from servemark.ranking.v1.recommend_pb2 import RecommendRequest
from servemark.runtime.ending import end_tasks
from servemark.type.v1.metric_pb2 import Metric
from tests.faults.conftest import Report
from tests.faults.run import SECONDS
from tests.rpc.ranking.world import World, run, weights_of, world
from tests.support import servers

FROZEN_SECONDS: Final = 10.0 if SECONDS >= 45 else 3.0
CONVERGED_SECONDS: Final = 60.0
# A batch is acknowledged after a commit: on a busy machine some tens of milliseconds.
_WRITE_SECONDS: Final = 1.0
# A relay gives up on Redis after 0.25 s, and then ends its transaction.
_OPEN_SECONDS: Final = 1.0
_NEVER: Final = 3000.0
_OPEN: Final = """
    SELECT coalesce(max(extract(epoch FROM clock_timestamp() - state_change)), 0)::float
    FROM pg_stat_activity
    WHERE application_name IN ('servemark-ingest', 'servemark-catalog')
        AND datname = current_database() AND state = 'idle in transaction'
"""
# Every event of the outboxes has been taken in.
_MISSED: Final = """
    SELECT count(*)
    FROM (SELECT id FROM ingest.outbox UNION ALL SELECT id FROM catalog.outbox) AS event
    WHERE NOT EXISTS (SELECT FROM ranking.processed_events WHERE event_id = event.id)
"""


@dataclass
class Writing:
    """A client that stores one run after the other, and how long each took."""

    made: World
    seconds: list[float] = field(default_factory=list)
    open_seconds: float = 0.0

    async def go_on(self) -> None:
        """Writes until cancelled, each time a configuration that was not there before."""
        while True:
            began = time.perf_counter()
            concurrency = len(self.seconds) + 1
            await self.made.store(run(ttft_p50_ms=10_000.0 - concurrency, concurrency=concurrency))
            self.seconds.append(time.perf_counter() - began)
            found = await asyncio.to_thread(servers.fetch_value, self.made.dsn, _OPEN)
            self.open_seconds = max(self.open_seconds, found)


@asynccontextmanager
async def _writing(made: World) -> AsyncIterator[Writing]:
    writer = Writing(made)
    task = asyncio.create_task(writer.go_on())
    try:
        await _until(lambda: _is(len(writer.seconds) >= 5), 20)
        yield writer
    finally:
        await end_tasks([task])


async def _is(fact: bool) -> bool:
    return fact


async def _until(fact: Callable[[], Awaitable[bool]], seconds: float) -> float:
    began = time.perf_counter()
    while not await fact():
        assert time.perf_counter() - began < seconds, f"not within {seconds} s"
        await asyncio.sleep(0.05)
    return time.perf_counter() - began


async def _kill(valkey: EmbeddedValkey) -> None:
    """Killed, away for a second, and started with nothing in it."""
    assert valkey.pid is not None
    os.kill(valkey.pid, signal.SIGKILL)
    await asyncio.to_thread(valkey.stop)
    await asyncio.sleep(1)
    await asyncio.to_thread(valkey.start)
    await _flush(valkey)


async def _flush(valkey: EmbeddedValkey) -> None:
    await asyncio.to_thread(servers.flush, valkey.url())


async def _freeze(valkey: EmbeddedValkey) -> None:
    assert valkey.pid is not None
    os.kill(valkey.pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(FROZEN_SECONDS)
    finally:
        os.kill(valkey.pid, signal.SIGCONT)


@pytest.mark.faults
@pytest.mark.parametrize(
    ("name", "fault"), [("killed", _kill), ("flushed", _flush), ("frozen", _freeze)]
)
async def test_writes_go_on_and_every_event_is_taken_in(
    name: str, fault: Any, migrated_database: str, report: Report
) -> None:
    with servers.temporary_folder() as folder:
        valkey = EmbeddedValkey(folder / "valkey")
        valkey.start()
        try:
            settings = {
                "ranking_reconcile_seconds": _NEVER,
                "ranking_reconcile_without_events_seconds": _NEVER,
            }
            async with world(migrated_database, valkey.url(), follow=True, **settings) as made:
                async with _writing(made) as writer:
                    before = len(writer.seconds)
                    await fault(valkey)
                    during = writer.seconds[before:]
                    await _until(lambda: _is(len(writer.seconds) >= before + 10), 20)

                async def all_taken() -> bool:
                    return not await asyncio.to_thread(servers.fetch_value, made.dsn, _MISSED)

                converged = await _until(all_taken, CONVERGED_SECONDS)
                best = 10_000.0 - len(writer.seconds)

                async def shown() -> bool:
                    return await _best(made) <= best + 1

                shown_after = await _until(shown, CONVERGED_SECONDS)
        finally:
            valkey.stop()
    slowest = max(writer.seconds)
    report(
        [
            f"F6, Redis {name}: {len(during)} writes meanwhile, the slowest {slowest:.2f} s; "
            f"a relay's transaction idle for {writer.open_seconds:.2f} s at most",
            f"  every event taken in {converged:.1f} s after, shown {shown_after:.1f} s later",
        ]
    )
    assert during or name == "flushed"
    assert slowest < _WRITE_SECONDS
    assert writer.open_seconds < _OPEN_SECONDS


async def _best(made: World) -> float:
    """The TTFT of the best that a recommendation has."""
    request = RecommendRequest(weights=weights_of({Metric.METRIC_TTFT_P50_MS: 1}), max_results=1)
    answer = await made.ranking.Recommend(request)
    return answer.recommendations[0].breakdown[0].value if answer.recommendations else 1e9
