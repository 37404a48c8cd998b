"""Create daily_model_stats and the marks of the days that have to be calculated again.

Marks are only ever appended: one row a day kept by an upsert would make every stream that measures
the same model wait for the others' commits.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "dirty_days",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("model_id", sa.Uuid(), nullable=False),
        sa.Column("stats_date", sa.Date(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            nullable=False,
            server_default=sa.text("now()"),
        ),
        sa.PrimaryKeyConstraint("id", name="pk_dirty_days"),
        schema="ingest",
    )
    op.create_table(
        "daily_model_stats",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("model_id", sa.Uuid(), nullable=False),
        sa.Column("stats_date", sa.Date(), nullable=False),
        sa.Column("avg_accuracy", sa.Double(), nullable=True),
        sa.Column("avg_throughput", sa.Double(), nullable=True),
        sa.Column("p95_latency_ms", sa.Double(), nullable=True),
        sa.Column("total_benchmarks", sa.BigInteger(), nullable=False),
        sa.Column(
            "aggregated_metrics", JSONB(), nullable=False, server_default=sa.text("'{}'::jsonb")
        ),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_daily_model_stats"),
        schema="ingest",
    )
    # The requirement's index, which also keeps one row a model and day.
    op.create_index(
        "idx_daily_stats_model_date",
        "daily_model_stats",
        ["model_id", sa.text("stats_date DESC")],
        unique=True,
        schema="ingest",
    )
    op.create_index(
        "idx_daily_stats_date_model",
        "daily_model_stats",
        [sa.text("stats_date DESC"), "model_id"],
        schema="ingest",
    )


def downgrade() -> None:
    op.drop_table("daily_model_stats", schema="ingest")
    op.drop_table("dirty_days", schema="ingest")
