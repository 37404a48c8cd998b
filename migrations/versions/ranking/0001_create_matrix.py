"""Keep the condensed matrix, so that a started process ranks before its neighbours answer.

Rows are those of the newest version only, each with the version it last changed in: results arrive
all the time and touch few configurations, so whole copies would cost far more than they tell.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP, UUID

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SCHEMA = "ranking"


def upgrade() -> None:
    op.create_table(
        "matrix_versions",
        sa.Column("version", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("content_digest", sa.LargeBinary, nullable=False),
        sa.Column("alternative_count", sa.Integer, nullable=False),
        sa.Column("price_boundary_at", TIMESTAMP(timezone=True)),
        sa.Column("made_at", TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("version", name="pk_matrix_versions"),
        schema=SCHEMA,
    )
    op.create_table(
        "matrix_rows",
        sa.Column("config_id", UUID(as_uuid=True), nullable=False),
        sa.Column("model_id", UUID(as_uuid=True), nullable=False),
        sa.Column("matrix_version", sa.BigInteger, nullable=False),
        sa.Column("content", JSONB, nullable=False),
        sa.Column("content_digest", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("config_id", name="pk_matrix_rows"),
        schema=SCHEMA,
    )
    op.create_table(
        "ranking_inputs",
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("id", UUID(as_uuid=True), nullable=False),
        sa.Column("matrix_version", sa.BigInteger, nullable=False),
        sa.Column("content", JSONB, nullable=False),
        sa.Column("content_digest", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("kind", "id", name="pk_ranking_inputs"),
        sa.CheckConstraint("kind IN ('hardware_prices', 'use_case')", name="kind_known"),
        schema=SCHEMA,
    )
    op.create_table(
        "rank_references",
        sa.Column("use_case_id", UUID(as_uuid=True), nullable=False),
        sa.Column("metric", sa.Text, nullable=False),
        sa.Column("low", sa.Double, nullable=False),
        sa.Column("high", sa.Double, nullable=False),
        sa.Column("candidate_count", sa.Integer, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("matrix_version", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("use_case_id", "metric", name="pk_rank_references"),
        sa.CheckConstraint("low < high", name="bounds_ordered"),
        schema=SCHEMA,
    )


def downgrade() -> None:
    for table in ("rank_references", "ranking_inputs", "matrix_rows", "matrix_versions"):
        op.drop_table(table, schema=SCHEMA)
