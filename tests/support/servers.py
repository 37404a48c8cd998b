"""The PostgreSQL and the Valkey that tests speak to, and empty databases on them.

One embedded server of each kind serves the whole run. SERVEMARK_TEST_DATABASE_URL (a superuser's)
and SERVEMARK_TEST_REDIS_URL name running servers to use instead. SERVEMARK_TEST_TIMESCALE_DSN names
a server with TimescaleDB to use besides.
"""

import asyncio
import os
import secrets
import shutil
import tempfile
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import redis

from servemark.embedded import EmbeddedPostgres, EmbeddedValkey

# A test's cluster lives for minutes and is thrown away, so it need not survive a power cut.
THROWAWAY_SETTINGS = {"fsync": "off", "full_page_writes": "off"}


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Yields an empty folder, removed at the end, that a server's own user can pass through."""
    folder = Path(tempfile.mkdtemp(prefix="servemark-test-"))
    # Private as made; a server started by root runs as another user.
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running_postgres() -> Iterator[str]:
    """Yields the DSN of a superuser on the run's PostgreSQL."""
    named = os.environ.get("SERVEMARK_TEST_DATABASE_URL")
    if named:
        yield named.replace("postgresql+asyncpg://", "postgresql://", 1)
        return
    with (
        temporary_folder() as folder,
        EmbeddedPostgres(folder / "postgres", settings=THROWAWAY_SETTINGS) as server,
    ):
        yield server.dsn()


def timescale_dsn() -> str:
    """The DSN of a superuser on a server with TimescaleDB, "" where none is named."""
    return os.environ.get("SERVEMARK_TEST_TIMESCALE_DSN", "")


@contextmanager
def running_valkey() -> Iterator[str]:
    """Yields the URL of the run's Valkey."""
    named = os.environ.get("SERVEMARK_TEST_REDIS_URL")
    if named:
        yield named
        return
    with temporary_folder() as folder, EmbeddedValkey(folder / "valkey") as server:
        yield server.url()


@contextmanager
def database(admin_dsn: str, template: str = "template0") -> Iterator[str]:
    """Yields the DSN of a new database copied from the template, dropped at the end.

    Nobody may be connected to the template meanwhile: PostgreSQL refuses to copy it then.
    """
    name = f"test_{secrets.token_hex(6)}"
    # By copying files: three times as fast as through the WAL, on a server without fsync.
    execute(admin_dsn, f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY')
    try:
        yield with_database(admin_dsn, name)
    finally:
        execute(admin_dsn, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def close_to_connections(dsn: str) -> None:
    """Makes the database one that can be copied: nobody is connected, and nobody can be.

    TimescaleDB keeps a worker connected to every database it may connect to.
    """
    name = database_name(dsn)
    admin = with_database(dsn, "postgres")
    execute(admin, f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
    gone = (
        "SELECT count(pg_terminate_backend(pid, 10000)) = 0 FROM pg_stat_activity "
        "WHERE datname = $1"
    )
    while not fetch_value(admin, gone, name):
        pass


def with_database(dsn: str, name: str) -> str:
    """Returns the DSN with another database's name."""
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{name}"))


def database_name(dsn: str) -> str:
    """Returns the name of the database in a DSN."""
    return urlsplit(dsn).path.removeprefix("/")


def execute(dsn: str, *statements: str) -> None:
    """Runs each statement by itself, outside a transaction; for fixtures that are not async."""
    run_apart(_execute(dsn, statements))


def fetch_value(dsn: str, query: str, *arguments: object) -> Any:
    """Returns the first column of the first row, None if there is no row."""
    return run_apart(_fetch_value(dsn, query, arguments))


def run_apart(work: Coroutine[Any, Any, Any]) -> Any:
    """Returns the coroutine's result, run in a thread so that the tests' own loop is untouched."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


def flush(url: str) -> None:
    """Empties the Valkey database that the URL names."""
    with redis.Redis.from_url(url) as client:
        client.flushdb()


async def _execute(dsn: str, statements: tuple[str, ...]) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def _fetch_value(dsn: str, query: str, arguments: tuple[object, ...]) -> Any:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(query, *arguments)
    finally:
        await connection.close()
