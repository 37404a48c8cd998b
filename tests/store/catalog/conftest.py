"""The catalog's stores on a fresh database for every test."""

from collections.abc import AsyncIterator, Iterator

import pytest

from servemark.runtime.database import Database
from tests.rpc.catalog.serving import migrated_template
from tests.support import servers


@pytest.fixture(scope="session")
def catalog_template(postgres_server: str) -> Iterator[str]:
    """The name of a database with an empty catalog."""
    with migrated_template(postgres_server) as name:
        yield name


@pytest.fixture
def catalog_dsn(postgres_server: str, catalog_template: str) -> Iterator[str]:
    """The DSN of an empty catalog of this test's own."""
    with servers.database(postgres_server, catalog_template) as dsn:
        yield dsn


@pytest.fixture
async def database(catalog_dsn: str) -> AsyncIterator[Database]:
    """A pool of the catalog's role."""
    database = Database(catalog_dsn, "catalog", pool_size=4)
    try:
        yield database
    finally:
        await database.close()
