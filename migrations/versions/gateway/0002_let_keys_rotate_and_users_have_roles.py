"""Let keys rotate with an overlap and be bound to hardware, and users sign in with a role.

Every column is new and may be absent, so the gateway before this one goes on beside it. A key says
itself whether what is sent with it is public, or leaves it to its organization's setting.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, TIMESTAMP

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SCHEMA = "gateway"

_time = TIMESTAMP(timezone=True)


def upgrade() -> None:
    role = sa.Column("role", sa.Text, server_default="VIEWER", nullable=False)
    op.add_column("users", role, schema=SCHEMA)
    op.add_column("users", sa.Column("subject", sa.Text), schema=SCHEMA)
    op.create_check_constraint(
        "ck_users_role_known",
        "users",
        "role IN ('VIEWER', 'RUNNER', 'EDITOR', 'ADMIN')",
        schema=SCHEMA,
    )
    op.create_unique_constraint("uq_users_subject", "users", ["subject"], schema=SCHEMA)
    op.create_index(
        "ix_users_organization_id_created_at_id",
        "users",
        ["organization_id", "created_at", "id"],
        schema=SCHEMA,
    )
    columns: tuple[sa.Column[Any], ...] = (
        sa.Column("user_id", sa.Uuid),
        sa.Column("hardware", ARRAY(sa.Text), server_default="{}", nullable=False),
        sa.Column("publishes", sa.Boolean),
        sa.Column("previous_hmac", sa.LargeBinary),
        sa.Column("previous_until", _time),
    )
    for column in columns:
        op.add_column("api_keys", column, schema=SCHEMA)
    op.create_foreign_key(
        "fk_api_keys_user_id_users",
        "api_keys",
        "users",
        ["user_id"],
        ["id"],
        source_schema=SCHEMA,
        referent_schema=SCHEMA,
    )
    op.create_check_constraint(
        "ck_api_keys_previous_hmac_size",
        "api_keys",
        "octet_length(previous_hmac) = 32",
        schema=SCHEMA,
    )
    op.create_check_constraint(
        "ck_api_keys_previous_hmac_ends",
        "api_keys",
        "(previous_hmac IS NULL) = (previous_until IS NULL)",
        schema=SCHEMA,
    )
    # The log of all organizations together, the newest first.
    op.create_index("ix_audit_log_logged_at_id", "audit_log", ["logged_at", "id"], schema=SCHEMA)


def downgrade() -> None:
    op.drop_index("ix_audit_log_logged_at_id", "audit_log", schema=SCHEMA)
    for name in ("previous_until", "previous_hmac", "publishes", "hardware", "user_id"):
        op.drop_column("api_keys", name, schema=SCHEMA)
    op.drop_index("ix_users_organization_id_created_at_id", "users", schema=SCHEMA)
    for name in ("subject", "role"):
        op.drop_column("users", name, schema=SCHEMA)
