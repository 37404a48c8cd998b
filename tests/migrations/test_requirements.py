"""Every entity, column and index of the requirements exists, in its owner's schema."""

import asyncpg
import pytest

pytestmark = pytest.mark.every_profile

ENTITIES = {
    "catalog.models": "id name architecture parameters base_model metadata tags created_at"
    " updated_at",
    "catalog.model_versions": "id model_id version quantization quantization_bits format"
    " artifact_uri model_config vram_requirement_gb created_at",
    "catalog.hardware_configs": "id gpu_type gpu_count vram_per_gpu_gb total_vram_gb"
    " cost_per_hour_usd cloud_provider instance_type spot_available specs created_at",
    "catalog.inference_frameworks": "id name version capabilities supports_quantization"
    " supports_streaming config_template created_at",
    "catalog.use_case_taxonomy": "id category subcategory pipeline_tag characteristics"
    " default_weights created_at",
    "catalog.model_use_cases": "id model_id use_case_id suitability_score recommended priority"
    " performance_summary created_at",
    "ingest.benchmark_configs": "id model_id",
    "ingest.benchmark_results": "id model_version_id hardware_config_id framework_id benchmark_date"
    " workload_type batch_size sequence_length ttft_p50_ms ttft_p90_ms ttft_p99_ms tpot_p50_ms"
    " tpot_p90_ms tpot_p99_ms throughput_tokens_sec rps_sustained accuracy_score"
    " gpu_utilization_pct memory_used_gb detailed_metrics created_at config_id benchmarked_at",
    "ingest.daily_model_stats": "id model_id stats_date avg_accuracy avg_throughput p95_latency_ms"
    " total_benchmarks aggregated_metrics updated_at",
    "ranking.model_rankings": "id model_id use_case_category composite_score rank_position"
    " score_breakdown calculated_at expires_at",
}

# Index -> its table, and what its definition has to contain.
INDEXES = {
    "idx_benchmark_results_model_hardware_framework": (
        "benchmark_results",
        "(model_version_id, hardware_config_id, framework_id, benchmark_date DESC)",
    ),
    "idx_benchmark_results_latency_sla": (
        "benchmark_results",
        "(ttft_p90_ms, throughput_tokens_sec) WHERE (ttft_p90_ms <= ",
    ),
    "idx_benchmark_results_date_workload": ("benchmark_results", "(benchmark_date, workload_type)"),
    "idx_models_use_cases_suitability": (
        "model_use_cases",
        "(model_id, use_case_id, suitability_score DESC)",
    ),
    "idx_recommended_models": ("model_use_cases", "(model_id, recommended) WHERE (recommended"),
    "idx_model_rankings_use_case": (
        "model_rankings",
        "(use_case_category, composite_score DESC, calculated_at DESC)",
    ),
    # `expires_at > NOW()` cannot stand in an index: the rows that are not superseded, instead.
    "idx_active_rankings": (
        "model_rankings",
        "(use_case_category, rank_position) WHERE (superseded_at IS NULL)",
    ),
    "idx_daily_stats_model_date": ("daily_model_stats", "(model_id, stats_date DESC)"),
    "idx_hardware_configs_vram_cost": (
        "hardware_configs",
        "(total_vram_gb, cost_per_hour_usd, spot_available)",
    ),
    "idx_model_versions_vram_quantization": (
        "model_versions",
        "(vram_requirement_gb, quantization_bits, format)",
    ),
}


@pytest.mark.parametrize("entity", ENTITIES)
async def test_the_entity_has_every_column(module_database: str, entity: str) -> None:
    schema, table = entity.split(".")
    connection = await asyncpg.connect(module_database)
    try:
        rows = await connection.fetch(
            "SELECT column_name FROM information_schema.columns "
            "WHERE table_schema = $1 AND table_name = $2",
            schema,
            table,
        )
    finally:
        await connection.close()
    assert set(ENTITIES[entity].split()) <= {row["column_name"] for row in rows}


@pytest.mark.parametrize("index", INDEXES)
async def test_the_index_is_there_as_required(module_database: str, index: str) -> None:
    table, definition = INDEXES[index]
    connection = await asyncpg.connect(module_database)
    try:
        found = await connection.fetchrow(
            "SELECT tablename, indexdef FROM pg_indexes WHERE indexname = $1", index
        )
    finally:
        await connection.close()
    assert found is not None
    assert found["tablename"] == table
    assert definition in found["indexdef"]


async def test_configurations_are_in_four_parts_by_model(module_database: str) -> None:
    connection = await asyncpg.connect(module_database)
    try:
        key = await connection.fetchval(
            "SELECT pg_get_partkeydef('ingest.benchmark_configs'::regclass)"
        )
        parts = await connection.fetchval(
            "SELECT count(*) FROM pg_inherits "
            "WHERE inhparent = 'ingest.benchmark_configs'::regclass"
        )
    finally:
        await connection.close()
    assert (key, parts) == ("HASH (model_id)", 4)
