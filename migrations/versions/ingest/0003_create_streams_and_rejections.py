"""Create streams, their dictionaries of configurations, and the rows that were refused.

A stream's row holds its cursor: every batch locks it, compares its sequence and moves it on in the
transaction of the batch, which makes a repeat harmless and lets two clients of one stream take
turns.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def _count(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.BigInteger(), nullable=False, server_default=sa.text("0"))


def _time(name: str) -> sa.Column[object]:
    return sa.Column(
        name, sa.DateTime(timezone=True), nullable=False, server_default=sa.text("now()")
    )


def upgrade() -> None:
    op.create_table(
        "streams",
        sa.Column("stream_id", sa.Uuid(), nullable=False),
        # SHA-256 of the header: the same stream_id with another header is refused.
        sa.Column("header_digest", sa.LargeBinary(), nullable=False),
        sa.Column("tool", sa.Text(), nullable=False),
        sa.Column("tool_version", sa.Text(), nullable=False),
        sa.Column("provenance", sa.Text(), nullable=False),
        _count("next_sequence"),
        _count("stored_count"),
        _count("duplicate_count"),
        _count("rejected_count"),
        _time("created_at"),
        _time("updated_at"),
        sa.PrimaryKeyConstraint("stream_id", name="pk_streams"),
        schema="ingest",
        # Every batch rewrites its stream's row: room on the page keeps the rewrite off the index.
        postgresql_with={"fillfactor": "50"},
    )
    op.create_table(
        "stream_configs",
        sa.Column("stream_id", sa.Uuid(), nullable=False),
        sa.Column("config_index", sa.Integer(), nullable=False),
        # Both NULL while the catalog cannot resolve the entry; `failures` then says why.
        sa.Column("model_id", sa.Uuid(), nullable=True),
        sa.Column("config_id", sa.Uuid(), nullable=True),
        sa.Column("failures", JSONB(), nullable=False, server_default=sa.text("'[]'::jsonb")),
        sa.PrimaryKeyConstraint("stream_id", "config_index", name="pk_stream_configs"),
        sa.ForeignKeyConstraint(
            ["stream_id"], ["ingest.streams.stream_id"], name="fk_stream_configs_stream_id_streams"
        ),
        sa.ForeignKeyConstraint(
            ["model_id", "config_id"],
            ["ingest.benchmark_configs.model_id", "ingest.benchmark_configs.id"],
            name="fk_stream_configs_model_id_benchmark_configs",
        ),
        schema="ingest",
    )
    op.create_table(
        "result_rejections",
        # Rises with every row, so newest first is one backward scan.
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("stream_id", sa.Uuid(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("row_index", sa.Integer(), nullable=False),
        sa.Column("result_id", sa.Text(), nullable=False),
        # Name of the ErrorReason without its prefix.
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("payload_sha256", sa.LargeBinary(), nullable=False),
        _time("created_at"),
        sa.PrimaryKeyConstraint("id", name="pk_result_rejections"),
        sa.UniqueConstraint(
            "stream_id", "sequence", "row_index", name="uq_result_rejections_position"
        ),
        sa.ForeignKeyConstraint(
            ["stream_id"],
            ["ingest.streams.stream_id"],
            name="fk_result_rejections_stream_id_streams",
        ),
        schema="ingest",
    )
    op.create_index(
        "idx_result_rejections_stream_id", "result_rejections", ["stream_id", "id"], schema="ingest"
    )


def downgrade() -> None:
    op.drop_table("result_rejections", schema="ingest")
    op.drop_table("stream_configs", schema="ingest")
    op.drop_table("streams", schema="ingest")
