"""Keep what the runs of each configuration say together, and how many requests say it.

Percentiles cannot be averaged, and neither can rates: the percentile of all requests comes from
merged sketches, a rate from all requests over all time. Readers that want that read every run.

An entry for each figure, NULL where runs cannot be pooled:

    pooled           the figure over all requests of all runs
    pooled_counts    requests, or samples, behind it
    pooled_runs      runs behind it
    request_counts   requests of the runs that have the figure, where known
    newest_at        when the newest of those runs ended

Code from before this migration goes on writing rows for a while and leaves these columns as they
are. What it writes has an `updated_at` that is not `pooled_at`: readers take such a row for stale,
and the roll-up calculates it anew.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)
COLUMNS: dict[str, sa.types.TypeEngine[Any]] = {
    "pooled": ARRAY(sa.Double()),
    "pooled_counts": ARRAY(sa.BigInteger()),
    "pooled_runs": ARRAY(sa.BigInteger()),
    "request_counts": ARRAY(sa.BigInteger()),
    "newest_at": ARRAY(_TIME),
    "pooled_at": _TIME,
}


def upgrade() -> None:
    for name, kind in COLUMNS.items():
        op.add_column("config_summaries", sa.Column(name, kind), schema="ingest")


def downgrade() -> None:
    for name in COLUMNS:
        op.drop_column("config_summaries", name, schema="ingest")
