"""Create the outbox, which says which batches became durable until consumers are told.

Written in the batch's own transaction: an event is neither lost with the process nor sent for a
batch that was rolled back.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_outbox"),
        schema="ingest",
    )
    op.create_index(
        "idx_outbox_unpublished",
        "outbox",
        ["id"],
        schema="ingest",
        postgresql_where=sa.text("published_at IS NULL"),
    )
    op.create_index(
        "idx_outbox_published_at",
        "outbox",
        ["published_at"],
        schema="ingest",
        postgresql_where=sa.text("published_at IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_table("outbox", schema="ingest")
