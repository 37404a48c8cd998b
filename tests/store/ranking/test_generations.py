"""Stored rankings follow the matrices in their order, whichever process is late with its own."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from uuid import UUID

from servemark.runtime.database import Database
from services.ranking.generations import Generations
from services.ranking.matrix import Matrix
from services.ranking.store_rankings import RankingStore
from tests.unit.ranking_matrix.builders import TTFT, config, matrix_of, use_case


def matrix(version: int, *ttfts: float) -> Matrix:
    rows = [config(number, ttft_p50_ms=ttft) for number, ttft in enumerate(ttfts, start=1)]
    return matrix_of(rows, use_cases=[use_case(weights=((TTFT, 1.0),))], version=version)


def generations_in(store: RankingStore) -> Generations:
    return Generations(store, ttl=timedelta(minutes=15), now=lambda: datetime.now(UTC))


async def test_a_late_ranking_of_a_matrix_between_two_equal_ones_is_not_stored(
    database: Database,
) -> None:
    store = RankingStore(database)
    generations = generations_in(store)
    first, between, again = matrix(1, 5.0, 9.0), matrix(2, 5.0, 4.0), matrix(3, 5.0, 9.0)
    [asked] = first.content.use_cases
    assert await generations.follow(first) == 1
    kept = await generations.make(first, asked)
    # The other process was quicker: a result came and went.
    assert await generations.follow(again) == 0
    assert await generations.follow(between) == 0
    current = await store.current(kept.use_case_id)
    assert current is not None
    assert (current.id, current.matrix_version, current.holds_version) == (kept.id, 1, 3)
    # In their order each is stored.
    assert await generations.follow(matrix(4, 5.0, 4.0)) == 1
    assert await generations.follow(matrix(5, 5.0, 9.0)) == 1


async def test_a_ranking_that_is_superseded_before_it_is_said_to_stay_is_made_again(
    database: Database,
) -> None:
    first, between, again = matrix(1, 5.0, 9.0), matrix(2, 5.0, 4.0), matrix(3, 5.0, 9.0)

    class Overtaken(RankingStore):
        async def hold(self, ids: Collection[UUID], version: int) -> set[UUID]:
            await generations_in(RankingStore(database)).follow(between)
            return await super().hold(ids, version)

    store = Overtaken(database)
    assert await generations_in(store).follow(first) == 1
    assert await generations_in(store).follow(again) == 1
    [asked] = again.content.use_cases
    current = await store.current(UUID(asked.id))
    assert current is not None
    assert current.matrix_version == 3
