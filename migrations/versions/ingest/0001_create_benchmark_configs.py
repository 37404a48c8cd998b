"""Create benchmark_configs: one row for each distinct thing that was measured.

Two tools that measured the same thing land on the same row, so the natural key is unique and treats
an absent length or load as a value like any other. The table is hash-partitioned by model, as is
everything that may one day be spread over machines by model; the requirement names the partitions
after model families, which a hash cannot honour, so they carry their number.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

PARTITIONS = 4


def upgrade() -> None:
    op.create_table(
        "benchmark_configs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("model_id", sa.Uuid(), nullable=False),
        sa.Column("model_version_id", sa.Uuid(), nullable=False),
        sa.Column("hardware_config_id", sa.Uuid(), nullable=False),
        sa.Column("framework_id", sa.Uuid(), nullable=False),
        # Whose results these are. NULL: everybody's.
        sa.Column("org_id", sa.Uuid(), nullable=True),
        sa.Column("workload_type", sa.Text(), nullable=False),
        sa.Column("input_tokens", sa.Integer(), nullable=True),
        sa.Column("output_tokens", sa.Integer(), nullable=True),
        sa.Column("concurrency", sa.Integer(), nullable=True),
        sa.Column("request_rate", sa.Double(), nullable=True),
        sa.Column("tensor_parallel", sa.Integer(), nullable=False),
        sa.Column("pipeline_parallel", sa.Integer(), nullable=False),
        sa.Column("data_parallel", sa.Integer(), nullable=False),
        sa.Column("expert_parallel", sa.Integer(), nullable=False),
        sa.Column("provenance", sa.Text(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            nullable=False,
            server_default=sa.text("now()"),
        ),
        sa.PrimaryKeyConstraint("model_id", "id", name="pk_benchmark_configs"),
        # What is never NULL leads, so that one look-up by equality finds the few candidates.
        sa.UniqueConstraint(
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
            name="uq_benchmark_configs_natural_key",
            postgresql_nulls_not_distinct=True,
        ),
        sa.CheckConstraint(
            "provenance IN ('measured', 'simulated', 'estimated')",
            name="ck_benchmark_configs_provenance",
        ),
        sa.CheckConstraint("concurrency >= 1", name="ck_benchmark_configs_concurrency"),
        sa.CheckConstraint("request_rate > 0", name="ck_benchmark_configs_request_rate"),
        schema="ingest",
        postgresql_partition_by="HASH (model_id)",
    )
    for remainder in range(PARTITIONS):
        op.execute(
            f"CREATE TABLE ingest.benchmark_configs_p{remainder} "
            "PARTITION OF ingest.benchmark_configs "
            f"FOR VALUES WITH (MODULUS {PARTITIONS}, REMAINDER {remainder})"
        )
    # Pages of configurations are read in order of id, whatever the model.
    op.create_index("idx_benchmark_configs_id", "benchmark_configs", ["id"], schema="ingest")


def downgrade() -> None:
    op.drop_table("benchmark_configs", schema="ingest")
