"""A server of the shared runtime for each module, and what it logs."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.rpc.runtime.fixture_server import Running, serving


@pytest_asyncio.fixture(scope="module")
async def running() -> AsyncIterator[Running]:
    """A server that the tests of a module share."""
    async with serving() as server:
        yield server
