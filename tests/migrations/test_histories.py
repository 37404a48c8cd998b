"""Each schema's history builds what the code reads, goes back to nothing, and comes again."""

import importlib

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, ForeignKeyConstraint, MetaData, inspect, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from migrations.runner import SCHEMAS, head, migrate_async
from servemark.runtime.database import async_url
from tests.support import servers

pytestmark = pytest.mark.every_profile


def _metadata(schema: str) -> MetaData:
    metadata: MetaData = importlib.import_module(f"services.{schema}.tables").metadata
    return metadata


def _differences(connection: Connection, schema: str) -> list[object]:
    declared = _metadata(schema)
    # Partitions are made as days come; they belong to their parent, not to the model.
    parts = set(
        connection.execute(
            text(
                "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
                "WHERE c.relispartition AND n.nspname = :schema"
            ),
            {"schema": schema},
        ).scalars()
    )

    def of_this_schema(thing: object, name: str | None, kind: str, *_: object) -> bool:
        table = getattr(thing, "table", thing)
        owner = getattr(table, "schema", None)
        if name == "alembic_version" or getattr(table, "name", None) in parts:
            return False
        if isinstance(thing, ForeignKeyConstraint):
            # A reference to a partitioned table shows once more for each of its partitions.
            return thing.referred_table.name not in parts
        return owner == schema if kind in ("table", "index", "column") else True

    context = MigrationContext.configure(
        connection,
        opts={
            "include_schemas": True,
            "include_object": of_this_schema,
            "compare_type": True,
            "version_table": "alembic_version",
            "version_table_schema": schema,
        },
    )
    return list(compare_metadata(context, declared))


@pytest.mark.parametrize("schema", SCHEMAS)
async def test_the_models_are_what_the_migrations_build(
    migrated_database: str, schema: str
) -> None:
    engine = create_async_engine(async_url(migrated_database))
    async with engine.connect() as connection:
        differences = await connection.run_sync(_differences, schema)
    await engine.dispose()
    assert differences == []


@pytest.mark.parametrize("schema", SCHEMAS)
async def test_a_history_goes_up_down_and_up_again(fresh_database: str, schema: str) -> None:
    tables: list[list[str]] = []
    for revision in ("head", "base", "head"):
        await migrate_async(fresh_database, [schema], revision)
        engine = create_async_engine(async_url(fresh_database))
        async with engine.connect() as connection:
            names = await connection.run_sync(
                lambda sync: inspect(sync).get_table_names(schema=schema)
            )
        await engine.dispose()
        tables.append(sorted(set(names) - {"alembic_version"}))
    up, down, again = tables
    assert up
    assert down == []
    assert again == up


async def test_migrating_what_is_migrated_changes_nothing(migrated_database: str) -> None:
    await migrate_async(migrated_database)
    for schema in SCHEMAS:
        query = f"SELECT version_num FROM {schema}.alembic_version"
        assert servers.fetch_value(migrated_database, query) == head(schema)


async def test_a_migration_that_fails_leaves_nothing_of_itself(fresh_database: str) -> None:
    await migrate_async(fresh_database, ["catalog"], "0003")
    # In the way of the last thing that the next one makes.
    servers.execute(fresh_database, "CREATE TABLE catalog.idx_outbox_published_at (id int)")
    with pytest.raises(DBAPIError):
        await migrate_async(fresh_database, ["catalog"])
    assert servers.fetch_value(fresh_database, "SELECT to_regclass('catalog.outbox') IS NULL")
    servers.execute(fresh_database, "DROP TABLE catalog.idx_outbox_published_at")
    await migrate_async(fresh_database, ["catalog"])
