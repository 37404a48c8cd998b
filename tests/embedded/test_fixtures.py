"""The promises of the fixtures that every other test stands on."""

from collections.abc import Callable

import asyncpg
import redis.asyncio

from tests.support import servers


async def test_a_fresh_database_is_empty_and_takes_sql(fresh_database: str) -> None:
    connection = await asyncpg.connect(fresh_database)
    try:
        assert (
            await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
            == 0
        )
        await connection.execute("CREATE TABLE notes (note text)")
        await connection.execute("INSERT INTO notes VALUES ('ä')")
        assert await connection.fetchval("SELECT note FROM notes") == "ä"
    finally:
        await connection.close()


async def test_a_fresh_database_is_another_one_for_each_test(fresh_database: str) -> None:
    connection = await asyncpg.connect(fresh_database)
    try:
        assert await connection.fetchval("SELECT to_regclass('notes')") is None
    finally:
        await connection.close()


def test_a_database_copied_from_a_template_has_its_tables(
    new_database: Callable[..., str],
) -> None:
    template = new_database()
    servers.execute(template, "CREATE TABLE notes AS SELECT 7 AS note")
    copy = new_database(template=servers.database_name(template))
    assert servers.fetch_value(copy, "SELECT note FROM notes") == 7


def test_a_database_is_gone_after_its_use(postgres_server: str) -> None:
    with servers.database(postgres_server) as dsn:
        name = servers.database_name(dsn)
    query = "SELECT count(*) FROM pg_database WHERE datname = $1"
    assert servers.fetch_value(postgres_server, query, name) == 0


async def test_the_valkey_is_empty_and_takes_commands(valkey: str) -> None:
    async with redis.asyncio.from_url(valkey) as client:
        assert await client.dbsize() == 0
        await client.set("key", "value")
        assert await client.get("key") == b"value"


async def test_the_valkey_is_emptied_between_tests(valkey: str) -> None:
    async with redis.asyncio.from_url(valkey) as client:
        assert await client.dbsize() == 0
