"""What one ranking process has noted reaches the others, even if it dies or fails before it reads.

Here nobody reads everything now and then, so that nothing else can bring it.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import Any

from servemark.ranking.v1.recommend_pb2 import RecommendRequest
from servemark.type.v1.metric_pb2 import Metric
from tests.rpc.ranking.serving import NOWHERE, ranking
from tests.rpc.ranking.test_follow import NEVER, until
from tests.rpc.ranking.world import World, run, weights_of, world
from tests.support import servers
from tests.support.service_process import service_process
from tests.support.stack import free_block

ALONE: dict[str, Any] = {
    "background": True,
    "ranking_reconcile_seconds": NEVER,
    "ranking_reconcile_without_events_seconds": NEVER,
}
_NOTED = "SELECT count(*) FROM ranking.noted_changes"
_UNHEARD = """
    SELECT count(*)
    FROM (SELECT id FROM ingest.outbox UNION ALL SELECT id FROM catalog.outbox) AS event
    WHERE NOT EXISTS (SELECT FROM ranking.processed_events WHERE event_id = event.id)
"""


def shows(stub: Any, milliseconds: float) -> Callable[[], Awaitable[bool]]:
    """Whether that is the best TTFT."""

    async def fact() -> bool:
        request = RecommendRequest(weights=weights_of({Metric.METRIC_TTFT_P50_MS: 1}))
        places = (await stub.Recommend(request)).recommendations
        return bool(places) and places[0].breakdown[0].value == milliseconds

    return fact


def counts(made: World, query: str, number: int) -> Callable[[], Awaitable[bool]]:
    """Whether the query counts so many."""

    async def fact() -> bool:
        return bool(await asyncio.to_thread(servers.fetch_value, made.dsn, query) == number)

    return fact


async def test_a_process_that_is_killed_leaves_what_it_has_noted_to_the_others(
    migrated_database: str, valkey: str
) -> None:
    async with world(migrated_database, valkey) as made:
        await made.store(run(ttft_p50_ms=30.0))
        async with ranking(migrated_database, **made.addresses, **ALONE) as other:
            await until(shows(other, 30.0), 10.0)
            # Hears of everything, and has no time to read it.
            hearing = {
                "SERVEMARK_DATABASE_URL": migrated_database,
                "SERVEMARK_REDIS_URL": valkey,
                "SERVEMARK_CATALOG_TARGET": made.addresses["catalog"],
                "SERVEMARK_INGEST_TARGET": made.addresses["ingest"],
                "SERVEMARK_RANKING_DEBOUNCE_SECONDS": "60",
            }
            with service_process("ranking", free_block(), hearing) as process:
                await until(counts(made, _UNHEARD, 0), 10.0)
                servers.execute(migrated_database, "DELETE FROM ranking.noted_changes")
                await made.store(run(concurrency=2, ttft_p50_ms=20.0))
                await until(counts(made, _NOTED, 1), 10.0)
                process.send_signal(signal.SIGKILL)
            assert not await shows(other, 20.0)()
            await until(shows(other, 20.0), 10.0)
            await until(counts(made, _NOTED, 0), 5.0)


async def test_what_could_not_be_read_stays_noted(migrated_database: str, valkey: str) -> None:
    async with world(migrated_database, valkey) as made:
        blind = {**made.addresses, "ingest": NOWHERE}
        async with ranking(migrated_database, **blind, **ALONE, redis_url=valkey):
            await made.store(run(ttft_p50_ms=30.0))
            await until(counts(made, _UNHEARD, 0), 10.0)
            await asyncio.sleep(1.5)
            assert not await counts(made, _NOTED, 0)()
        # Nobody waits here until it is taken for dead.
        servers.execute(made.dsn, "UPDATE ranking.noted_changes SET taken_at = NULL")
        async with ranking(migrated_database, **made.addresses, **ALONE) as sighted:
            await until(shows(sighted, 30.0), 10.0)
            await until(counts(made, _NOTED, 0), 5.0)
