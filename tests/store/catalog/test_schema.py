"""What the database itself promises, whoever writes to it."""

import asyncio

import asyncpg
import pytest

from tests.rpc.catalog.serving import waits_for
from tests.support import servers

# From the requirements document, by name.
REQUIRED_INDEXES = {
    "idx_hardware_configs_vram_cost": "(total_vram_gb, cost_per_hour_usd, spot_available)",
    "idx_model_versions_vram_quantization": "(vram_requirement_gb, quantization_bits, format)",
    "idx_models_use_cases_suitability": "(model_id, use_case_id, suitability_score DESC)",
    "idx_recommended_models": "(model_id, recommended) WHERE (recommended = true)",
    "idx_models_tags": "USING gin (tags)",
}
REQUIRED_COLUMNS = {
    "models": "id name architecture parameters base_model metadata tags created_at updated_at",
    "model_versions": "id model_id version quantization quantization_bits format artifact_uri "
    "model_config vram_requirement_gb created_at",
    "hardware_configs": "id gpu_type gpu_count vram_per_gpu_gb total_vram_gb cost_per_hour_usd "
    "cloud_provider instance_type spot_available specs created_at",
    "inference_frameworks": "id name version capabilities supports_quantization "
    "supports_streaming config_template created_at",
    "use_case_taxonomy": "id category subcategory pipeline_tag characteristics default_weights "
    "created_at",
    "model_use_cases": "id model_id use_case_id suitability_score recommended priority "
    "performance_summary created_at",
}
MODEL = "INSERT INTO catalog.models (id, name, architecture, parameters) VALUES "
VERSION = (
    "INSERT INTO catalog.model_versions "
    "(id, model_id, version, quantization, quantization_bits, format) "
    "SELECT uuidv7(), id, 'v', 'bf16', 16, 'gguf' FROM catalog.models"
)


@pytest.mark.parametrize(("name", "definition"), REQUIRED_INDEXES.items())
def test_every_index_of_the_requirements_is_there(
    catalog_dsn: str, name: str, definition: str
) -> None:
    query = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'catalog' AND indexname = $1"
    assert definition in servers.fetch_value(catalog_dsn, query, name)


@pytest.mark.parametrize(("table", "columns"), REQUIRED_COLUMNS.items())
def test_every_column_of_the_requirements_is_there(
    catalog_dsn: str, table: str, columns: str
) -> None:
    query = (
        "SELECT array_agg(column_name::text) FROM information_schema.columns "
        "WHERE table_schema = 'catalog' AND table_name = $1"
    )
    assert set(columns.split()) <= set(servers.fetch_value(catalog_dsn, query, table))


def test_changes_are_counted_for_every_writer(catalog_dsn: str) -> None:
    servers.execute(
        catalog_dsn,
        f"{MODEL} (uuidv7(), 'm', 'llama', 1)",
        "UPDATE catalog.models SET tags = '{a}', etag = 77",
        "UPDATE catalog.models SET tags = '{b}', updated_at = 'epoch'",
    )
    row = "SELECT etag = 3 AND updated_at > created_at FROM catalog.models"
    assert servers.fetch_value(catalog_dsn, row)


@pytest.mark.parametrize(
    "values",
    ["(uuidv7(), 'm', 'a', 0)", "(uuidv7(), 'm', 'a', 100000000000001)"],
)
def test_a_parameter_count_outside_its_range_is_refused(catalog_dsn: str, values: str) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        servers.execute(catalog_dsn, MODEL + values)


async def test_a_version_inserted_while_the_parameter_count_changes_gets_the_new_figure(
    catalog_dsn: str,
) -> None:
    servers.execute(catalog_dsn, f"{MODEL} (uuidv7(), 'm', 'a', 1000000000)")
    changing = "UPDATE catalog.models SET parameters = 2000000000"
    inserting = asyncio.to_thread(servers.execute, catalog_dsn, VERSION)
    async with waits_for(catalog_dsn, changing, inserting) as insertion:
        await insertion
    figure = "SELECT vram_requirement_gb FROM catalog.model_versions"
    assert servers.fetch_value(catalog_dsn, figure) == 4.8


def test_names_that_differ_in_letter_case_only_are_one(catalog_dsn: str) -> None:
    with pytest.raises(asyncpg.UniqueViolationError, match="uq_models_lower_name"):
        servers.execute(
            catalog_dsn,
            f"{MODEL} (uuidv7(), 'Modèle', 'a', 1), (uuidv7(), 'MODÈLE', 'a', 1)",
        )


def test_nothing_that_is_referred_to_can_be_deleted(catalog_dsn: str) -> None:
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        servers.execute(
            catalog_dsn,
            f"{MODEL} ('00000000-0000-7000-8000-000000000001', 'm', 'a', 1)",
            VERSION,
            "DELETE FROM catalog.models",
        )


def test_closeness_needs_no_search_path(catalog_dsn: str) -> None:
    query = "SELECT catalog.closeness('h100-80gb', 'h100 80gb') > 0.5"
    assert servers.fetch_value(catalog_dsn, query)
