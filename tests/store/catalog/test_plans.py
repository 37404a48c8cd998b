"""The planner finds the catalog's indexes: EXPLAIN of what the store sends, among many rows."""

from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from servemark.runtime.database import Database
from services.catalog.store import CatalogStore, ListQuery
from services.catalog.store_collections import (
    HARDWARE_CONFIGS,
    MODEL_USE_CASES,
    MODEL_VERSIONS,
    Collection,
)
from tests.support import servers
from tests.support.plans import plans_of

MODEL = UUID("0b5d3c2a-0000-7000-8000-000000000007")
FILL = (
    """
    INSERT INTO catalog.models (id, name, architecture, parameters)
    SELECT ('0b5d3c2a-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, 'acme/m' || n, 'llama',
        1000000000::bigint * (1 + n % 200)
    FROM generate_series(0, 299) AS n
    """,
    """
    INSERT INTO catalog.model_versions (
        id, model_id, version, quantization, quantization_bits, format
    )
    SELECT gen_random_uuid(), id, 'v' || n, 'q' || n, 4 * (1 + n % 4), 'safetensors'
    FROM catalog.models, generate_series(1, 20) AS n
    """,
    """
    INSERT INTO catalog.hardware_configs (
        id, name, gpu_type, gpu_count, vram_per_gpu_gb, cloud_provider, instance_type
    )
    SELECT gen_random_uuid(), 'acme/h' || n, 'H100', 1 + n % 16, 8 + n % 300, 'acme', 'h' || n
    FROM generate_series(1, 4000) AS n
    """,
    """
    INSERT INTO catalog.use_case_taxonomy (id, category, subcategory, pipeline_tag)
    SELECT gen_random_uuid(), 'text', 'case-' || n, 'text-generation'
    FROM generate_series(1, 100) AS n
    """,
    """
    INSERT INTO catalog.model_use_cases (
        id, model_id, use_case_id, suitability_score, recommended
    )
    SELECT gen_random_uuid(), m.id, u.id, random(), random() < 0.02
    FROM catalog.models AS m, catalog.use_case_taxonomy AS u
    """,
    "VACUUM ANALYZE",
)


@pytest.fixture(scope="module")
def filled(new_database: Callable[..., str], catalog_template: str) -> str:
    """The DSN of a catalog with some thousand entries, analyzed."""
    dsn = new_database(catalog_template)
    servers.execute(dsn, *FILL)
    return dsn


@pytest.fixture
async def database(filled: str) -> AsyncIterator[Database]:
    """The service's own connections."""
    pool = Database(filled, "catalog")
    yield pool
    await pool.close()


async def indexes(
    database: Database,
    dsn: str,
    collection: Collection[Any],
    order: str,
    filters: dict[str, Any],
    *,
    descending: bool = False,
) -> frozenset[str]:
    """The indexes that the first page of a list goes through."""
    query = ListQuery(
        filters=filters,
        order=order,
        descending=descending,
        include_archived=False,
        after=None,
        size=20,
    )
    (plan,) = await plans_of(
        database, dsn, partial(CatalogStore(database).list_page, collection, query)
    )
    return plan.indexes


async def test_versions_that_fit_into_a_memory_come_in_its_order(
    database: Database, filled: str
) -> None:
    index = "idx_model_versions_vram_quantization"
    for filters in ({"max_vram_gb": 80.0}, {}):
        assert index in await indexes(database, filled, MODEL_VERSIONS, "vram", filters)
    narrow = {"min_vram_gb": 200.0, "max_vram_gb": 201.0}
    assert index in await indexes(database, filled, MODEL_VERSIONS, "name", narrow)


async def test_hardware_with_enough_memory_comes_in_its_order(
    database: Database, filled: str
) -> None:
    index = "idx_hardware_configs_vram_cost"
    enough = {"min_total_vram_gb": 640}
    assert index in await indexes(database, filled, HARDWARE_CONFIGS, "total_vram", enough)
    narrow = {"min_total_vram_gb": 640, "max_total_vram_gb": 660}
    assert index in await indexes(database, filled, HARDWARE_CONFIGS, "cost", narrow)


async def test_a_models_recommended_use_cases_come_through_their_index(
    database: Database, filled: str
) -> None:
    filters = {"model_ids": [MODEL], "recommended": True}
    found = await indexes(
        database, filled, MODEL_USE_CASES, "suitability", filters, descending=True
    )
    assert found == {"idx_recommended_models"}


async def test_a_suitability_alone_is_read_from_its_index(database: Database, filled: str) -> None:
    """None of our queries wants so little; see the comment at the index."""
    connection = await asyncpg.connect(filled)
    try:
        plan = await connection.fetch(
            "EXPLAIN SELECT use_case_id, suitability_score FROM catalog.model_use_cases "
            f"WHERE model_id = '{MODEL}'"
        )
    finally:
        await connection.close()
    assert "Index Only Scan using idx_models_use_cases_suitability" in plan[0][0]
