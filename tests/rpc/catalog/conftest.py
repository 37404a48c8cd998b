"""A fresh catalog for every test."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.rpc.catalog.serving import Served, migrated_template, serving
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
async def catalog(catalog_dsn: str) -> AsyncIterator[Served]:
    """The service on an empty catalog."""
    async with serving(catalog_dsn) as served:
        yield served
