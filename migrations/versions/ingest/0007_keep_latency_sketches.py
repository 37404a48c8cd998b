"""Keep the sketches of a run's latencies, where the client sends them.

An array each: the first bucket, the samples of 0 ms, then the counts of the buckets from the first
on. Two nullable columns at the end of a row cost a bit each where they are absent.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

COLUMNS = ("ttft_sketch", "tpot_sketch")


def upgrade() -> None:
    for name in COLUMNS:
        op.add_column("benchmark_results", sa.Column(name, ARRAY(sa.Integer())), schema="ingest")


def downgrade() -> None:
    for name in COLUMNS:
        op.drop_column("benchmark_results", name, schema="ingest")
