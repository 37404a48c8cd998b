"""Rankings follow what happens elsewhere: within seconds by events, a little later without."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import text

from servemark.catalog.v1 import use_case_pb2
from servemark.embedded import EmbeddedValkey
from servemark.ranking.v1.ranking_pb2 import GetRankingsRequest, RefreshRankingsRequest
from servemark.ranking.v1.recommend_pb2 import RecommendRequest
from servemark.runtime.database import Database
from servemark.type.v1.metric_pb2 import Metric
from services.ingest.events import day_changed
from services.ranking.store_changes import ChangeStore
from services.ranking.store_matrix import MatrixStore
from tests.rpc.ranking.serving import ranking
from tests.rpc.ranking.world import H100, World, run, weights_of, world
from tests.support import servers

TTFT = Metric.METRIC_TTFT_P50_MS
NEVER = 3000.0


async def _never(_: ChangeStore) -> bool:
    return False


async def until(fact: Callable[[], Awaitable[bool]], seconds: float) -> float:
    """Waits for a fact and returns how long it took. Fails if it does not come in time."""
    started = time.monotonic()
    while not await fact():
        if time.monotonic() - started > seconds:
            raise AssertionError(f"not within {seconds} s")
        await asyncio.sleep(0.05)
    return time.monotonic() - started


async def best(made: World) -> tuple[float, float]:
    """The TTFT and the price of the best by TTFT; zeros where there is none."""
    answer = await made.ranking.Recommend(RecommendRequest(weights=weights_of({TTFT: 1})))
    if not answer.recommendations:
        return 0.0, 0.0
    first = answer.recommendations[0]
    return first.breakdown[0].value, first.alternative.price.usd_per_hour


async def stored(made: World) -> list[float]:
    """The TTFT of the places of the stored ranking."""
    answer = await made.ranking.GetRankings(GetRankingsRequest(use_case="chatbot"))
    return [place.breakdown[0].value for place in answer.recommendations]


def by_events(**settings: Any) -> dict[str, Any]:
    """Settings under which only events make the ranking look, within a test's time."""
    return {
        "follow": True,
        "ranking_reconcile_seconds": NEVER,
        "ranking_reconcile_without_events_seconds": NEVER,
        **settings,
    }


