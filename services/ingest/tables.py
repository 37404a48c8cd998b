"""The tables of the schema `ingest`: what its migrations add up to.

`org_id` is whose a row is; NULL: everybody's. Policies let the service's role see what is public
and what is of the organization that its transaction names.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    Date,
    DateTime,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from servemark.runtime.events.outbox import outbox_table
from services.ingest.metrics import METRIC_COLUMNS

metadata = MetaData(
    schema="ingest",
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "uq": "uq_%(table_name)s_%(constraint_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    },
)


def _id(name: str) -> Column[object]:
    return Column(name, Uuid, nullable=False)


def _text(name: str) -> Column[object]:
    return Column(name, Text, nullable=False)


def _count(name: str) -> Column[object]:
    return Column(name, BigInteger, nullable=False, server_default=text("0"))


def _time(name: str) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=False, server_default=text("now()"))


benchmark_configs = Table(
    "benchmark_configs",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("model_id", Uuid, primary_key=True),
    _id("model_version_id"),
    _id("hardware_config_id"),
    _id("framework_id"),
    Column("org_id", Uuid),
    _text("workload_type"),
    Column("input_tokens", Integer),
    Column("output_tokens", Integer),
    Column("concurrency", Integer),
    Column("request_rate", Double),
    Column("tensor_parallel", Integer, nullable=False),
    Column("pipeline_parallel", Integer, nullable=False),
    Column("data_parallel", Integer, nullable=False),
    Column("expert_parallel", Integer, nullable=False),
    _text("provenance"),
    _time("created_at"),
    UniqueConstraint(
        "model_id",
        "model_version_id",
        "hardware_config_id",
        "framework_id",
        "workload_type",
        "provenance",
        "input_tokens",
        "output_tokens",
        "concurrency",
        "request_rate",
        "tensor_parallel",
        "pipeline_parallel",
        "data_parallel",
        "expert_parallel",
        "org_id",
        name="natural_key",
        postgresql_nulls_not_distinct=True,
    ),
    CheckConstraint("provenance IN ('measured', 'simulated', 'estimated')", name="provenance"),
    CheckConstraint("concurrency >= 1", name="concurrency"),
    CheckConstraint("request_rate > 0", name="request_rate"),
    postgresql_partition_by="HASH (model_id)",
)
Index("idx_benchmark_configs_id", benchmark_configs.c.id)

benchmark_results = Table(
    "benchmark_results",
    metadata,
    Column("id", Uuid, primary_key=True),
    _id("config_id"),
    _id("model_id"),
    _id("model_version_id"),
    _id("hardware_config_id"),
    _id("framework_id"),
    _id("stream_id"),
    Column("benchmarked_at", DateTime(timezone=True), primary_key=True),
    _time("created_at"),
    *(Column(name, Double) for name in METRIC_COLUMNS),
    Column("request_count", BigInteger),
    Column("failed_request_count", BigInteger),
    Column("batch_size", Integer),
    Column("sequence_length", Integer),
    Column("input_tokens", Integer),
    Column("output_tokens", Integer),
    Column(
        "benchmark_date",
        Date,
        Computed("(benchmarked_at AT TIME ZONE 'UTC')::date", persisted=True),
        nullable=False,
    ),
    _text("workload_type"),
    _text("percentile_source"),
    _text("tool"),
    _text("tool_version"),
    Column("source_sha256", LargeBinary),
    Column("detailed_metrics", JSONB),
    # First bucket, samples of 0 ms, then the counts of the buckets; see sketches.py.
    Column("ttft_sketch", ARRAY(Integer)),
    Column("tpot_sketch", ARRAY(Integer)),
    postgresql_partition_by="RANGE (benchmarked_at)",
)
Index(
    "idx_benchmark_results_model_hardware_framework",
    benchmark_results.c.model_version_id,
    benchmark_results.c.hardware_config_id,
    benchmark_results.c.framework_id,
    benchmark_results.c.benchmark_date.desc(),
)
Index(
    "idx_benchmark_results_latency_sla",
    benchmark_results.c.ttft_p90_ms,
    benchmark_results.c.throughput_tokens_sec,
    postgresql_where=text("ttft_p90_ms <= 300"),
)
Index(
    "idx_benchmark_results_date_workload",
    benchmark_results.c.benchmark_date,
    benchmark_results.c.workload_type,
)
Index(
    "idx_benchmark_results_version_latest",
    benchmark_results.c.model_version_id,
    benchmark_results.c.benchmarked_at,
)

streams = Table(
    "streams",
    metadata,
    Column("stream_id", Uuid, primary_key=True),
    Column("header_digest", LargeBinary, nullable=False),
    _text("tool"),
    _text("tool_version"),
    _text("provenance"),
    _count("next_sequence"),
    _count("stored_count"),
    _count("duplicate_count"),
    _count("rejected_count"),
    _time("created_at"),
    _time("updated_at"),
    Column("org_id", Uuid),
    postgresql_with={"fillfactor": "50"},
)

stream_configs = Table(
    "stream_configs",
    metadata,
    Column("stream_id", Uuid, ForeignKey("streams.stream_id"), primary_key=True),
    Column("config_index", Integer, primary_key=True, autoincrement=False),
    Column("model_id", Uuid),
    Column("config_id", Uuid),
    Column("failures", JSONB, nullable=False, server_default=text("'[]'::jsonb")),
    ForeignKeyConstraint(
        ["model_id", "config_id"], ["benchmark_configs.model_id", "benchmark_configs.id"]
    ),
)

result_rejections = Table(
    "result_rejections",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("stream_id", Uuid, ForeignKey("streams.stream_id"), nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("row_index", Integer, nullable=False),
    _text("result_id"),
    _text("reason"),
    _text("detail"),
    Column("payload_sha256", LargeBinary, nullable=False),
    _time("created_at"),
    Column("org_id", Uuid),
    UniqueConstraint("stream_id", "sequence", "row_index", name="position"),
)
Index("idx_result_rejections_stream_id", result_rejections.c.stream_id, result_rejections.c.id)

dirty_days = Table(
    "dirty_days",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    _id("model_id"),
    Column("stats_date", Date, nullable=False),
    _time("created_at"),
    # False: marked by code that marks no configurations.
    Column("configs_marked", Boolean, nullable=False, server_default=text("false")),
)

daily_model_stats = Table(
    "daily_model_stats",
    metadata,
    Column("id", Uuid, primary_key=True),
    _id("model_id"),
    Column("stats_date", Date, nullable=False),
    Column("avg_accuracy", Double),
    Column("avg_throughput", Double),
    Column("p95_latency_ms", Double),
    Column("total_benchmarks", BigInteger, nullable=False),
    Column("aggregated_metrics", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("updated_at", DateTime(timezone=True), nullable=False),
)
Index(
    "idx_daily_stats_model_date",
    daily_model_stats.c.model_id,
    daily_model_stats.c.stats_date.desc(),
    unique=True,
)
Index(
    "idx_daily_stats_date_model",
    daily_model_stats.c.stats_date.desc(),
    daily_model_stats.c.model_id,
)

organization_daily_stats = Table(
    "organization_daily_stats",
    metadata,
    Column("org_id", Uuid, primary_key=True),
    Column("model_id", Uuid, primary_key=True),
    Column("stats_date", Date, primary_key=True),
    Column("avg_accuracy", Double),
    Column("avg_throughput", Double),
    Column("p95_latency_ms", Double),
    Column("total_benchmarks", BigInteger, nullable=False),
    Column("aggregated_metrics", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("updated_at", DateTime(timezone=True), nullable=False),
)

dirty_configs = Table(
    "dirty_configs",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    _time("created_at"),
    Column("queued", Boolean, nullable=False, server_default=text("false")),
    Column("config_ids", ARRAY(Uuid), nullable=False),
)

config_summaries = Table(
    "config_summaries",
    metadata,
    Column("config_id", Uuid, primary_key=True),
    _id("model_id"),
    _id("model_version_id"),
    _id("hardware_config_id"),
    _id("framework_id"),
    Column("run_count", BigInteger, nullable=False),
    Column("request_count", BigInteger, nullable=False),
    Column("failed_request_count", BigInteger, nullable=False),
    Column("counted_from", DateTime(timezone=True), nullable=False),
    Column("oldest_benchmarked_at", DateTime(timezone=True)),
    Column("newest_benchmarked_at", DateTime(timezone=True)),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    Column("recent_days", SmallInteger, primary_key=True, autoincrement=False),
    # An entry for each of SUMMARY_COLUMNS.
    *(
        Column(name, ARRAY(Double), nullable=False)
        for name in ("medians", "means", "lowest", "highest")
    ),
    Column("counts", ARRAY(BigInteger), nullable=False),
    _text("workload_type"),
    _text("provenance"),
    Column("tools", ARRAY(Text), nullable=False),
    # An entry for each of SUMMARY_COLUMNS; what is of no run is NULL.
    Column("pooled", ARRAY(Double)),
    *(
        Column(name, ARRAY(BigInteger))
        for name in ("pooled_counts", "pooled_runs", "request_counts")
    ),
    Column("newest_at", ARRAY(DateTime(timezone=True))),
    # `updated_at`, unless the row was written by code that knows no pooled runs.
    Column("pooled_at", DateTime(timezone=True)),
    postgresql_with={"fillfactor": "80"},
)
Index(
    "idx_config_summaries_workload",
    config_summaries.c.recent_days,
    config_summaries.c.workload_type,
    config_summaries.c.config_id,
)
Index(
    "idx_config_summaries_model",
    config_summaries.c.recent_days,
    config_summaries.c.model_id,
    config_summaries.c.config_id,
)
Index(
    "idx_config_summaries_oldest",
    config_summaries.c.oldest_benchmarked_at,
    postgresql_where=text("recent_days > 0"),
)

archived_days = Table(
    "archived_days",
    metadata,
    Column("day", Date, primary_key=True),
    _text("object_name"),
    Column("row_count", BigInteger, nullable=False),
    Column("byte_size", BigInteger, nullable=False),
    Column("sha256", LargeBinary, nullable=False),
    Column("content_checksum", LargeBinary, nullable=False),
    Column("archived_at", DateTime(timezone=True), nullable=False),
    Column("verified_at", DateTime(timezone=True), nullable=False),
    Column("dropped_at", DateTime(timezone=True)),
    Column("restored_at", DateTime(timezone=True)),
    Column("keep_until", DateTime(timezone=True)),
)

archive_uploads = Table(
    "archive_uploads",
    metadata,
    Column("object_name", Text, primary_key=True),
    Column("day", Date, nullable=False),
    Column("started_at", DateTime(timezone=True), nullable=False),
)

outbox = outbox_table(metadata)

settings = Table(
    "settings",
    metadata,
    Column("name", Text, primary_key=True),
    _text("value"),
    _time("updated_at"),
)
