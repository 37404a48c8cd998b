"""Results of one thing and days of one model are answered from the caches, until new ones come."""

import asyncio
from typing import Any

from servemark.ingest.v1.result_query_pb2 import (
    ListBenchmarkResultsRequest,
    ListDailyModelStatsRequest,
    ResultFilter,
)
from tests.rpc.ingest.builders import OTHER_MODEL, batch, config, header, rows
from tests.rpc.ingest.serving import append, serving
from tests.support.failures import failure


async def _ask(method: Any, request: Any) -> tuple[Any, str]:
    """The answer, and the level it comes from; "" where none is told."""
    call = method(request)
    answer = await call
    told = dict(await call.trailing_metadata()).get("x-servemark-cache", "")
    return answer, told.partition(";")[0].removeprefix("level=")


async def _until(method: Any, request: Any, level: str) -> Any:
    async with asyncio.timeout(10):
        while (found := await _ask(method, request))[1] != level:
            await asyncio.sleep(0.02)
    return found[0]


async def _known(ingest: Any, config_id: str) -> tuple[str, str]:
    """The model and the machine of a configuration."""
    request = ListBenchmarkResultsRequest(filter=ResultFilter(config_ids=[config_id]))
    ((first, *_),) = [(await ingest.ListBenchmarkResults(request)).benchmark_results]
    return first.config.model_id, first.config.hardware_config_id


async def test_new_results_show_within_two_seconds_and_leave_other_replies_alone(
    ingest_dsn: str, valkey: str
) -> None:
    async with serving(ingest_dsn, redis_url=valkey) as ingest:
        ask = ingest.stub.ListBenchmarkResults
        opened, _ = await append(ingest.stub, header(config()), batch(0, rows(2)))
        others, _ = await append(ingest.stub, header(config(model=OTHER_MODEL)), batch(0, rows(2)))
        ids = [one.configs[0].config_id for one in (opened, others)]
        # What these batches change is told before anything is kept.
        async with asyncio.timeout(10):
            while ingest.value("SELECT count(*) FROM ingest.outbox WHERE published_at IS NULL"):
                await asyncio.sleep(0.02)
        models = [await _known(ingest.stub, config_id) for config_id in ids]
        by_config, other = (
            ListBenchmarkResultsRequest(filter=ResultFilter(config_ids=[config_id]))
            for config_id in ids
        )
        model, machine = models[0]
        by_model = ListBenchmarkResultsRequest(
            filter=ResultFilter(model_ids=[model.upper()], hardware_config_ids=[machine])
        )
        days = ListDailyModelStatsRequest(model_ids=[model])
        for request in (by_config, by_model, other):
            assert len((await _until(ask, request, "L1")).benchmark_results) == 2
        await _until(ingest.stub.ListDailyModelStats, days, "L1")
        await append(ingest.stub, header(config()), batch(0, rows(3)))
        async with asyncio.timeout(2):
            for request in (by_config, by_model):
                while len((await ask(request)).benchmark_results) != 5:
                    await asyncio.sleep(0.02)
            while (await _counted(ingest.stub, days)) != 5:
                await asyncio.sleep(0.02)
        found, level = await _ask(ask, other)
        assert (len(found.benchmark_results), level) == (2, "L1")


async def _counted(stub: Any, request: ListDailyModelStatsRequest) -> int:
    answer = await stub.ListDailyModelStats(request)
    return sum(day.total_benchmarks for day in answer.daily_model_stats)


async def test_lists_of_many_things_and_later_pages_are_not_kept(
    ingest_dsn: str, valkey: str
) -> None:
    async with serving(ingest_dsn, redis_url=valkey) as ingest:
        opened, _ = await append(ingest.stub, header(config()), batch(0, rows(3)))
        filtered = ResultFilter(config_ids=[opened.configs[0].config_id])
        first = ListBenchmarkResultsRequest(filter=filtered, page_size=1)
        page, level = await _ask(ingest.stub.ListBenchmarkResults, first)
        assert level == "DB"
        second = ListBenchmarkResultsRequest(
            filter=filtered, page_size=1, page_token=page.next_page_token
        )
        for request in (second, ListBenchmarkResultsRequest()):
            assert (await _ask(ingest.stub.ListBenchmarkResults, request))[1] == ""
        wrong = ListBenchmarkResultsRequest(filter=ResultFilter(config_ids=["no id"]))
        refused = await failure(ingest.stub.ListBenchmarkResults(wrong))
        assert list(refused.fields) == ["filter.config_ids[0]"]
