"""The schema `ranking`: its migrations make what tables.py says, and can be taken back."""

import asyncpg
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from migrations.runner import migrate_async
from services.ranking.tables import metadata


def _differences(connection: Connection) -> list[object]:
    context = MigrationContext.configure(
        connection,
        opts={
            "include_schemas": True,
            "include_name": lambda name, kind, _: (
                (name == "ranking") if kind == "schema" else name != "alembic_version"
            ),
            "compare_type": True,
            "compare_server_default": True,
        },
    )
    return list(compare_metadata(context, metadata))


async def test_the_migrations_make_exactly_the_tables_of_the_code(fresh_database: str) -> None:
    await migrate_async(fresh_database, ["ranking"])
    engine = create_async_engine(fresh_database.replace("postgresql://", "postgresql+asyncpg://"))
    try:
        async with engine.connect() as connection:
            assert await connection.run_sync(_differences) == []
    finally:
        await engine.dispose()


async def test_the_schema_goes_down_to_nothing_and_up_again(fresh_database: str) -> None:
    await migrate_async(fresh_database, ["ranking"])
    await migrate_async(fresh_database, ["ranking"], "base")
    connection = await asyncpg.connect(fresh_database)
    try:
        left = await connection.fetch(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'ranking'"
            " AND tablename <> 'alembic_version'"
        )
        assert left == []
        await migrate_async(fresh_database, ["ranking"])
        names = {
            row["indexname"]
            for row in await connection.fetch(
                "SELECT indexname FROM pg_indexes WHERE schemaname = 'ranking'"
            )
        }
    finally:
        await connection.close()
    assert {"idx_model_rankings_use_case", "idx_active_rankings"} <= names
