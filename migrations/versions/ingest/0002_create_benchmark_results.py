"""Create benchmark_results, the table everything is about: one row for each measured run.

Partitioned by day. The primary key is (id, benchmarked_at) because a time partition needs its
column in it; the service stores a time to the millisecond that the id carries, so the id alone is
unique.

Three row-level foreign keys would cost 60 % of the ingest. Instead one trigger a statement checks
the distinct configurations of all its rows.

The service's role may not create tables, so a day's partition comes from a function that runs with
its owner's rights. It makes the table first and attaches it then, which takes only SHARE UPDATE
EXCLUSIVE on the parent: running inserts and reads go on.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

LATENCIES = (
    "ttft_p50_ms",
    "ttft_p90_ms",
    "ttft_p95_ms",
    "ttft_p99_ms",
    "tpot_p50_ms",
    "tpot_p90_ms",
    "tpot_p95_ms",
    "tpot_p99_ms",
)
OTHER_METRICS = (
    "throughput_tokens_sec",
    "rps_sustained",
    "accuracy_score",
    "gpu_utilization_pct",
    "memory_used_gb",
)

CHECK_CONFIGS = """
CREATE FUNCTION ingest.check_result_configs() RETURNS trigger
LANGUAGE plpgsql SET search_path = ingest, pg_temp AS $$
DECLARE
    unknown uuid;
BEGIN
    SELECT rows.config_id INTO unknown
    FROM (SELECT DISTINCT model_id, config_id FROM new_rows) AS rows
    WHERE NOT EXISTS (
        SELECT FROM ingest.benchmark_configs AS config
        WHERE config.model_id = rows.model_id AND config.id = rows.config_id
    )
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'configuration % of a result is not in benchmark_configs', unknown
            USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NULL;
END
$$
"""

CREATE_PARTITION = """
CREATE FUNCTION ingest.create_result_partition(day date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ingest, pg_temp AS $$
DECLARE
    part text := 'benchmark_results_' || to_char(day, 'YYYYMMDD');
    starts timestamptz := day::timestamp AT TIME ZONE 'UTC';
    ends timestamptz := (day + 1)::timestamp AT TIME ZONE 'UTC';
BEGIN
    -- Two processes may meet the same new day at once: the second waits, and finds it done. It asks
    -- pg_class, because to_regclass answers from a cache that may be stale after the wait.
    PERFORM pg_advisory_xact_lock(hashtextextended('ingest.benchmark_results', 0));
    IF EXISTS (
        SELECT FROM pg_class WHERE relnamespace = 'ingest'::regnamespace AND relname = part
    ) THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE ingest.%I (LIKE ingest.benchmark_results INCLUDING ALL)', part);
    EXECUTE format(
        'ALTER TABLE ingest.benchmark_results ATTACH PARTITION ingest.%I '
        'FOR VALUES FROM (%L) TO (%L)',
        part, starts, ends
    );
    RETURN true;
END
$$
"""


def upgrade() -> None:
    # Fixed-width columns lead, the widest first: no padding between them.
    op.create_table(
        "benchmark_results",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("config_id", sa.Uuid(), nullable=False),
        sa.Column("model_id", sa.Uuid(), nullable=False),
        sa.Column("model_version_id", sa.Uuid(), nullable=False),
        sa.Column("hardware_config_id", sa.Uuid(), nullable=False),
        sa.Column("framework_id", sa.Uuid(), nullable=False),
        sa.Column("stream_id", sa.Uuid(), nullable=False),
        sa.Column("benchmarked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            nullable=False,
            server_default=sa.text("now()"),
        ),
        *(sa.Column(name, sa.Double(), nullable=True) for name in LATENCIES),
        *(sa.Column(name, sa.Double(), nullable=True) for name in OTHER_METRICS),
        sa.Column("request_count", sa.BigInteger(), nullable=True),
        sa.Column("failed_request_count", sa.BigInteger(), nullable=True),
        sa.Column("batch_size", sa.Integer(), nullable=True),
        sa.Column("sequence_length", sa.Integer(), nullable=True),
        sa.Column("input_tokens", sa.Integer(), nullable=True),
        sa.Column("output_tokens", sa.Integer(), nullable=True),
        sa.Column(
            "benchmark_date",
            sa.Date(),
            sa.Computed("(benchmarked_at AT TIME ZONE 'UTC')::date", persisted=True),
            nullable=False,
        ),
        sa.Column("workload_type", sa.Text(), nullable=False),
        sa.Column("percentile_source", sa.Text(), nullable=False),
        sa.Column("tool", sa.Text(), nullable=False),
        sa.Column("tool_version", sa.Text(), nullable=False),
        sa.Column("source_sha256", sa.LargeBinary(), nullable=True),
        sa.Column("detailed_metrics", JSONB(), nullable=True),
        sa.PrimaryKeyConstraint("id", "benchmarked_at", name="pk_benchmark_results"),
        schema="ingest",
        postgresql_partition_by="RANGE (benchmarked_at)",
    )
    op.create_index(
        "idx_benchmark_results_model_hardware_framework",
        "benchmark_results",
        [
            "model_version_id",
            "hardware_config_id",
            "framework_id",
            sa.text("benchmark_date DESC"),
        ],
        schema="ingest",
    )
    op.create_index(
        "idx_benchmark_results_latency_sla",
        "benchmark_results",
        ["ttft_p90_ms", "throughput_tokens_sec"],
        schema="ingest",
        postgresql_where=sa.text("ttft_p90_ms <= 300"),
    )
    op.create_index(
        "idx_benchmark_results_date_workload",
        "benchmark_results",
        ["benchmark_date", "workload_type"],
        schema="ingest",
    )
    # The requirement's indexes do not serve "the latest results of a configuration".
    op.create_index(
        "idx_benchmark_results_config_latest",
        "benchmark_results",
        ["config_id", sa.text("benchmarked_at DESC")],
        schema="ingest",
    )
    op.execute(CHECK_CONFIGS)
    op.execute(
        "CREATE TRIGGER check_result_configs AFTER INSERT ON ingest.benchmark_results "
        "REFERENCING NEW TABLE AS new_rows "
        "FOR EACH STATEMENT EXECUTE FUNCTION ingest.check_result_configs()"
    )
    op.execute(CREATE_PARTITION)
    op.execute("REVOKE ALL ON FUNCTION ingest.create_result_partition(date) FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION ingest.create_result_partition(date) TO servemark_ingest")


def downgrade() -> None:
    op.execute("DROP FUNCTION ingest.create_result_partition(date)")
    op.drop_table("benchmark_results", schema="ingest")
    op.execute("DROP FUNCTION ingest.check_result_configs()")
