"""Whatever mix of fresh, repeated, changed and wrong rows is sent, as rows or as columns, the
answers add up.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings

from tests.rpc.ingest.mixes import STEPS, check
from tests.rpc.ingest.serving import Served, serving
from tests.support import servers

pytestmark = pytest.mark.every_profile


@pytest_asyncio.fixture(scope="module")
async def shared(storage_server: str, ingest_template: str) -> AsyncIterator[Served]:
    """One service for all examples; each example has ids of its own."""
    with servers.database(storage_server, ingest_template) as dsn:
        async with serving(dsn) as served:
            yield served


async def test_answers_and_store_are_what_a_plain_model_says(shared: Served) -> None:
    loop = asyncio.get_running_loop()

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(STEPS)
    def examples(steps: Any) -> None:
        asyncio.run_coroutine_threadsafe(check(shared, steps), loop).result(30)

    await asyncio.to_thread(examples)
