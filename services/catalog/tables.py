"""The tables of the `catalog` schema, as its migrations leave them."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    DateTime,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    column,
    desc,
    false,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, ExcludeConstraint

from servemark.runtime.events.outbox import outbox_table

metadata = MetaData(
    schema="catalog",
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "uq": "uq_%(table_name)s_%(constraint_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    },
)


def _id() -> Column[object]:
    return Column("id", Uuid, primary_key=True)


def _text(name: str, default: str | None = None) -> Column[object]:
    server_default = None if default is None else text(f"'{default}'")
    return Column(name, Text, nullable=False, server_default=server_default)


def _json(name: str) -> Column[object]:
    return Column(name, JSONB, nullable=False, server_default=text("'{}'::jsonb"))


def _flag(name: str) -> Column[object]:
    return Column(name, Boolean, nullable=False, server_default=false())


def _time(name: str, *, nullable: bool = False) -> Column[object]:
    default = None if nullable else text("now()")
    return Column(name, DateTime(timezone=True), nullable=nullable, server_default=default)


def _history() -> tuple[Column[object], ...]:
    return (
        Column("etag", BigInteger, nullable=False, server_default=text("1")),
        _time("created_at"),
        _time("updated_at"),
        _time("archived_at", nullable=True),
    )


models = Table(
    "models",
    metadata,
    _id(),
    _text("name"),
    _text("architecture"),
    Column("parameters", BigInteger, nullable=False),
    Column("active_parameters", BigInteger, nullable=False, server_default=text("0")),
    _text("base_model", ""),
    _json("metadata"),
    Column("tags", ARRAY(Text), nullable=False, server_default=text("'{}'::text[]")),
    *_history(),
    CheckConstraint("parameters BETWEEN 1 AND 100000000000000", name="parameters"),
    CheckConstraint("active_parameters BETWEEN 0 AND parameters", name="active_parameters"),
)
Index("uq_models_lower_name", func.lower(models.c.name), unique=True)
Index("idx_models_tags", models.c.tags, postgresql_using="gin")
Index("idx_models_architecture", models.c.architecture)

model_versions = Table(
    "model_versions",
    metadata,
    _id(),
    Column("model_id", Uuid, ForeignKey("models.id"), nullable=False),
    _text("version"),
    _text("quantization"),
    Column("quantization_bits", Integer, nullable=False),
    _text("format"),
    _text("artifact_uri", ""),
    _json("model_config"),
    # Set by a trigger, from the model's parameter count.
    Column("vram_requirement_gb", Double, nullable=False),
    *_history(),
    CheckConstraint("quantization_bits BETWEEN 1 AND 64", name="quantization_bits"),
)
Index(
    "uq_model_versions_natural_key",
    model_versions.c.model_id,
    func.lower(model_versions.c.version),
    model_versions.c.quantization,
    model_versions.c.format,
    unique=True,
)
Index(
    "idx_model_versions_vram_quantization",
    model_versions.c.vram_requirement_gb,
    model_versions.c.quantization_bits,
    model_versions.c.format,
)

hardware_configs = Table(
    "hardware_configs",
    metadata,
    _id(),
    _text("name"),
    _text("gpu_type"),
    Column("gpu_count", Integer, nullable=False),
    Column("vram_per_gpu_gb", Integer, nullable=False),
    Column(
        "total_vram_gb",
        Integer,
        Computed("gpu_count * vram_per_gpu_gb", persisted=True),
        nullable=False,
    ),
    # These two follow hardware_prices.
    Column("cost_per_hour_usd", Double),
    _text("cloud_provider"),
    _text("instance_type"),
    _flag("spot_available"),
    _json("specs"),
    *_history(),
    CheckConstraint("gpu_count BETWEEN 1 AND 4096", name="gpu_count"),
    CheckConstraint("vram_per_gpu_gb BETWEEN 1 AND 4096", name="vram_per_gpu_gb"),
)
Index("uq_hardware_configs_lower_name", func.lower(hardware_configs.c.name), unique=True)
Index(
    "idx_hardware_configs_vram_cost",
    hardware_configs.c.total_vram_gb,
    hardware_configs.c.cost_per_hour_usd,
    hardware_configs.c.spot_available,
)

hardware_prices = Table(
    "hardware_prices",
    metadata,
    _id(),
    Column("hardware_config_id", Uuid, ForeignKey("hardware_configs.id"), nullable=False),
    _text("region", ""),
    _text("purchase_option"),
    Column("usd_per_hour", Double, nullable=False),
    Column("valid_from", DateTime(timezone=True), nullable=False),
    Column("valid_to", DateTime(timezone=True)),
    _text("source"),
    _time("created_at"),
    CheckConstraint("purchase_option IN ('on_demand', 'spot', 'reserved')", name="purchase_option"),
    CheckConstraint("usd_per_hour > 0 AND usd_per_hour <= 1000000", name="usd_per_hour"),
    CheckConstraint("valid_to > valid_from", name="valid_to"),
    ExcludeConstraint(
        (column("hardware_config_id"), "="),
        (column("region"), "="),
        (column("purchase_option"), "="),
        (text("tstzrange(valid_from, valid_to)"), "&&"),
        name="ex_hardware_prices_one_at_a_time",
        using="gist",
    ),
)
Index(
    "idx_hardware_prices_hardware_config_id",
    hardware_prices.c.hardware_config_id,
    desc(hardware_prices.c.valid_from),
)

inference_frameworks = Table(
    "inference_frameworks",
    metadata,
    _id(),
    _text("name"),
    _text("version"),
    _json("capabilities"),
    _flag("supports_quantization"),
    _flag("supports_streaming"),
    _json("config_template"),
    *_history(),
)
Index(
    "uq_inference_frameworks_natural_key",
    func.lower(inference_frameworks.c.name),
    func.lower(inference_frameworks.c.version),
    unique=True,
)

use_case_taxonomy = Table(
    "use_case_taxonomy",
    metadata,
    _id(),
    _text("category"),
    _text("subcategory"),
    _text("pipeline_tag"),
    _json("characteristics"),
    Column("default_weights", JSONB, nullable=False, server_default=text("'[]'::jsonb")),
    *_history(),
)
Index(
    "uq_use_case_taxonomy_lower_subcategory",
    func.lower(use_case_taxonomy.c.subcategory),
    unique=True,
)
Index("idx_use_case_taxonomy_pipeline_tag", use_case_taxonomy.c.pipeline_tag)

model_use_cases = Table(
    "model_use_cases",
    metadata,
    _id(),
    Column("model_id", Uuid, ForeignKey("models.id"), nullable=False),
    Column("use_case_id", Uuid, ForeignKey("use_case_taxonomy.id"), nullable=False),
    Column("suitability_score", Double),
    _flag("recommended"),
    Column("priority", Integer, nullable=False, server_default=text("0")),
    _json("performance_summary"),
    *_history(),
    UniqueConstraint("model_id", "use_case_id", name="natural_key"),
    CheckConstraint("suitability_score BETWEEN 0 AND 1", name="suitability_score"),
    CheckConstraint("priority >= 0", name="priority"),
)
# The requirement's. Whole entries are read through the unique key; this one answers from itself how
# well models suit use cases, for who wants no more than that.
Index(
    "idx_models_use_cases_suitability",
    model_use_cases.c.model_id,
    model_use_cases.c.use_case_id,
    desc(model_use_cases.c.suitability_score),
)
Index(
    "idx_recommended_models",
    model_use_cases.c.model_id,
    model_use_cases.c.recommended,
    postgresql_where=text("recommended = true"),
)
Index("idx_model_use_cases_use_case_id", model_use_cases.c.use_case_id)

outbox = outbox_table(metadata)
