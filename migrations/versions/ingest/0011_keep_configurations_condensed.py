"""Keep each configuration's runs condensed, and mark the configurations that got new runs.

The ranking reads the median, mean, ends and count of every figure of every configuration, and read
all runs for that. Now a row for each configuration and window (all runs, or those of the last seven
days) holds them; a reader calculates only what is marked.

Marks are appended, one row a batch, as those of days are. An array costs a batch sixteen bytes for
each of its configurations, and is kept as it comes: identifiers do not compress. The roll-up takes
them over as `queued` rows of a few hundred configurations, each once, so that marks stay few
however long results keep streaming in.

Whoever removes a whole day of results, or puts one back, calls `ingest.mark_day` in the same
transaction: before the rows go, after they came.

Code from before this migration goes on writing for a while, and marks days only. `configs_marked`
tells such marks from those of today's code, and the roll-up adds what they leave out.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


MARK_DAY = """
CREATE FUNCTION ingest.mark_day(day date) RETURNS void
LANGUAGE sql SET search_path = ingest, pg_temp AS $$
    WITH runs AS (
        SELECT DISTINCT model_id, config_id FROM ingest.benchmark_results
        WHERE benchmarked_at >= day::timestamp AT TIME ZONE 'UTC'
            AND benchmarked_at < (day + 1)::timestamp AT TIME ZONE 'UTC'
    ), days AS (
        INSERT INTO ingest.dirty_days (model_id, stats_date, configs_marked)
        SELECT DISTINCT model_id, day, true FROM runs
    )
    INSERT INTO ingest.dirty_configs (config_ids)
    SELECT array_agg(config_id) FROM runs HAVING count(*) > 0
$$
"""


def _id(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.Uuid(), nullable=False)


def _count(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def _time(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def upgrade() -> None:
    op.create_table(
        "dirty_configs",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            nullable=False,
            server_default=sa.text("now()"),
        ),
        sa.Column("queued", sa.Boolean(), nullable=False, server_default=sa.text("false")),
        sa.Column("config_ids", ARRAY(sa.Uuid()), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_dirty_configs"),
        schema="ingest",
    )
    op.execute("ALTER TABLE ingest.dirty_configs ALTER COLUMN config_ids SET STORAGE EXTERNAL")
    op.create_table(
        "config_summaries",
        _id("config_id"),
        # What a configuration is filtered by. It never changes, so a copy stays true.
        _id("model_id"),
        _id("model_version_id"),
        _id("hardware_config_id"),
        _id("framework_id"),
        _count("run_count"),
        _count("request_count"),
        _count("failed_request_count"),
        # Runs from here on were counted. The row still says what the window holds on a later day
        # unless its oldest run has left the window.
        _time("counted_from"),
        _time("oldest_benchmarked_at", nullable=True),
        _time("newest_benchmarked_at", nullable=True),
        _time("updated_at"),
        # 0: all runs.
        sa.Column("recent_days", sa.SmallInteger(), nullable=False),
        # An entry for each figure, in the order of `Metric`. Next to what has a fixed width: what
        # comes after a text is found more slowly.
        *(
            sa.Column(name, ARRAY(sa.Double()), nullable=False)
            for name in ("medians", "means", "lowest", "highest")
        ),
        sa.Column("counts", ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("workload_type", sa.Text(), nullable=False),
        sa.Column("provenance", sa.Text(), nullable=False),
        sa.Column("tools", ARRAY(sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("recent_days", "config_id", name="pk_config_summaries"),
        schema="ingest",
        # Rewritten again and again: room on the page keeps that off the indexes.
        postgresql_with={"fillfactor": "80"},
    )
    op.create_index(
        "idx_config_summaries_workload",
        "config_summaries",
        ["recent_days", "workload_type", "config_id"],
        schema="ingest",
    )
    op.create_index(
        "idx_config_summaries_model",
        "config_summaries",
        ["recent_days", "model_id", "config_id"],
        schema="ingest",
    )
    op.create_index(
        "idx_config_summaries_oldest",
        "config_summaries",
        ["oldest_benchmarked_at"],
        schema="ingest",
        postgresql_where=sa.text("recent_days > 0"),
    )
    op.add_column(
        "dirty_days",
        sa.Column("configs_marked", sa.Boolean(), nullable=False, server_default=sa.text("false")),
        schema="ingest",
    )
    op.execute(
        """
        INSERT INTO ingest.dirty_configs (queued, config_ids)
        SELECT true, array_agg(id)
        FROM (
            SELECT id, (row_number() OVER (
                ORDER BY model_version_id, hardware_config_id, framework_id, id
            ) - 1) / 256 AS part
            FROM ingest.benchmark_configs
        ) AS known
        GROUP BY part ORDER BY part
        """
    )
    op.execute(MARK_DAY)


def downgrade() -> None:
    op.execute("DROP FUNCTION ingest.mark_day(date)")
    op.drop_column("dirty_days", "configs_marked", schema="ingest")
    op.drop_table("config_summaries", schema="ingest")
    op.drop_table("dirty_configs", schema="ingest")
