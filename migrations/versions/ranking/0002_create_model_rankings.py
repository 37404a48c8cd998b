"""Store rankings as generations that are never changed, only superseded.

The requirement's idx_active_rankings filters on expires_at > now(), which is no immutable
condition; it filters on superseded_at instead, and queries compare expires_at themselves.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP, UUID

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SCHEMA = "ranking"


def upgrade() -> None:
    op.create_table(
        "ranking_generations",
        sa.Column("id", UUID(as_uuid=True), nullable=False),
        sa.Column("use_case_id", UUID(as_uuid=True), nullable=False),
        sa.Column("use_case_category", sa.Text, nullable=False),
        sa.Column("matrix_version", sa.BigInteger, nullable=False),
        sa.Column("ranked_count", sa.Integer, nullable=False),
        sa.Column("content_digest", sa.LargeBinary, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("calculated_at", TIMESTAMP(timezone=True), nullable=False),
        sa.Column("expires_at", TIMESTAMP(timezone=True), nullable=False),
        sa.Column("superseded_at", TIMESTAMP(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="pk_ranking_generations"),
        schema=SCHEMA,
    )
    op.create_index(
        "uq_ranking_generations_current",
        "ranking_generations",
        ["use_case_id"],
        unique=True,
        schema=SCHEMA,
        postgresql_where=sa.text("superseded_at IS NULL"),
    )
    op.create_index(
        "ix_ranking_generations_superseded_at",
        "ranking_generations",
        ["superseded_at"],
        schema=SCHEMA,
        postgresql_where=sa.text("superseded_at IS NOT NULL"),
    )
    op.create_table(
        "model_rankings",
        sa.Column("id", UUID(as_uuid=True), nullable=False),
        sa.Column("generation_id", UUID(as_uuid=True), nullable=False),
        sa.Column("ordinal", sa.Integer, nullable=False),
        sa.Column("model_id", UUID(as_uuid=True), nullable=False),
        sa.Column("config_id", UUID(as_uuid=True), nullable=False),
        sa.Column("use_case_category", sa.Text, nullable=False),
        sa.Column("composite_score", sa.Double, nullable=False),
        sa.Column("rank_position", sa.Integer, nullable=False),
        sa.Column("score_breakdown", JSONB, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("calculated_at", TIMESTAMP(timezone=True), nullable=False),
        sa.Column("expires_at", TIMESTAMP(timezone=True), nullable=False),
        sa.Column("superseded_at", TIMESTAMP(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="pk_model_rankings"),
        sa.ForeignKeyConstraint(
            ["generation_id"],
            [f"{SCHEMA}.ranking_generations.id"],
            name="fk_model_rankings_generation_id_ranking_generations",
            ondelete="CASCADE",
        ),
        sa.UniqueConstraint(
            "generation_id", "ordinal", name="uq_model_rankings_generation_id_ordinal"
        ),
        schema=SCHEMA,
    )
    op.create_index(
        "idx_model_rankings_use_case",
        "model_rankings",
        [
            "use_case_category",
            sa.text("composite_score DESC"),
            sa.text("calculated_at DESC"),
        ],
        schema=SCHEMA,
    )
    op.create_index(
        "idx_active_rankings",
        "model_rankings",
        ["use_case_category", "rank_position"],
        schema=SCHEMA,
        postgresql_where=sa.text("superseded_at IS NULL"),
    )


def downgrade() -> None:
    op.drop_table("model_rankings", schema=SCHEMA)
    op.drop_table("ranking_generations", schema=SCHEMA)
