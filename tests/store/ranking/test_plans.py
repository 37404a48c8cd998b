"""The planner finds the indexes of stored rankings, among many generations that are superseded."""

from collections.abc import AsyncIterator, Callable
from functools import partial
from uuid import UUID

import asyncpg
import pytest

from servemark.runtime.database import Database
from services.ranking.store_rankings import RankingStore
from tests.support import servers
from tests.support.plans import plans_of

# 30 use cases of 3 categories, 20 generations each, one of them current, 50 places in each.
FILL = (
    """
    INSERT INTO ranking.ranking_generations (
        id, use_case_id, use_case_category, matrix_version, ranked_count, content_digest, payload,
        calculated_at, expires_at, superseded_at
    )
    SELECT md5('generation ' || u || ' ' || g)::uuid, md5('use case ' || u)::uuid,
        'category-' || u % 3, g, 50, '', '', now(), now() + interval '15 minutes',
        CASE WHEN g < 20 THEN now() END
    FROM generate_series(1, 30) AS u, generate_series(1, 20) AS g
    """,
    """
    INSERT INTO ranking.model_rankings (
        id, generation_id, ordinal, model_id, config_id, use_case_category, composite_score,
        rank_position, score_breakdown, payload, calculated_at, expires_at, superseded_at
    )
    SELECT gen_random_uuid(), id, place, gen_random_uuid(), gen_random_uuid(), use_case_category,
        1.0 / place, place, '{}', '', calculated_at, expires_at, superseded_at
    FROM ranking.ranking_generations, generate_series(1, 50) AS place
    """,
    "VACUUM ANALYZE",
)
USE_CASE = "md5('use case 7')::uuid"


@pytest.fixture(scope="module")
def filled(new_database: Callable[..., str], migrated_template: str) -> str:
    """The DSN of a database with stored rankings, analyzed."""
    dsn = new_database(migrated_template)
    servers.execute(dsn, *FILL)
    return dsn


@pytest.fixture
async def database(filled: str) -> AsyncIterator[Database]:
    """The service's own connections."""
    pool = Database(filled, "ranking")
    yield pool
    await pool.close()


async def test_a_use_cases_ranking_is_read_by_its_generation(
    database: Database, filled: str
) -> None:
    use_case: UUID = servers.fetch_value(filled, f"SELECT {USE_CASE}")
    store = RankingStore(database)
    current = await store.current(use_case)
    assert current is not None
    (plan,) = await plans_of(database, filled, partial(store.page, current.id, use_case, 10, 20))
    assert "uq_model_rankings_generation_id_ordinal" in plan.indexes


@pytest.mark.parametrize(
    ("index", "question"),
    [
        (
            "idx_active_rankings",
            "SELECT model_id, config_id, composite_score FROM ranking.model_rankings "
            "WHERE use_case_category = 'category-1' AND superseded_at IS NULL "
            "AND rank_position <= 3 AND expires_at > now() ORDER BY rank_position",
        ),
        (
            "idx_model_rankings_use_case",
            "SELECT model_id, composite_score, calculated_at FROM ranking.model_rankings "
            "WHERE use_case_category = 'category-1' "
            "ORDER BY composite_score DESC, calculated_at DESC LIMIT 20",
        ),
    ],
)
async def test_a_whole_category_is_asked_through_the_requirements_indexes(
    filled: str, index: str, question: str
) -> None:
    """The questions that the indexes' comment names: the service itself asks by generation."""
    connection = await asyncpg.connect(filled)
    try:
        plan = await connection.fetch(f"EXPLAIN {question}")
    finally:
        await connection.close()
    assert any(index in line[0] for line in plan)
