"""Record how results are stored, so that the code and `servemark doctor` need not guess.

A table that was created with plain partitions cannot become a hypertable in place, so the profile
is a fact of the database, not a setting of a process.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    settings = op.create_table(
        "settings",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            nullable=False,
            server_default=sa.text("now()"),
        ),
        sa.PrimaryKeyConstraint("name", name="pk_settings"),
        schema="ingest",
    )
    op.bulk_insert(settings, [{"name": "storage_profile", "value": "native"}])


def downgrade() -> None:
    op.drop_table("settings", schema="ingest")
