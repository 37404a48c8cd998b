"""Remember which events were taken in, as they come at least once, and which could not be.

A week is far longer than an event can be redelivered; older ones are deleted by the service.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TIMESTAMP, UUID

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SCHEMA = "ranking"


def upgrade() -> None:
    op.create_table(
        "processed_events",
        sa.Column("event_id", UUID(as_uuid=True), nullable=False),
        sa.Column(
            "processed_at", TIMESTAMP(timezone=True), server_default=sa.func.now(), nullable=False
        ),
        sa.PrimaryKeyConstraint("event_id", name="pk_processed_events"),
        schema=SCHEMA,
    )
    op.create_index(
        "ix_processed_events_processed_at", "processed_events", ["processed_at"], schema=SCHEMA
    )
    op.create_table(
        "dead_letters",
        sa.Column("id", UUID(as_uuid=True), nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column(
            "created_at", TIMESTAMP(timezone=True), server_default=sa.func.now(), nullable=False
        ),
        sa.PrimaryKeyConstraint("id", name="pk_dead_letters"),
        schema=SCHEMA,
    )


def downgrade() -> None:
    op.drop_table("dead_letters", schema=SCHEMA)
    op.drop_table("processed_events", schema=SCHEMA)