async def test_events_bring_results_prices_and_use_cases_within_seconds(
    migrated_database: str, valkey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Who hears of an event follows it; nobody has to find out that it was left.
    monkeypatch.setattr(ChangeStore, "are_left", _never)
    async with world(migrated_database, valkey, **by_events()) as made:
        await made.add_use_case("chatbot", weights={TTFT: 1.0})

        async def first() -> bool:
            return await best(made) == (30.0, 4.0) and await stored(made) == [30.0]

        async def better() -> bool:
            return (await best(made))[0] == 12.0 and await stored(made) == [12.0, 30.0]

        async def cheaper() -> bool:
            return await best(made) == (12.0, 3.0)

        async def no_longer_known() -> bool:
            answer = await made.ranking.GetRankings(GetRankingsRequest(use_case="chatbot"))
            return [w.metric for w in answer.generation.weights] == [TTFT] and bool(
                answer.generation.limits
            )

        await made.store(run(ttft_p50_ms=30.0))
        await until(first, 5.0)
        await made.store(run(concurrency=1, ttft_p50_ms=12.0))
        await until(better, 5.0)
        await made.set_price(H100, 3.0, at=time.time() - 5)
        await until(cheaper, 5.0)

        changed = await made.catalog.GetUseCase(
            use_case_pb2.GetUseCaseRequest(id=made.ids["chatbot"])
        )
        changed.use_case.characteristics.default_limits.add(metric=TTFT, limit=20.0)
        await made.catalog.UpdateUseCase(
            use_case_pb2.UpdateUseCaseRequest(use_case=changed.use_case)
        )
        await until(no_longer_known, 5.0)
        assert await stored(made) == [12.0]


async def test_what_left_for_the_archive_leaves_the_ranking(
    migrated_database: str, valkey: str
) -> None:
    async with world(migrated_database, valkey, **by_events()) as made:
        await made.store(run(ttft_p50_ms=30.0))

        async def there() -> bool:
            return (await best(made))[0] == 30.0

        async def gone() -> bool:
            return (await best(made))[0] == 0.0

        await until(there, 5.0)
        # The event of the result itself would have it looked at, too.
        await asyncio.sleep(1.5)
        # As the maintenance does it.
        database = Database(made.dsn, "ingest")
        async with database.transaction() as connection:
            day = await connection.scalar(text("SELECT min(benchmark_date) FROM benchmark_results"))
            # First the marks, which look for the day's models among its results.
            await connection.execute(text("SELECT ingest.mark_day(:day)"), {"day": day})
            await connection.execute(text("DELETE FROM benchmark_results"))
            await day_changed(connection, day)
        await database.close()
        await until(gone, 5.0)


async def test_without_redis_the_ranking_looks_for_itself(migrated_database: str) -> None:
    settings = {**by_events(), "ranking_reconcile_without_events_seconds": 0.5}
    async with world(migrated_database, **settings) as made:
        await made.add_use_case("chatbot", weights={TTFT: 1.0})
        for value in (30.0, 12.0):
            await made.store(run(ttft_p50_ms=value, concurrency=int(value)))

            async def seen(value: float = value) -> bool:
                return (await best(made))[0] == value and value in await stored(made)

            await until(seen, 5.0)


async def test_a_redis_that_dies_only_delays(
    migrated_database: str,
) -> None:
    with servers.temporary_folder() as folder:
        valkey = EmbeddedValkey(folder / "valkey")
        valkey.start()
        try:
            settings = {**by_events(), "ranking_reconcile_without_events_seconds": 1.0}
            async with world(migrated_database, valkey.url(), **settings) as made:

                async def seen(value: float, seconds: float) -> float:
                    await made.store(run(ttft_p50_ms=value, concurrency=int(value)))

                    async def there() -> bool:
                        return (await best(made))[0] == value

                    return await until(there, seconds)

                await seen(30.0, 5.0)
                await asyncio.to_thread(valkey.stop)
                await seen(20.0, 10.0)
        finally:
            valkey.stop()


async def test_a_ranking_that_did_not_change_keeps_its_generation(
    migrated_database: str, valkey: str
) -> None:
    async with world(migrated_database, valkey, **by_events()) as made:
        await made.add_use_case("chatbot", weights={TTFT: 1.0}, input_tokens=(1, 1000))
        await made.add_use_case("long", weights={TTFT: 1.0}, input_tokens=(1001, 0))
        await made.store(run(ttft_p50_ms=30.0))

        async def generation(use_case: str) -> Any:
            answer = await made.ranking.GetRankings(GetRankingsRequest(use_case=use_case))
            return answer.generation

        async def there() -> bool:
            return (
                (await best(made))[0] == 30.0
                and bool(await stored(made))
                and int((await generation("long")).ranked_count) == 0
            )

        await until(there, 5.0)
        before = await generation("chatbot")
        await made.store(run(ttft_p50_ms=99.0, input_tokens=4096))

        async def long_has_one() -> bool:
            return int((await generation("long")).ranked_count) == 1

        await until(long_has_one, 5.0)
        assert await generation("chatbot") == before


async def test_another_process_takes_over_what_one_has_stored(migrated_database: str) -> None:
    async with (
        world(migrated_database) as made,
        ranking(
            migrated_database,
            **made.addresses,
            background=True,
            ranking_reconcile_seconds=NEVER,
            ranking_reconcile_without_events_seconds=NEVER,
        ) as other,
    ):
        request = RecommendRequest(weights=weights_of({TTFT: 1}))
        await asyncio.sleep(1.0)  # its own first reading is over
        await made.store(run(ttft_p50_ms=30.0))
        await made.ranking.RefreshRankings(RefreshRankingsRequest())

        async def there() -> bool:
            return bool((await other.Recommend(request)).recommendations)

        await until(there, 5.0)


async def test_what_comes_while_another_process_has_its_turn_is_read_in_one(
    migrated_database: str, valkey: str
) -> None:
    async with world(migrated_database, valkey, **by_events()) as made:
        await made.store(run(ttft_p50_ms=30.0))

        async def shows(milliseconds: float) -> bool:
            return (await best(made))[0] == milliseconds

        await until(lambda: shows(30.0), 5.0)
        database = Database(migrated_database, "ranking")
        store = MatrixStore(database)
        try:
            async with store.turn():
                for concurrency, better in ((1, 20.0), (2, 10.0)):
                    await made.store(run(concurrency=concurrency, ttft_p50_ms=better))
                    await asyncio.sleep(1.0)
                assert await shows(30.0)
                before = await store.newest_version()
            await until(lambda: shows(10.0), 5.0)
            after = await store.newest_version()
        finally:
            await database.close()
        assert before is not None
        assert after is not None
        assert after.number == before.number + 1
