"""Tell how close two names are, so that a name that finds nothing is answered with the nearest.

pg_trgm comes with PostgreSQL, and a database's owner may create it. Services run with a search_path
of their own schema only, and an administrator may have put the extension anywhere; a function of
ours, bound to the extension's at creation, spares both the knowledge.
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    op.execute(
        """
        DO $$ BEGIN
            EXECUTE format(
                'CREATE FUNCTION catalog.closeness(a text, b text) RETURNS real '
                'LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN %I.similarity(a, b)',
                (SELECT n.nspname FROM pg_extension e
                 JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_trgm')
            );
        END $$
        """
    )


def downgrade() -> None:
    op.execute("DROP FUNCTION catalog.closeness(text, text)")
