"""Keep what events say has changed until it is ranked, so that a process that dies loses none."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, TIMESTAMP, UUID

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

SCHEMA = "ranking"


def upgrade() -> None:
    op.create_table(
        "noted_changes",
        sa.Column("id", UUID(as_uuid=True), nullable=False),
        sa.Column("config_ids", ARRAY(UUID(as_uuid=True))),
        sa.Column(
            "noted_at", TIMESTAMP(timezone=True), server_default=sa.func.now(), nullable=False
        ),
        sa.Column("taken_at", TIMESTAMP(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="pk_noted_changes"),
        schema=SCHEMA,
    )


def downgrade() -> None:
    op.drop_table("noted_changes", schema=SCHEMA)
