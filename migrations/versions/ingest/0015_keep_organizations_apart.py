"""Keep what belongs to an organization from all others, by row-level security.

A configuration, a stream, a refused row belongs to an organization, or to nobody: then it is public
(everything from before is). A transaction says on whose behalf it is with the setting
`servemark.organization`: an organization's id, or `all` for the service's own work. One that says
nothing, as code from before this migration does, sees what is public.

Policies hold for the service's role, which owns nothing here. They do not hold for the owner, so
neither for migrations nor for functions that run with the owner's rights.

Results carry no owner: TimescaleDB refuses row-level security on tables that are kept in columns.
Each belongs to a configuration, and whoever reads results has to see that.

`daily_model_stats` is of public results. What a model's day is to an organization that has results
of its own in it is kept beside it.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

PARTITIONS = 4
OWNED = ("benchmark_configs", "streams", "result_rejections", "organization_daily_stats")
_ORGANIZATION = "current_setting('servemark.organization', true)"
OWN_OR_PUBLIC = f"org_id IS NULL OR {_ORGANIZATION} IN (org_id::text, 'all')"
# Of a configuration that may be seen; the policy of those holds in here, too.
OF_SEEN_CONFIG = f"""
    {_ORGANIZATION} = 'all' OR EXISTS (
        SELECT FROM ingest.benchmark_configs AS config
        WHERE config.model_id = config_summaries.model_id AND config.id = config_summaries.config_id
    )"""


def upgrade() -> None:
    for table in ("streams", "result_rejections"):
        op.add_column(table, sa.Column("org_id", sa.Uuid(), nullable=True), schema="ingest")
    op.create_table(
        "organization_daily_stats",
        sa.Column("org_id", sa.Uuid(), nullable=False),
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
        sa.PrimaryKeyConstraint(
            "org_id", "model_id", "stats_date", name="pk_organization_daily_stats"
        ),
        schema="ingest",
    )
    for table in OWNED:
        _guard(table, OWN_OR_PUBLIC)
    _guard("config_summaries", OF_SEEN_CONFIG)
    for remainder in range(PARTITIONS):
        # Nobody reads a partition past its parent's policy.
        _enable(f"benchmark_configs_p{remainder}")


def _guard(table: str, condition: str) -> None:
    op.execute(f"CREATE POLICY organization ON ingest.{table} USING ({condition})")
    _enable(table)


def _enable(table: str) -> None:
    op.execute(f"ALTER TABLE ingest.{table} ENABLE ROW LEVEL SECURITY")


def downgrade() -> None:
    for remainder in range(PARTITIONS):
        op.execute(f"ALTER TABLE ingest.benchmark_configs_p{remainder} DISABLE ROW LEVEL SECURITY")
    op.drop_table("organization_daily_stats", schema="ingest")
    for table in ("benchmark_configs", "streams", "result_rejections", "config_summaries"):
        op.execute(f"DROP POLICY organization ON ingest.{table}")
        op.execute(f"ALTER TABLE ingest.{table} DISABLE ROW LEVEL SECURITY")
    for table in ("streams", "result_rejections"):
        op.drop_column(table, "org_id", schema="ingest")
