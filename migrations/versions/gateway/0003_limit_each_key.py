"""Keep limits of single keys, and what each caller used on each UTC day.

A key without a limit of its own has that of the gateway's settings. What was used is counted over
all gateways, and survives their restarts; callers are not references, so that what a deleted one
used stays known.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SCHEMA = "gateway"
LIMITS = {
    "calls_per_second": sa.Double,
    "rows_per_second": sa.Double,
    "concurrent_calls": sa.Integer,
    "concurrent_streams": sa.Integer,
    "calls_per_day": sa.BigInteger,
    "rows_per_day": sa.BigInteger,
}


def upgrade() -> None:
    for name, kind in LIMITS.items():
        op.add_column("api_keys", sa.Column(name, kind), schema=SCHEMA)
    # New columns are null in every row, so there is nothing to check now, nor a long lock.
    op.execute(
        "ALTER TABLE gateway.api_keys ADD CONSTRAINT ck_api_keys_limits_above_zero CHECK ("
        "least(calls_per_second, rows_per_second, concurrent_calls, concurrent_streams,"
        " calls_per_day, rows_per_day) > 0)"
    )
    op.create_table(
        "daily_use",
        sa.Column("day", sa.Date, nullable=False),
        sa.Column("caller", sa.Text, nullable=False),
        sa.Column("calls", sa.BigInteger, nullable=False),
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("day", "caller", name="pk_daily_use"),
        schema=SCHEMA,
    )


def downgrade() -> None:
    op.drop_table("daily_use", schema=SCHEMA)
    op.drop_constraint("ck_api_keys_limits_above_zero", "api_keys", schema=SCHEMA, type_="check")
    for name in reversed(LIMITS):
        op.drop_column("api_keys", name, schema=SCHEMA)
