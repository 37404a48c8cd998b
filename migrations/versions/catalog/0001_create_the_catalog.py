"""Create the catalog: models, versions, hardware and its dated prices, frameworks, use cases.

Names are unique whatever their letter case, because people and tools write `Llama` and `llama` for
the same thing; results of both must land on one configuration. Nothing is deleted here, so that
results can always say what they measured: rows get an `archived_at`.

Needs btree_gist (it comes with PostgreSQL, and a database's owner may create it), for the rule that
two prices of the same hardware, region and purchase option are never valid at the same time.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, ExcludeConstraint

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

EMPTY_OBJECT = sa.text("'{}'::jsonb")
NOW = sa.text("now()")


def _id() -> sa.Column[object]:
    return sa.Column("id", sa.Uuid(), nullable=False)


def _text(name: str, default: str | None = None) -> sa.Column[object]:
    server_default = None if default is None else sa.text(f"'{default}'")
    return sa.Column(name, sa.Text(), nullable=False, server_default=server_default)


def _json(name: str) -> sa.Column[object]:
    return sa.Column(name, JSONB(), nullable=False, server_default=EMPTY_OBJECT)


def _flag(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.Boolean(), nullable=False, server_default=sa.false())


def _history() -> tuple[sa.Column[object], ...]:
    """What every resource keeps about its own changes. `etag` counts them."""
    return (
        sa.Column("etag", sa.BigInteger(), nullable=False, server_default=sa.text("1")),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=NOW),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False, server_default=NOW),
        sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True),
    )


def _reference(table: str, column: str, to: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"catalog.{to}.id"], name=f"fk_{table}_{column}_{to}")


def upgrade() -> None:
    op.execute("CREATE EXTENSION IF NOT EXISTS btree_gist")
    _create_models()
    _create_hardware()
    _create_frameworks_and_use_cases()


def _create_models() -> None:
    op.create_table(
        "models",
        _id(),
        _text("name"),
        _text("architecture"),
        sa.Column("parameters", sa.BigInteger(), nullable=False),
        sa.Column("active_parameters", sa.BigInteger(), nullable=False, server_default="0"),
        _text("base_model", ""),
        _json("metadata"),
        sa.Column("tags", ARRAY(sa.Text()), nullable=False, server_default=sa.text("'{}'::text[]")),
        *_history(),
        sa.PrimaryKeyConstraint("id", name="pk_models"),
        sa.CheckConstraint("parameters BETWEEN 1 AND 100000000000000", name="ck_models_parameters"),
        sa.CheckConstraint(
            "active_parameters BETWEEN 0 AND parameters", name="ck_models_active_parameters"
        ),
        schema="catalog",
    )
    op.create_index(
        "uq_models_lower_name", "models", [sa.text("lower(name)")], unique=True, schema="catalog"
    )
    op.create_index("idx_models_tags", "models", ["tags"], schema="catalog", postgresql_using="gin")
    op.create_index("idx_models_architecture", "models", ["architecture"], schema="catalog")

    op.create_table(
        "model_versions",
        _id(),
        sa.Column("model_id", sa.Uuid(), nullable=False),
        _text("version"),
        _text("quantization"),
        sa.Column("quantization_bits", sa.Integer(), nullable=False),
        _text("format"),
        _text("artifact_uri", ""),
        _json("model_config"),
        sa.Column("vram_requirement_gb", sa.Double(), nullable=False),
        *_history(),
        sa.PrimaryKeyConstraint("id", name="pk_model_versions"),
        _reference("model_versions", "model_id", "models"),
        sa.CheckConstraint(
            "quantization_bits BETWEEN 1 AND 64", name="ck_model_versions_quantization_bits"
        ),
        schema="catalog",
    )
    op.create_index(
        "uq_model_versions_natural_key",
        "model_versions",
        ["model_id", sa.text("lower(version)"), "quantization", "format"],
        unique=True,
        schema="catalog",
    )
    op.create_index(
        "idx_model_versions_vram_quantization",
        "model_versions",
        ["vram_requirement_gb", "quantization_bits", "format"],
        schema="catalog",
    )


def _create_hardware() -> None:
    op.create_table(
        "hardware_configs",
        _id(),
        _text("name"),
        _text("gpu_type"),
        sa.Column("gpu_count", sa.Integer(), nullable=False),
        sa.Column("vram_per_gpu_gb", sa.Integer(), nullable=False),
        sa.Column(
            "total_vram_gb",
            sa.Integer(),
            sa.Computed("gpu_count * vram_per_gpu_gb", persisted=True),
            nullable=False,
        ),
        sa.Column("cost_per_hour_usd", sa.Double(), nullable=True),
        _text("cloud_provider"),
        _text("instance_type"),
        _flag("spot_available"),
        _json("specs"),
        *_history(),
        sa.PrimaryKeyConstraint("id", name="pk_hardware_configs"),
        sa.CheckConstraint("gpu_count BETWEEN 1 AND 4096", name="ck_hardware_configs_gpu_count"),
        sa.CheckConstraint(
            "vram_per_gpu_gb BETWEEN 1 AND 4096", name="ck_hardware_configs_vram_per_gpu_gb"
        ),
        schema="catalog",
    )
    op.create_index(
        "uq_hardware_configs_lower_name",
        "hardware_configs",
        [sa.text("lower(name)")],
        unique=True,
        schema="catalog",
    )
    op.create_index(
        "idx_hardware_configs_vram_cost",
        "hardware_configs",
        ["total_vram_gb", "cost_per_hour_usd", "spot_available"],
        schema="catalog",
    )

    op.create_table(
        "hardware_prices",
        _id(),
        sa.Column("hardware_config_id", sa.Uuid(), nullable=False),
        _text("region", ""),
        _text("purchase_option"),
        sa.Column("usd_per_hour", sa.Double(), nullable=False),
        sa.Column("valid_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("valid_to", sa.DateTime(timezone=True), nullable=True),
        _text("source"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=NOW),
        sa.PrimaryKeyConstraint("id", name="pk_hardware_prices"),
        _reference("hardware_prices", "hardware_config_id", "hardware_configs"),
        sa.CheckConstraint(
            "purchase_option IN ('on_demand', 'spot', 'reserved')",
            name="ck_hardware_prices_purchase_option",
        ),
        sa.CheckConstraint(
            "usd_per_hour > 0 AND usd_per_hour <= 1000000", name="ck_hardware_prices_usd_per_hour"
        ),
        sa.CheckConstraint("valid_to > valid_from", name="ck_hardware_prices_valid_to"),
        ExcludeConstraint(
            (sa.column("hardware_config_id"), "="),
            (sa.column("region"), "="),
            (sa.column("purchase_option"), "="),
            (sa.text("tstzrange(valid_from, valid_to)"), "&&"),
            name="ex_hardware_prices_one_at_a_time",
            using="gist",
        ),
        schema="catalog",
    )
    op.create_index(
        "idx_hardware_prices_hardware_config_id",
        "hardware_prices",
        ["hardware_config_id", sa.text("valid_from DESC")],
        schema="catalog",
    )


def _create_frameworks_and_use_cases() -> None:
    op.create_table(
        "inference_frameworks",
        _id(),
        _text("name"),
        _text("version"),
        _json("capabilities"),
        _flag("supports_quantization"),
        _flag("supports_streaming"),
        _json("config_template"),
        *_history(),
        sa.PrimaryKeyConstraint("id", name="pk_inference_frameworks"),
        schema="catalog",
    )
    op.create_index(
        "uq_inference_frameworks_natural_key",
        "inference_frameworks",
        [sa.text("lower(name)"), sa.text("lower(version)")],
        unique=True,
        schema="catalog",
    )

    op.create_table(
        "use_case_taxonomy",
        _id(),
        _text("category"),
        _text("subcategory"),
        _text("pipeline_tag"),
        _json("characteristics"),
        sa.Column(
            "default_weights", JSONB(), nullable=False, server_default=sa.text("'[]'::jsonb")
        ),
        *_history(),
        sa.PrimaryKeyConstraint("id", name="pk_use_case_taxonomy"),
        schema="catalog",
    )
    op.create_index(
        "uq_use_case_taxonomy_lower_subcategory",
        "use_case_taxonomy",
        [sa.text("lower(subcategory)")],
        unique=True,
        schema="catalog",
    )
    op.create_index(
        "idx_use_case_taxonomy_pipeline_tag",
        "use_case_taxonomy",
        ["pipeline_tag"],
        schema="catalog",
    )

    op.create_table(
        "model_use_cases",
        _id(),
        sa.Column("model_id", sa.Uuid(), nullable=False),
        sa.Column("use_case_id", sa.Uuid(), nullable=False),
        sa.Column("suitability_score", sa.Double(), nullable=True),
        _flag("recommended"),
        sa.Column("priority", sa.Integer(), nullable=False, server_default="0"),
        _json("performance_summary"),
        *_history(),
        sa.PrimaryKeyConstraint("id", name="pk_model_use_cases"),
        _reference("model_use_cases", "model_id", "models"),
        _reference("model_use_cases", "use_case_id", "use_case_taxonomy"),
        sa.UniqueConstraint("model_id", "use_case_id", name="uq_model_use_cases_natural_key"),
        sa.CheckConstraint(
            "suitability_score BETWEEN 0 AND 1", name="ck_model_use_cases_suitability_score"
        ),
        sa.CheckConstraint("priority >= 0", name="ck_model_use_cases_priority"),
        schema="catalog",
    )
    op.create_index(
        "idx_models_use_cases_suitability",
        "model_use_cases",
        ["model_id", "use_case_id", sa.text("suitability_score DESC")],
        schema="catalog",
    )
    op.create_index(
        "idx_recommended_models",
        "model_use_cases",
        ["model_id", "recommended"],
        schema="catalog",
        postgresql_where=sa.text("recommended = true"),
    )
    op.create_index(
        "idx_model_use_cases_use_case_id", "model_use_cases", ["use_case_id"], schema="catalog"
    )


def downgrade() -> None:
    # The extension stays: another schema of the database may use it.
    for table in (
        "model_use_cases",
        "use_case_taxonomy",
        "inference_frameworks",
        "hardware_prices",
        "hardware_configs",
        "model_versions",
        "models",
    ):
        op.drop_table(table, schema="catalog")
