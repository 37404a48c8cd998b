"""The tables of the schema `ranking`: what its migrations add up to."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
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

from servemark.runtime.events.inbox import inbox_tables

metadata = MetaData(
    schema="ranking",
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    },
)

_Time = TIMESTAMP(timezone=True)
_Id = UUID(as_uuid=True)

matrix_versions = Table(
    "matrix_versions",
    metadata,
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("content_digest", LargeBinary, nullable=False),
    Column("alternative_count", Integer, nullable=False),
    Column("price_boundary_at", _Time),
    Column("made_at", _Time, nullable=False),
)

matrix_rows = Table(
    "matrix_rows",
    metadata,
    Column("config_id", _Id, primary_key=True),
    Column("model_id", _Id, nullable=False),
    Column("matrix_version", BigInteger, nullable=False),
    Column("content", JSONB, nullable=False),
    Column("content_digest", LargeBinary, nullable=False),
)

ranking_inputs = Table(
    "ranking_inputs",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("id", _Id, primary_key=True),
    Column("matrix_version", BigInteger, nullable=False),
    Column("content", JSONB, nullable=False),
    Column("content_digest", LargeBinary, nullable=False),
    CheckConstraint("kind IN ('hardware_prices', 'use_case')", name="kind_known"),
)

rank_references = Table(
    "rank_references",
    metadata,
    # The nil UUID stands for requests that name no use case.
    Column("use_case_id", _Id, primary_key=True),
    Column("metric", Text, primary_key=True),
    Column("low", Double, nullable=False),
    Column("high", Double, nullable=False),
    Column("candidate_count", Integer, nullable=False),
    Column("source", Text, nullable=False),
    Column("matrix_version", BigInteger, nullable=False),
    CheckConstraint("low < high", name="bounds_ordered"),
)

ranking_generations = Table(
    "ranking_generations",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("use_case_id", _Id, nullable=False),
    Column("use_case_category", Text, nullable=False),
    Column("matrix_version", BigInteger, nullable=False),
    Column("ranked_count", Integer, nullable=False),
    Column("content_digest", LargeBinary, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("calculated_at", _Time, nullable=False),
    Column("expires_at", _Time, nullable=False),
    Column("superseded_at", _Time),
    # The newest matrix that is known to give the same ranking.
    Column("holds_version", BigInteger, server_default="0", nullable=False),
    Index(
        "uq_ranking_generations_current",
        "use_case_id",
        unique=True,
        postgresql_where=text("superseded_at IS NULL"),
    ),
    Index(
        "ix_ranking_generations_superseded_at",
        "superseded_at",
        postgresql_where=text("superseded_at IS NOT NULL"),
    ),
)

model_rankings = Table(
    "model_rankings",
    metadata,
    Column("id", _Id, primary_key=True),
    Column(
        "generation_id",
        _Id,
        ForeignKey(ranking_generations.c.id, ondelete="CASCADE"),
        nullable=False,
    ),
    Column("ordinal", Integer, nullable=False),
    Column("model_id", _Id, nullable=False),
    Column("config_id", _Id, nullable=False),
    Column("use_case_category", Text, nullable=False),
    Column("composite_score", Double, nullable=False),
    Column("rank_position", Integer, nullable=False),
    Column("score_breakdown", JSONB, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("calculated_at", _Time, nullable=False),
    Column("expires_at", _Time, nullable=False),
    Column("superseded_at", _Time),
    UniqueConstraint("generation_id", "ordinal"),
    # The requirement's two. The service reads a generation of one use case; these are for questions
    # across a category, which people and dashboards ask in SQL: the best scores there ever were,
    # and the first places that are not superseded (filtered by `expires_at > now()`).
    Index(
        "idx_model_rankings_use_case",
        "use_case_category",
        text("composite_score DESC"),
        text("calculated_at DESC"),
    ),
    Index(
        "idx_active_rankings",
        "use_case_category",
        "rank_position",
        postgresql_where=text("superseded_at IS NULL"),
    ),
)

noted_changes = Table(
    "noted_changes",
    metadata,
    Column("id", _Id, primary_key=True),
    # NULL: anything may have changed.
    Column("config_ids", ARRAY(_Id)),
    Column("noted_at", _Time, server_default=func.now(), nullable=False),
    Column("taken_at", _Time),
)

processed_events, dead_letters = inbox_tables(metadata)
