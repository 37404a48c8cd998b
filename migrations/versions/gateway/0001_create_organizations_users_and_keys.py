"""Keep who may call: organizations, users, API keys, settings, and a log of what was changed.

A key is kept as an HMAC, never as itself. The log can be added to and read, not changed: the
gateway's role has no right to. One organization is there from the start, so that the first key
belongs to somebody.
"""

from uuid import UUID

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TIMESTAMP

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SCHEMA = "gateway"
DEFAULT_ORGANIZATION = UUID("00000000-0000-7000-8000-000000000001")

_time = TIMESTAMP(timezone=True)
_id = sa.Uuid


def upgrade() -> None:
    organizations = op.create_table(
        "organizations",
        sa.Column("id", _id, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("created_at", _time, server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_organizations"),
        sa.UniqueConstraint("name", name="uq_organizations_name"),
        schema=SCHEMA,
    )
    op.create_table(
        "users",
        sa.Column("id", _id, nullable=False),
        sa.Column("organization_id", _id, nullable=False),
        sa.Column("email", sa.Text, nullable=False),
        sa.Column("display_name", sa.Text, nullable=False),
        sa.Column("created_at", _time, server_default=sa.func.now(), nullable=False),
        sa.Column("disabled_at", _time),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("email", name="uq_users_email"),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["gateway.organizations.id"],
            name="fk_users_organization_id_organizations",
        ),
        schema=SCHEMA,
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("organization_id", _id, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("secret_hmac", sa.LargeBinary, nullable=False),
        sa.Column("scopes", ARRAY(sa.Text), nullable=False),
        sa.Column("created_at", _time, server_default=sa.func.now(), nullable=False),
        sa.Column("expires_at", _time),
        sa.Column("revoked_at", _time),
        sa.Column("last_used_at", _time),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["gateway.organizations.id"],
            name="fk_api_keys_organization_id_organizations",
        ),
        sa.CheckConstraint("octet_length(secret_hmac) = 32", name="ck_api_keys_hmac_size"),
        sa.CheckConstraint(
            "cardinality(scopes) > 0 AND scopes <@ ARRAY['READ', 'INGEST', 'CATALOG', 'ADMIN']",
            name="ck_api_keys_scopes_known",
        ),
        schema=SCHEMA,
    )
    op.create_index(
        "ix_api_keys_organization_id_created_at_id",
        "api_keys",
        ["organization_id", "created_at", "id"],
        schema=SCHEMA,
    )
    op.create_table(
        "settings",
        sa.Column("organization_id", _id, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("value", JSONB, nullable=False),
        sa.Column("updated_at", _time, server_default=sa.func.now(), nullable=False),
        sa.Column("updated_by", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "name", name="pk_settings"),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["gateway.organizations.id"],
            name="fk_settings_organization_id_organizations",
        ),
        schema=SCHEMA,
    )
    op.create_table(
        "audit_log",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("organization_id", _id, nullable=False),
        sa.Column("logged_at", _time, server_default=sa.func.now(), nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("detail", JSONB, server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_log"),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["gateway.organizations.id"],
            name="fk_audit_log_organization_id_organizations",
        ),
        schema=SCHEMA,
    )
    op.create_index(
        "ix_audit_log_organization_id_logged_at",
        "audit_log",
        ["organization_id", "logged_at"],
        schema=SCHEMA,
    )
    op.execute("REVOKE UPDATE, DELETE ON gateway.audit_log FROM servemark_gateway")
    op.bulk_insert(organizations, [{"id": DEFAULT_ORGANIZATION, "name": "default"}])


def downgrade() -> None:
    for table in ("audit_log", "settings", "api_keys", "users", "organizations"):
        op.drop_table(table, schema=SCHEMA)
