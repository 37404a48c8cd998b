"""A migrated database for the gateway, and a gateway on it for each module."""

from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from migrations.runner import migrate_async
from tests.rpc.gateway.stand import Stand, running


@pytest_asyncio.fixture(scope="module")
async def gateway_database(new_database: Callable[..., str]) -> str:
    """The DSN of a database with the gateway's schema, shared by a module."""
    dsn = new_database()
    await migrate_async(dsn, ["gateway"])
    return dsn


@pytest_asyncio.fixture(scope="module")
async def module_stand(gateway_database: str) -> AsyncIterator[Stand]:
    """A gateway that the tests of a module share."""
    async with running(gateway_database) as stand:
        yield stand


@pytest.fixture
def stand(module_stand: Stand) -> Stand:
    """The module's gateway, with nothing seen behind it yet."""
    module_stand.behind.forget()
    return module_stand
