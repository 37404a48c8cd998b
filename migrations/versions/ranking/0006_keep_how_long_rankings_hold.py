"""Keep with a ranking the newest matrix that gives the same: none of an older may follow it.

Of those that are there it is not known, so they are ranked once more.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

SCHEMA = "ranking"


def upgrade() -> None:
    op.add_column(
        "ranking_generations",
        sa.Column("holds_version", sa.BigInteger, server_default="0", nullable=False),
        schema=SCHEMA,
    )


def downgrade() -> None:
    op.drop_column("ranking_generations", "holds_version", schema=SCHEMA)
