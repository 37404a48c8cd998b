"""Brings each service's schema to a revision: one history, one role and one version table each.

Migrations run while the previous code still runs, so none waits long for a lock, and two runners
at once take turns.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine

HERE = Path(__file__).resolve().parent
SCHEMAS = ("catalog", "ingest", "ranking", "gateway")
# Any constant will do; it only has to be the same in every runner.
ADVISORY_LOCK = 0x5E5E_3A4C


def _config(schema: str, connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(HERE))
    config.set_main_option("version_locations", str(HERE / "versions" / schema))
    config.set_main_option("path_separator", "os")
    config.attributes["schema"] = schema
    config.attributes["connection"] = connection
    return config


def head(schema: str) -> str:
    """The newest revision of a schema's history."""
    revision = ScriptDirectory.from_config(_config(schema)).get_current_head()
    if revision is None:
        raise LookupError(f"schema {schema!r} has no migrations")
    return revision


def _prepare(connection: Connection, schema: str) -> None:
    """Makes the schema and its role, and lets the role read and write the schema's tables only."""
    role = f"servemark_{schema}"
    connection.execute(
        text(
            f"""
            DO $$ BEGIN
                CREATE ROLE {role} LOGIN;
            EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
            END $$
            """
        )
    )
    for statement in (
        f"CREATE SCHEMA IF NOT EXISTS {schema}",
        f"REVOKE ALL ON SCHEMA {schema} FROM PUBLIC",
        f"GRANT USAGE ON SCHEMA {schema} TO {role}",
        f"ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} "
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {role}",
        f"ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT USAGE ON SEQUENCES TO {role}",
        f"ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC",
        f"ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT EXECUTE ON FUNCTIONS TO {role}",
    ):
        connection.execute(text(statement))


def _migrate(connection: Connection, schemas: Sequence[str], revision: str) -> None:
    connection.execute(text("SET lock_timeout = '5s'"))
    # The connection's lock, not a transaction's: it ends with the connection.
    connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": ADVISORY_LOCK})
    connection.commit()
    for schema in schemas:
        _prepare(connection, schema)
        connection.commit()
        config = _config(schema, connection)
        if revision == "base":
            command.downgrade(config, "base")
        else:
            command.upgrade(config, revision)


async def migrate_async(dsn: str, schemas: Sequence[str] = SCHEMAS, revision: str = "head") -> None:
    """Brings `schemas` to `revision` (`head` or `base`); `dsn` must own the database.

    Raises what the driver raises; a failed migration leaves the revision before it.
    """
    _, _, rest = dsn.partition("://")
    engine = create_async_engine(f"postgresql+asyncpg://{rest}")
    try:
        async with engine.connect() as connection:
            await connection.run_sync(_migrate, list(schemas), revision)
    finally:
        await engine.dispose()


def migrate(dsn: str, schemas: Sequence[str] = SCHEMAS, revision: str = "head") -> None:
    """`migrate_async` for callers without an event loop."""
    asyncio.run(migrate_async(dsn, schemas, revision))


def current(connection: Connection, schema: str) -> str | None:
    """The revision a schema is at, or None where it was never migrated."""
    exists = connection.execute(
        text("SELECT to_regclass(:name)"), {"name": f"{schema}.alembic_version"}
    ).scalar()
    if exists is None:
        return None
    revision: str | None = connection.execute(
        text(f"SELECT version_num FROM {schema}.alembic_version")  # noqa: S608
    ).scalar()
    return revision
