"""Keep with a dead letter its topic and how often it was delivered, for whoever replays it.

A letter's id is from here on its event's, so that an event is never two letters.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SCHEMA = "ranking"


def upgrade() -> None:
    op.add_column(
        "dead_letters",
        sa.Column("topic", sa.Text, server_default="", nullable=False),
        schema=SCHEMA,
    )
    op.add_column(
        "dead_letters",
        sa.Column("delivery_count", sa.Integer, server_default="0", nullable=False),
        schema=SCHEMA,
    )


def downgrade() -> None:
    op.drop_column("dead_letters", "delivery_count", schema=SCHEMA)
    op.drop_column("dead_letters", "topic", schema=SCHEMA)
