"""A fresh ingest service for every test, with the catalog it asks."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.rpc.ingest.serving import Served, seed, serving
from tests.support import servers


@pytest.fixture(scope="session")
def ingest_template(storage_server: str) -> Iterator[str]:
    """The name of a database with a small catalog and no results."""
    with servers.database(storage_server) as dsn:
        servers.run_apart(seed(dsn))
        servers.close_to_connections(dsn)
        yield servers.database_name(dsn)


@pytest.fixture
def ingest_dsn(storage_server: str, ingest_template: str) -> Iterator[str]:
    """The DSN of a database without results of this test's own."""
    with servers.database(storage_server, ingest_template) as dsn:
        yield dsn


@pytest.fixture
async def ingest(ingest_dsn: str) -> AsyncIterator[Served]:
    """The service, without results."""
    async with serving(ingest_dsn) as served:
        yield served
