"""What was sent by whom, what each reader has to see of it, and whether it does."""

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import grpc
from google.protobuf.duration_pb2 import Duration
from hypothesis import strategies as st

from servemark.ingest.v1 import result_query_pb2 as query
from servemark.ingest.v1 import result_stream_pb2 as stream_pb2
from servemark.ingest.v1.time_series_pb2 import QueryTimeSeriesRequest, SeriesKey
from servemark.runtime.tenancy import PLATFORM, PUBLIC, Tenant
from servemark.type.v1.metric_pb2 import Metric
from servemark.type.v1.range_pb2 import TimeRange
from tests.rpc.ingest.builders import MODEL, OTHER_MODEL, batch, config, header, row
from tests.support.failures import failure
from tests.support.tenants import said

ACME, BORG, NEW = (UUID(int=number) for number in (0xACE, 0xB0B, 0xDED))
SENDERS = (
    PLATFORM,
    Tenant(ACME),
    Tenant(ACME, publishes=False),
    Tenant(BORG),
    Tenant(BORG, publishes=False),
)
# One of them has never sent anything.
READERS = (PLATFORM, PUBLIC, Tenant(ACME), Tenant(BORG), Tenant(NEW))
PAGE = 20
_MODELS = (MODEL, OTHER_MODEL)


@dataclass(frozen=True)
class Sending:
    """One stream: by whom, of what, with how many rows, right ones and wrong ones."""

    sender: Tenant
    model: int
    concurrency: int
    right: int
    wrong: int


SENDINGS = st.lists(
    st.builds(
        Sending,
        st.sampled_from(SENDERS),
        st.integers(0, 1),
        st.integers(1, 2),
        st.integers(1, 3),
        st.integers(0, 1),
    ),
    min_size=1,
    max_size=5,
)


def sees(reader: Tenant, owner: UUID | None) -> bool:
    """Whether what belongs to `owner`, None: to nobody, may be seen."""
    return owner is None or reader.sees_all or owner == reader.organization_id


@dataclass
class Stream:
    """A stream that was sent."""

    id: str
    header: stream_pb2.StreamHeader
    sender: Tenant
    wrong: int


