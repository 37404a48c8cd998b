"""The service's connection to Postgres: pool, role, deadlines, and what its errors mean."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import orjson
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from servemark.runtime import deadline
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

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """One transaction, ended by the call's deadline on the server too."""
        async with self.engine.begin() as connection:
            left = deadline.remaining()
            if left is not None:
                await connection.execute(
                    text("SELECT set_config('statement_timeout', :ms, true)"),
                    {"ms": str(max(1, int(left * 1000)))},
                )
            yield connection

    async def fetch(self, query: str, *arguments: Any) -> list[Any]:
        """The rows of one statement that only reads: one trip to the server and back."""
        async with self._direct() as connection:
            return await connection.fetch(query, *arguments)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator["Snapshot"]:
        """Several statements that only read, and all see the moment of the first."""
        async with (
            self._direct() as connection,
            connection.driver.transaction(isolation="repeatable_read", readonly=True),
        ):
            yield connection

    @asynccontextmanager
    async def driver_transaction(self) -> AsyncIterator[Any]:
        """One transaction on the driver itself, for where every trip to the server counts."""
        async with self._direct() as connection, connection.driver.transaction():
            left = deadline.remaining()
            if left is not None:
                await connection.fetch(
                    "SELECT set_config('statement_timeout', $1, true)",
                    str(max(1, int(left * 1000))),
                )
            yield connection.driver

    @asynccontextmanager
    async def _direct(self) -> AsyncIterator["Snapshot"]:
        async with self.engine.connect() as connection:
            raw = await connection.get_raw_connection()
            driver: Any = raw.driver_connection
            try:
                yield Snapshot(driver)
            finally:
                # The pool is not told of what goes past it.
                if driver.is_closed() or driver.is_in_transaction():
                    await connection.invalidate()

    async def ready(self) -> bool:
        """Whether Postgres answers. Raises what the driver raises where it does not."""
        async with self.engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
        return True

    async def close(self) -> None:
        """Closes every connection."""
        await self.engine.dispose()


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
