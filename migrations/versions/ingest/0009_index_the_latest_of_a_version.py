"""Index the latest results of a model version, and no longer those of each configuration.

The requirement's index on version, hardware and framework does not serve "the latest results of a
model version": hardware and framework lie between the version and the date. An index on each
configuration's times, on the other hand, was the dearest of all: with thousands of configurations
every row lands on a page of its own (200,000 rows of 6,000 configurations: 183,000 rows/s with the
other indexes off, 316,000 without this one). There are few versions, and their times rise, so this
index grows at few places. What a configuration's runs are is asked through the requirement's index.
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index(
        "idx_benchmark_results_config_latest", table_name="benchmark_results", schema="ingest"
    )
    op.create_index(
        "idx_benchmark_results_version_latest",
        "benchmark_results",
        ["model_version_id", "benchmarked_at"],
        schema="ingest",
    )


def downgrade() -> None:
    op.drop_index(
        "idx_benchmark_results_version_latest", table_name="benchmark_results", schema="ingest"
    )
    op.execute(
        "CREATE INDEX idx_benchmark_results_config_latest "
        "ON ingest.benchmark_results (config_id, benchmarked_at DESC)"
    )
