"""An organization sees what is public and its own, whatever is asked, and nothing of another's."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, Phase, given, settings

from servemark.catalog.v1.model_pb2 import ListModelsRequest
from servemark.ingest.v1 import result_query_pb2 as query
from servemark.ingest.v1 import result_stream_pb2 as stream_pb2
from servemark.runtime.tenancy import PLATFORM, Tenant
from tests.rpc.ingest.builders import HARDWARE, OTHER_HARDWARE, batch, config, header, row, rows
from tests.rpc.ingest.organizations import (
    ACME,
    BORG,
    READERS,
    SENDERS,
    SENDINGS,
    Ledger,
    Sending,
    check_ids,
    check_reader,
)
from tests.rpc.ingest.serving import Served, serving
from tests.support import servers
from tests.support.failures import failure
from tests.support.tenants import said

pytestmark = pytest.mark.every_profile

OWN = Tenant(ACME, publishes=False)
OTHER = Tenant(BORG)


@pytest_asyncio.fixture(scope="module")
async def shared(storage_server: str, ingest_template: str) -> AsyncIterator[Served]:
    """One service for all examples; what they send adds up."""
    with servers.database(storage_server, ingest_template) as dsn:
        async with serving(dsn) as served:
            yield served


async def _send(stub: Any, tenant: Tenant, message: Any, *batches: Any) -> Any:
    requests = [
        stream_pb2.StreamResultsRequest(header=message),
        *(stream_pb2.StreamResultsRequest(batch=one) for one in batches),
    ]
    return await stub.StreamResults(iter(requests), metadata=said(tenant))


async def test_every_read_shows_what_is_public_and_the_readers_own(shared: Served) -> None:
    loop = asyncio.get_running_loop()
    ledger = Ledger()
    known = (await shared.catalog.ListModels(ListModelsRequest())).models
    models = {model.name: model.id for model in known}

    async def example(sendings: list[Sending]) -> None:
        before = set(ledger.results)
        streams = [await ledger.send(shared.stub, sending) for sending in sendings]
        sent = [name for name in ledger.results if name not in before]
        for reader in READERS:
            await check_reader(shared.stub, ledger, reader, models)
            await check_ids(shared.stub, ledger, reader, sent, streams)

    @settings(
        max_examples=6,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(SENDINGS)
    def examples(sendings: list[Sending]) -> None:
        asyncio.run_coroutine_threadsafe(example(sendings), loop).result(60)

    # Everybody has sent something, and had a row refused, before anything is left to chance.
    await example([Sending(sender, 0, 1, right=2, wrong=1) for sender in SENDERS])
    await asyncio.to_thread(examples)


async def test_what_is_rolled_up_is_shown_to_whom_it_belongs(ingest: Served) -> None:
    await _send(ingest.stub, OWN, header(), batch(0, rows(3)))
    await _send(ingest.stub, OTHER, header(), batch(0, rows(2)))
    async with asyncio.timeout(30):
        while ingest.value(
            "SELECT count(*) FROM (SELECT 1 FROM ingest.dirty_days"
            " UNION ALL SELECT 1 FROM ingest.dirty_configs) AS marks"
        ):
            await asyncio.sleep(0.05)
    for reader, days, runs in ((OWN, 5, [2, 3]), (OTHER, 2, [2]), (PLATFORM, 2, [2, 3])):
        metadata = said(reader)
        stats = await ingest.stub.ListDailyModelStats(
            query.ListDailyModelStatsRequest(), metadata=metadata
        )
        assert [day.total_benchmarks for day in stats.daily_model_stats] == [days]
        summaries = await ingest.stub.ListConfigSummaries(
            query.ListConfigSummariesRequest(), metadata=metadata
        )
        assert sorted(one.run_count for one in summaries.config_summaries) == runs


async def test_a_page_token_of_another_organization_is_refused(ingest: Served) -> None:
    await _send(ingest.stub, OTHER, header(), batch(0, rows(3)))
    request = query.ListBenchmarkResultsRequest(page_size=1)
    page = await ingest.stub.ListBenchmarkResults(request, metadata=said(OWN))
    request.page_token = page.next_page_token
    await ingest.stub.ListBenchmarkResults(request, metadata=said(OWN))
    no = await failure(ingest.stub.ListBenchmarkResults(request, metadata=said(OTHER)))
    assert no.reason == "PAGE_TOKEN_INVALID"


async def test_what_was_kept_is_not_published_by_a_key_that_publishes(ingest: Served) -> None:
    message = header()
    await _send(ingest.stub, OWN, message, batch(0, rows(1)))
    no = await failure(_send(ingest.stub, Tenant(ACME), message, batch(1, rows(1))))
    assert (no.code, no.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "HEADER_CHANGED")
    assert ingest.stored() == 1


async def test_an_organization_goes_on_with_its_stream(ingest: Served) -> None:
    message = header()
    await _send(ingest.stub, OWN, message, batch(0, rows(1)))
    summary = await _send(ingest.stub, OWN, message, batch(1, [row()]))
    assert (summary.stored_count, summary.next_sequence) == (1, 2)


async def test_a_key_for_some_hardware_stores_nothing_of_other_hardware(ingest: Served) -> None:
    bound = Tenant(ACME, hardware=frozenset({HARDWARE.upper()}))
    both = header(config(hardware=HARDWARE), config(hardware=OTHER_HARDWARE))
    no = await failure(_send(ingest.stub, bound, both, batch(0, rows(1))))
    assert (no.code, no.reason) == (grpc.StatusCode.PERMISSION_DENIED, "HARDWARE_NOT_ALLOWED")
    assert no.metadata == {"hardware": OTHER_HARDWARE}
    assert ingest.value("SELECT count(*) FROM ingest.streams") == 0
    # Nor of a stream that another key of the organization has opened.
    await _send(ingest.stub, Tenant(ACME), both, batch(0, rows(1)))
    no = await failure(_send(ingest.stub, bound, both, batch(1, rows(1))))
    assert no.reason == "HARDWARE_NOT_ALLOWED"
    allowed = await _send(ingest.stub, bound, header(config()), batch(0, rows(1)))
    assert allowed.stored_count == 1


async def test_a_cached_list_is_given_to_no_other_organization(
    ingest_dsn: str, valkey: str
) -> None:
    async with serving(ingest_dsn, redis_url=valkey) as ingest:
        opened = await _send(ingest.stub, OWN, header(), batch(0, rows(3)))
        wanted = query.ResultFilter(config_ids=[opened.configs[0].config_id])
        request = query.ListBenchmarkResultsRequest(filter=wanted)

        async def ask(tenant: Tenant) -> tuple[int, str]:
            call = ingest.stub.ListBenchmarkResults(request, metadata=said(tenant))
            answer = await call
            told = dict(await call.trailing_metadata()).get("x-servemark-cache", "")
            return len(answer.benchmark_results), told.partition(";")[0]

        async with asyncio.timeout(10):
            while (await ask(OWN)) != (3, "level=L1"):
                await asyncio.sleep(0.02)
        assert (await ask(OTHER))[0] == 0
        assert (await ask(PLATFORM))[0] == 3
        assert (await ask(OWN))[0] == 3
