"""The service's connection to Postgres: pool, role, deadlines, and what its errors mean.

Every transaction says on whose behalf it is: policies of the database let it see what is public and
what belongs to that organization. One that does not say it sees what is public.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg
import orjson
from sqlalchemy import Connection, event, text
from sqlalchemy.exc import DBAPIError, InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from servemark.runtime import deadline, tenancy
from servemark.runtime.errors import ServemarkError, unavailable
from servemark.type.v1.error_reason_pb2 import ErrorReason


def async_url(dsn: str) -> str:
    """The SQLAlchemy form of a postgresql:// address."""
    _, _, rest = dsn.partition("://")
    return f"postgresql+asyncpg://{rest}"


class Database:
    """A pool of connections that act as one service's role, `servemark_<schema>`.

    The login in `dsn` is that role itself, or one that may become it.
    """

    def __init__(self, dsn: str, schema: str, *, pool_size: int = 10) -> None:
        self.engine: AsyncEngine = create_async_engine(
            async_url(dsn),
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=5.0,
            pool_use_lifo=True,
            pool_pre_ping=False,
            # Rows and keys do not belong into the text of an error, which is logged.
            hide_parameters=True,
            json_deserializer=orjson.loads,
            connect_args={
                "timeout": 5.0,
                "server_settings": {
                    "role": f"servemark_{schema}",
                    "search_path": schema,
                    "application_name": f"servemark-{schema}",
                    "timezone": "UTC",
                    "jit": "off",
                    # Pages lie in memory or on flash: a page elsewhere costs hardly more.
                    "random_page_cost": "1.1",
                },
            },
        )
        event.listen(self.engine.sync_engine, "begin", _begun)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """One transaction, ended by the call's deadline on the server too."""
        async with self.engine.begin() as connection:
            yield connection

    async def fetch(self, query: str, *arguments: Any) -> list[Any]:
        """The rows of one statement that only reads."""
        async with self.snapshot() as snapshot:
            return await snapshot.fetch(query, *arguments)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator["Snapshot"]:
        """Statements that only read, and all see the moment of the first."""
        begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
        async with self._direct(begin, _whose()) as driver:
            yield Snapshot(driver)

    @asynccontextmanager
    async def driver_transaction(self) -> AsyncIterator[Any]:
        """One transaction on the driver itself, for where every trip to the server counts."""
        async with self._direct("BEGIN", _whose() | _time_left()) as driver:
            yield driver

    @asynccontextmanager
    async def _direct(self, begin: str, settings: Mapping[str, str]) -> AsyncIterator[Any]:
        """A transaction past the pool's own, begun in one trip to the server."""
        async with self.engine.connect() as connection:
            raw = await connection.get_raw_connection()
            driver: Any = raw.driver_connection
            try:
                said = (f"SET LOCAL {name} = '{value}'" for name, value in settings.items())
                await driver.execute("; ".join((begin, *said)))
                try:
                    yield driver
                except BaseException:
                    # Told is what went wrong first. A connection that is left in the middle goes.
                    with suppress(*_GONE, asyncpg.PostgresError, asyncpg.InternalClientError):
                        await driver.execute("ROLLBACK")
                    raise
                await driver.execute("COMMIT")
            except asyncpg.InternalClientError as error:
                # The driver is reading that the server ended the connection.
                await connection.invalidate()
                raise asyncpg.ConnectionDoesNotExistError("The connection was ended.") from error
            finally:
                # The pool is not told of what goes past it.
                if driver.is_closed() or driver.is_in_transaction():
                    await connection.invalidate()

    async def ready(self) -> bool:
        """Whether Postgres answers. Raises what the driver raises where it does not."""
        async with self.engine.connect() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            try:
                # Asked every second, beside calls that wait for the same interpreter.
                await driver.execute("SELECT 1")
            finally:
                if driver.is_closed():
                    await connection.invalidate()
        return True

    async def close(self) -> None:
        """Closes every connection."""
        await self.engine.dispose()


def _whose() -> dict[str, str]:
    """On whose behalf a transaction is."""
    return {"servemark.organization": tenancy.current().scope}


def _time_left() -> dict[str, str]:
    """The time that the call has left, for the server to keep."""
    left = deadline.remaining()
    return {} if left is None else {"statement_timeout": str(max(1, int(left * 1000)))}


def _begun(connection: Connection) -> None:
    said = _whose() | _time_left()
    calls = ", ".join(f"set_config('{name}', ${n}, true)" for n, name in enumerate(said, start=1))
    connection.exec_driver_sql(f"SELECT {calls}", tuple(said.values()))


class Snapshot:
    """What is read straight from the driver: rows as it makes them, within the call's deadline."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    async def fetch(self, query: str, *arguments: Any) -> list[Any]:
        """The rows of a statement with placeholders `$1`, `$2` …; each by position and by name."""
        rows: list[Any] = await self.driver.fetch(query, *arguments, timeout=deadline.remaining())
        return rows


async def driver_connection(connection: AsyncConnection) -> Any:
    """The asyncpg connection under `connection`, for COPY, within the same transaction."""
    raw = await connection.get_raw_connection()
    driver: Any = raw.driver_connection
    if not driver.is_in_transaction():
        # SQLAlchemy says BEGIN with its first statement; what goes past it would stand alone.
        await connection.execute(text("SELECT"))
    return driver


_GONE = (
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InterfaceError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.LockNotAvailableError,
    asyncpg.DiskFullError,
    ConnectionError,
    OSError,
)


def _causes(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and len(found) < 8:
        found.append(current)
        current = getattr(current, "orig", None) or current.__cause__
    return found


def translate_database_error(error: BaseException) -> ServemarkError | None:
    """What a database error means to a caller: try again, or out of time; None for others."""
    if isinstance(error, PoolTimeoutError):
        return unavailable("The database")
    is_database = isinstance(
        error, (DBAPIError, InterfaceError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError)
    )
    if not is_database:
        return None
    for cause in _causes(error):
        if isinstance(cause, asyncpg.QueryCanceledError):
            return ServemarkError(
                ErrorReason.ERROR_REASON_DEADLINE_EXCEEDED, "The time the call had is over."
            )
        if isinstance(cause, _GONE):
            return unavailable("The database")
    return None
