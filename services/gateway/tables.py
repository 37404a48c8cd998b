"""The tables of the schema `gateway`: what its migrations add up to."""

import uuid

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TIMESTAMP, UUID

# The organization the first migration makes; keys made on the command line belong to it.
DEFAULT_ORGANIZATION_ID = uuid.UUID("00000000-0000-7000-8000-000000000001")

metadata = MetaData(
    schema="gateway",
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    },
)

_Time = TIMESTAMP(timezone=True)
_Id = UUID(as_uuid=True)

organizations = Table(
    "organizations",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("name", Text, nullable=False),
    Column("created_at", _Time, server_default=func.now(), nullable=False),
    UniqueConstraint("name"),
)

users = Table(
    "users",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("organization_id", _Id, ForeignKey(organizations.c.id), nullable=False),
    Column("email", Text, nullable=False),
    Column("display_name", Text, nullable=False),
    Column("created_at", _Time, server_default=func.now(), nullable=False),
    Column("disabled_at", _Time),
    Column("role", Text, server_default="VIEWER", nullable=False),
    # Who it is to the issuer of tokens; without one the email decides.
    Column("subject", Text),
    UniqueConstraint("email"),
    UniqueConstraint("subject"),
    CheckConstraint("role IN ('VIEWER', 'RUNNER', 'EDITOR', 'ADMIN')", name="role_known"),
    Index(None, "organization_id", "created_at", "id"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("organization_id", _Id, ForeignKey(organizations.c.id), nullable=False),
    Column("name", Text, nullable=False),
    # HMAC-SHA256 of the whole key under the pepper, which is not in the database.
    Column("secret_hmac", LargeBinary, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("created_at", _Time, server_default=func.now(), nullable=False),
    Column("expires_at", _Time),
    Column("revoked_at", _Time),
    Column("last_used_at", _Time),
    Column("created_by", Text, nullable=False),
    # Whose key it is; it ends with the user.
    Column("user_id", _Id, ForeignKey(users.c.id)),
    # Names of the hardware that results may be sent for; none: any.
    Column("hardware", ARRAY(Text), server_default="{}", nullable=False),
    # Whether what is sent with it is public; absent: as the organization's setting says.
    Column("publishes", Boolean),
    # The secret before the last rotation, and until when it works.
    Column("previous_hmac", LargeBinary),
    Column("previous_until", _Time),
    # Where null, the limit is that of the gateway's settings.
    Column("calls_per_second", Double),
    Column("rows_per_second", Double),
    Column("concurrent_calls", Integer),
    Column("concurrent_streams", Integer),
    Column("calls_per_day", BigInteger),
    Column("rows_per_day", BigInteger),
    CheckConstraint(
        "least(calls_per_second, rows_per_second, concurrent_calls, concurrent_streams,"
        " calls_per_day, rows_per_day) > 0",
        name="limits_above_zero",
    ),
    CheckConstraint("octet_length(secret_hmac) = 32", name="hmac_size"),
    CheckConstraint("octet_length(previous_hmac) = 32", name="previous_hmac_size"),
    CheckConstraint(
        "(previous_hmac IS NULL) = (previous_until IS NULL)", name="previous_hmac_ends"
    ),
    CheckConstraint(
        "cardinality(scopes) > 0 AND scopes <@ ARRAY['READ', 'INGEST', 'CATALOG', 'ADMIN']",
        name="scopes_known",
    ),
    Index(None, "organization_id", "created_at", "id"),
)

# What each caller used on each UTC day. A key's row outlives the key.
daily_use = Table(
    "daily_use",
    metadata,
    Column("day", Date, primary_key=True),
    Column("caller", Text, primary_key=True),
    Column("calls", BigInteger, nullable=False),
    Column("rows", BigInteger, nullable=False),
)

settings = Table(
    "settings",
    metadata,
    Column("organization_id", _Id, ForeignKey(organizations.c.id), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", JSONB, nullable=False),
    Column("updated_at", _Time, server_default=func.now(), nullable=False),
    Column("updated_by", Text, nullable=False),
)

audit_log = Table(
    "audit_log",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("organization_id", _Id, ForeignKey(organizations.c.id), nullable=False),
    Column("logged_at", _Time, server_default=func.now(), nullable=False),
    # A key's id, or how else it was done.
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("detail", JSONB, server_default=text("'{}'::jsonb"), nullable=False),
    Index(None, "organization_id", "logged_at"),
    Index(None, "logged_at", "id"),
)
