"""Databases on a server with TimescaleDB, for tests that are about nothing else."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support import servers

WHY_NOT = (
    "SERVEMARK_TEST_TIMESCALE_DSN names no server with TimescaleDB: what is promised of "
    "hypertables was not tried, and the store suite ran on native partitions alone"
)


def require_timescale() -> None:
    """Skips the module that is being imported where no server with TimescaleDB is named."""
    if not servers.timescale_dsn():
        pytest.skip(WHY_NOT, allow_module_level=True)


@contextmanager
def database_before_timescale(admin_dsn: str, template: str = "template0") -> Iterator[str]:
    """Yields the DSN of a database that takes TimescaleDB for missing, until `appear`."""
    with servers.database(admin_dsn, template) as dsn:
        name = servers.database_name(dsn)
        servers.execute(admin_dsn, f'ALTER DATABASE "{name}" SET timescaledb.disable_load = on')
        yield dsn


def appear(dsn: str) -> None:
    """Makes TimescaleDB come to a database that took it for missing, as after an installation."""
    name = servers.database_name(dsn)
    servers.execute(
        servers.with_database(dsn, "postgres"),
        f'ALTER DATABASE "{name}" RESET timescaledb.disable_load',
    )


def compress(dsn: str, *, again: bool = False) -> int:
    """Compresses every day that is not, or every day `again`; how many there were."""
    chunks = servers.fetch_value(
        dsn,
        "SELECT array_agg(format('%I.%I', chunk_schema, chunk_name)) "
        "FROM timescaledb_information.chunks "
        "WHERE hypertable_name = 'benchmark_results' AND (NOT is_compressed OR $1)",
        again,
    )
    for chunk in chunks or ():
        # The policy may have been there first.
        servers.execute(dsn, f"CALL convert_to_columnstore('{chunk}', if_not_columnstore => true)")
    return len(chunks or ())


def licence(dsn: str) -> str:
    """The server's licence, `timescale` or `apache`; the database has TimescaleDB."""
    return str(servers.fetch_value(dsn, "SELECT current_setting('timescaledb.license', true)"))


def has_columnstore(dsn: str) -> bool:
    """Whether the server's licence lets days be compressed."""
    return licence(dsn) == "timescale"
