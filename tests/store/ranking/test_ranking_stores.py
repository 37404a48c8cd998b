"""The ranking's stores on a real database: what is kept, in which order, and for how long."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from servemark.runtime.database import Database
from servemark.runtime.ids import uuid7
from services.ranking import content
from services.ranking.matrix import NO_USE_CASE, Reference
from services.ranking.store_matrix import MatrixStore, Version
from services.ranking.store_rankings import Generation, RankingStore, StoredRank
from tests.support import servers
from tests.unit.ranking_matrix.builders import MADE_AT_US, TTFT, config, price, use_case

USE_CASE = UUID(int=3000)
KEY: tuple[str, int] = (NO_USE_CASE, TTFT)
NOW = datetime(2026, 6, 1, tzinfo=UTC)


def generation(version: int = 1, use_case_id: UUID = USE_CASE) -> Generation:
    return Generation(
        id=uuid7(),
        use_case_id=use_case_id,
        use_case_category="chatbot",
        matrix_version=version,
        ranked_count=2,
        content_digest=b"digest",
        payload=b"head",
        calculated_at=NOW,
        expires_at=NOW + timedelta(minutes=15),
        holds_version=version,
    )


def ranks(*payloads: bytes) -> list[StoredRank]:
    return [
        StoredRank(UUID(int=1), UUID(int=place), 1.0 / place, place, '{"a": 1}', payload)
        for place, payload in enumerate(payloads, start=1)
    ]


def version(number: int = 1) -> Version:
    return Version(number, b"digest %d" % number, 1, MADE_AT_US - 1, MADE_AT_US)


def reference(high: float, made_in: int) -> Reference:
    return Reference(1.0, high, 3, "the test", made_in)


async def test_a_generation_is_read_as_it_was_stored_page_by_page(database: Database) -> None:
    store = RankingStore(database)
    stored = generation()
    assert await store.supersede(stored, ranks(b"one", b"two")) == stored
    assert await store.current(USE_CASE) == stored
    first = await store.page(stored.id, USE_CASE, 0, 1)
    assert first is not None
    assert (first.generation, first.payloads, first.last) == (stored, (b"one",), 1)
    second = await store.page(stored.id, USE_CASE, first.last, 5)
    assert second is not None
    assert second.payloads == (b"two",)
    beyond = await store.page(stored.id, USE_CASE, 2, 5)
    assert beyond is not None
    assert (beyond.payloads, beyond.last) == ((), 2)
    assert await store.page(stored.id, UUID(int=9), 0, 5) is None
    assert await store.page(uuid7(), USE_CASE, 0, 5) is None


async def test_a_ranking_of_an_older_matrix_never_follows_one_of_a_newer(
    database: Database,
) -> None:
    store = RankingStore(database)
    newer = await store.supersede(generation(5), ranks(b"new"))
    assert await store.supersede(generation(4), ranks(b"old")) == newer
    assert await store.current(USE_CASE) == newer
    same = generation(5)
    assert await store.supersede(same, ranks(b"again")) == same


async def test_one_that_holds_for_a_newer_matrix_is_not_superseded_by_an_older_ones(
    database: Database,
) -> None:
    store = RankingStore(database)
    first = await store.supersede(generation(5), ranks(b"same"))
    assert await store.hold([first.id], 7) == {first.id}
    held = replace(first, holds_version=7)
    # Another process was late with what it has made of the matrix between.
    assert await store.supersede(generation(6), ranks(b"late")) == held
    # Nor is one late that has seen less.
    assert await store.hold([first.id], 6) == {first.id}
    assert await store.current(USE_CASE) == held
    await store.supersede(generation(8), ranks(b"next"))
    assert not await store.hold([first.id], 9)


async def test_who_says_that_one_holds_waits_for_who_supersedes_it(database: Database) -> None:
    store = RankingStore(database)
    current = await store.supersede(generation(1), ranks(b"first"))
    for number in range(2, 40, 2):
        # The next is made of an older matrix than the one that this one is said to hold for.
        late = generation(number)
        held, newest = await asyncio.gather(
            store.hold([current.id], number + 1), store.supersede(late, ranks(b"late"))
        )
        # Either it was said first, and the late one is not stored; or who says it is told.
        assert bool(held) == (newest.id == current.id)
        current = newest


async def test_use_cases_supersede_only_their_own(database: Database) -> None:
    store = RankingStore(database)
    mine, other = generation(), generation(use_case_id=UUID(int=7))
    await store.supersede(mine, ranks(b"mine"))
    await store.supersede(other, ranks(b"other"))
    assert await store.current(USE_CASE) == mine
    assert await store.current(UUID(int=7)) == other
    asked = [USE_CASE, UUID(int=7), UUID(int=8)]
    assert await store.currents(asked) == {USE_CASE: mine, UUID(int=7): other}


async def test_superseded_ones_go_after_a_while(database: Database, migrated_database: str) -> None:
    store = RankingStore(database)
    old = generation()
    await store.supersede(old, ranks(b"old"))
    await store.supersede(generation(), ranks(b"new"))
    assert await store.page(old.id, USE_CASE, 0, 5) is not None
    servers.execute(
        migrated_database,
        "UPDATE ranking.ranking_generations SET superseded_at = now() - interval '6 minutes'"
        " WHERE superseded_at IS NOT NULL",
    )
    await store.supersede(generation(), ranks(b"newer"))
    assert await store.page(old.id, USE_CASE, 0, 5) is None


async def test_the_matrix_comes_back_with_its_facts_and_bounds(database: Database) -> None:
    store = MatrixStore(database)
    assert await store.load() is None
    assert await store.newest_version() is None
    facts = content.content_of(
        [config(1, ttft_p50_ms=(0.1, 0.2)), config(2)], [price(2.0)], [use_case()], MADE_AT_US
    )
    bounds = {KEY: reference(5.0, 1)}
    assert await store.publish(None, version(), content.entries(facts), bounds)
    found = await store.load()
    assert found is not None
    assert found.version == version()
    assert found.references == bounds
    assert content.content_from(found.facts, facts.price_boundary_us) == facts


async def test_only_the_successor_of_the_newest_version_is_stored(database: Database) -> None:
    store = MatrixStore(database)
    assert not await store.publish(7, version(8), [], {})
    assert await store.publish(None, version(1), [], {})
    assert not await store.publish(None, version(1), [], {})
    assert await store.publish(1, version(2), [], {})
    assert await store.newest_version() == version(2)


async def test_facts_that_are_gone_go_and_bounds_that_were_not_made_now_stay(
    database: Database,
) -> None:
    store = MatrixStore(database)
    facts = content.content_of([config(1), config(2)], [price(2.0)], [use_case()], MADE_AT_US)
    first = {KEY: reference(5.0, 1)}
    await store.publish(None, version(1), content.entries(facts), first)
    left = content.content_of([config(2)], [], [], MADE_AT_US)
    wider = {KEY: reference(9.0, 2)}
    await store.publish(1, version(2), content.entries(left), wider)
    found = await store.load()
    assert found is not None
    assert content.content_from(found.facts, None) == replace(left, price_boundary_us=None)
    assert found.references == wider
    # What the caller holds of an earlier version is not written again.
    stale = {KEY: reference(99.0, 1)}
    await store.publish(2, version(3), content.entries(left), stale)
    kept = await store.load()
    assert kept is not None
    assert kept.references == wider
