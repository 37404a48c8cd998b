"""A service's role reads and writes its own schema, and is refused everywhere else."""

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from migrations.runner import SCHEMAS
from servemark.runtime.database import Database
from tests.support import servers

pytestmark = pytest.mark.every_profile

PAIRS = [(mine, other) for mine in SCHEMAS for other in SCHEMAS if mine != other]


def _tables(dsn: str, schema: str) -> list[str]:
    names: str = servers.fetch_value(
        dsn,
        "SELECT string_agg(tablename, ',' ORDER BY tablename) FROM pg_tables WHERE schemaname = $1",
        schema,
    )
    return [name for name in names.split(",") if name != "alembic_version"]


@pytest.mark.parametrize(("mine", "other"), PAIRS)
async def test_a_role_is_refused_on_every_table_of_another_service(
    module_database: str, mine: str, other: str
) -> None:
    database = Database(module_database, mine)
    try:
        for table in _tables(module_database, other):
            for statement in (
                f"SELECT count(*) FROM {other}.{table}",
                f"DELETE FROM {other}.{table}",
            ):
                with pytest.raises(ProgrammingError) as refusal:
                    async with database.transaction() as connection:
                        await connection.execute(text(statement))
                cause = refusal.value.orig.__cause__  # type: ignore[union-attr]
                assert isinstance(cause, asyncpg.InsufficientPrivilegeError)
    finally:
        await database.close()


@pytest.mark.parametrize("schema", SCHEMAS)
async def test_a_role_reads_every_table_of_its_own(module_database: str, schema: str) -> None:
    database = Database(module_database, schema)
    try:
        for table in _tables(module_database, schema):
            async with database.transaction() as connection:
                await connection.execute(text(f"SELECT count(*) FROM {schema}.{table}"))
    finally:
        await database.close()


@pytest.mark.parametrize("schema", SCHEMAS)
async def test_a_role_cannot_change_the_schema(module_database: str, schema: str) -> None:
    database = Database(module_database, schema)
    try:
        with pytest.raises(ProgrammingError):
            async with database.transaction() as connection:
                await connection.execute(text(f"CREATE TABLE {schema}.mine (id int)"))
    finally:
        await database.close()