@dataclass
class Ledger:
    """Everything that was sent so far: the owner of each result by its id, and so on."""

    results: dict[str, tuple[UUID | None, str, str]] = field(default_factory=dict)
    """Owner, configuration and model of each result."""
    streams: list[Stream] = field(default_factory=list)

    async def send(self, stub: Any, sending: Sending) -> Stream:
        """Sends a stream and notes it."""
        sender = sending.sender
        model = _MODELS[sending.model]
        message = header(config(model=model, concurrency=sending.concurrency))
        good = [row(time.time_ns() // 1_000_000 - n) for n in range(sending.right)]
        bad = [row(figures={"ttft_p50_ms": -1.0}) for _ in range(sending.wrong)]
        requests = (
            stream_pb2.StreamResultsRequest(header=message),
            stream_pb2.StreamResultsRequest(batch=batch(0, [*good, *bad])),
        )
        summary = await stub.StreamResults(iter(requests), metadata=said(sender))
        assert (summary.stored_count, summary.rejected_count) == (len(good), len(bad))
        for one in good:
            self.results[one.id] = sender.owner, summary.configs[0].config_id, model
        stream = Stream(message.stream_id, message, sender, len(bad))
        self.streams.append(stream)
        return stream

    def seen(self, reader: Tenant) -> dict[str, tuple[UUID | None, str, str]]:
        """The results that the reader has to see."""
        return {name: what for name, what in self.results.items() if sees(reader, what[0])}


async def pages(method: Any, request: Any, reader: Tenant) -> list[Any]:
    """All pages of a list."""
    request.page_size = PAGE
    found = []
    while True:
        found.append(await method(request, metadata=said(reader)))
        request.page_token = found[-1].next_page_token
        if not request.page_token:
            return found


async def check_reader(stub: Any, ledger: Ledger, reader: Tenant, models: dict[str, str]) -> None:
    """Every list shows the reader exactly what is public and its own."""
    seen = ledger.seen(reader)
    answers = await pages(stub.ListBenchmarkResults, query.ListBenchmarkResultsRequest(), reader)
    listed = [result for page in answers for result in page.benchmark_results]
    assert Counter(result.id for result in listed) == Counter(list(seen))
    assert {r.id: r.config.organization_id for r in listed} == {
        name: str(owner or "") for name, (owner, _, _) in seen.items()
    }
    runs = Counter(config_id for _, config_id, _ in seen.values())
    for recent_days in (0, 3):
        asked = query.ListConfigSummariesRequest(recent_days=recent_days)
        answers = await pages(stub.ListConfigSummaries, asked, reader)
        summaries = [one for page in answers for one in page.config_summaries]
        assert {one.config.id: one.run_count for one in summaries} == runs
    for model, model_id in models.items():
        # What services see of a day is what everybody sees.
        daily = ledger.seen(PUBLIC if reader is PLATFORM else reader)
        wanted = query.ListDailyModelStatsRequest(model_ids=[model_id])
        answers = await pages(stub.ListDailyModelStats, wanted, reader)
        total = sum(day.total_benchmarks for page in answers for day in page.daily_model_stats)
        assert total == sum(of == model for _, _, of in daily.values())
        one_model = query.ListBenchmarkResultsRequest(
            filter=query.ResultFilter(model_ids=[model_id])
        )
        answers = await pages(stub.ListBenchmarkResults, one_model, reader)
        assert {result.id for page in answers for result in page.benchmark_results} == {
            name for name, (_, _, of) in seen.items() if of == model
        }
    assert await series(stub, reader) == runs


async def series(stub: Any, reader: Tenant) -> Counter[str]:
    """The runs of each configuration's series of two days."""
    span = TimeRange()
    span.start_time.FromSeconds(int(time.time()) - 86_400)
    span.end_time.FromSeconds(int(time.time()) + 86_400)
    request = QueryTimeSeriesRequest(
        filter=query.ResultFilter(benchmark_time=span),
        bucket=Duration(seconds=3600),
        series_key=SeriesKey.SERIES_KEY_CONFIG,
        metrics=[Metric.METRIC_TTFT_P50_MS],
        page_size=1000,
    )
    found: Counter[str] = Counter()
    async for answer in stub.QueryTimeSeries(request, metadata=said(reader)):
        found[answer.series_id] += sum(point.run_count for point in answer.points)
    return found


async def check_ids(
    stub: Any, ledger: Ledger, reader: Tenant, sent: Iterable[str], streams: Iterable[Stream]
) -> None:
    """What is not the reader's to see is not there, whatever is asked by its id."""
    for name in sent:
        owner, config_id, _ = ledger.results[name]
        get = stub.GetBenchmarkResult(
            query.GetBenchmarkResultRequest(id=name), metadata=said(reader)
        )
        of_config = query.ListBenchmarkResultsRequest(
            filter=query.ResultFilter(config_ids=[config_id])
        )
        listed = await stub.ListBenchmarkResults(of_config, metadata=said(reader))
        if sees(reader, owner):
            assert (await get).benchmark_result.id == name
            assert listed.benchmark_results
        else:
            assert (await failure(get)).code is grpc.StatusCode.NOT_FOUND
            assert not listed.benchmark_results
    for stream in streams:
        cursor = stub.GetStreamCursor(
            stream_pb2.GetStreamCursorRequest(stream_id=stream.id), metadata=said(reader)
        )
        refused = await stub.ListRejections(
            stream_pb2.ListRejectionsRequest(stream_id=stream.id), metadata=said(reader)
        )
        if sees(reader, stream.sender.organization_id):
            assert (await cursor).rejected_count == stream.wrong
            assert len(refused.rejections) == stream.wrong
        else:
            assert (await failure(cursor)).code is grpc.StatusCode.NOT_FOUND
            assert not refused.rejections
            taken = iter([stream_pb2.StreamResultsRequest(header=stream.header)])
            no = await failure(stub.StreamResults(taken, metadata=said(reader)))
            assert no.reason == "HEADER_CHANGED"
    answers = await pages(stub.ListRejections, stream_pb2.ListRejectionsRequest(), reader)
    kept = Counter(one.stream_id for page in answers for one in page.rejections)
    assert kept == Counter(
        {
            stream.id: stream.wrong
            for stream in ledger.streams
            if stream.wrong and sees(reader, stream.sender.organization_id)
        }
    )
