"""IngestService: one method for each RPC.

The write path is in engine.py; a listing method checks its filter, asks its store for one row more
than the page holds, and makes the token from the last row it returns.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any, Final, TypeVar

from servemark.ingest.v1 import regression_pb2 as regression
from servemark.ingest.v1 import result_query_pb2 as query
from servemark.ingest.v1 import result_stream_pb2 as stream_pb2
from servemark.ingest.v1 import time_series_pb2 as time_series
from servemark.ingest.v1.benchmark_result_pb2 import BenchmarkResult
from servemark.ingest.v1.ingest_service_pb2_grpc import IngestServiceServicer
from servemark.runtime import tenancy
from servemark.runtime.cache.reply import send
from servemark.runtime.errors import ServemarkError, not_found, reason_name
from servemark.runtime.paging import encode_token, filter_digest, page_size
from servemark.runtime.validation import Violations
from servemark.type.v1.error_reason_pb2 import ErrorReason
from services.ingest import (
    convert,
    convert_query,
    convert_regressions,
    convert_series,
    convert_stream,
)
from services.ingest.cached import CachedReads
from services.ingest.engine import IngestEngine
from services.ingest.judging import judge
from services.ingest.store_daily import DailyStore
from services.ingest.store_regressions import RegressionStore
from services.ingest.store_rejections import RejectionStore
from services.ingest.store_results import ResultStore
from services.ingest.store_series import SeriesStore
from services.ingest.store_streams import StreamStore
from services.ingest.store_summaries import SummaryStore

MAX_LISTED_REJECTIONS: Final = 1000
# A client takes 4 MiB unless told otherwise, and one result may have 16 KiB of the tool's figures.
MAX_PAGE_BYTES: Final = 3 * 1024 * 1024

T = TypeVar("T")
StreamMessage = stream_pb2.AppendResultsRequest | stream_pb2.StreamResultsRequest


class IngestServicer(IngestServiceServicer):
    """Answers every method of IngestService; their promises are in the contract's comments."""

    def __init__(
        self,
        engine: IngestEngine,
        streams: StreamStore,
        results: ResultStore,
        summaries: SummaryStore,
        series: SeriesStore,
        regressions: RegressionStore,
        daily: DailyStore,
        rejections: RejectionStore,
        cached: CachedReads,
    ) -> None:
        self._engine = engine
        self._streams = streams
        self._results = results
        self._summaries = summaries
        self._series = series
        self._regressions = regressions
        self._daily = daily
        self._rejections = rejections
        self._cached = cached

    async def AppendResults(
        self, messages: AsyncIterator[stream_pb2.AppendResultsRequest], context: Any
    ) -> AsyncGenerator[stream_pb2.AppendResultsResponse]:
        stream = await self._engine.open(await _header(messages))
        opened = convert_stream.opened_to_proto(stream.stream)
        yield stream_pb2.AppendResultsResponse(opened=opened)
        async with aclosing(self._engine.append(stream, _batches(messages))) as outcomes:
            async for outcome in outcomes:
                ack = convert_stream.ack_to_proto(outcome)
                yield stream_pb2.AppendResultsResponse(ack=ack)

    async def StreamResults(
        self, messages: AsyncIterator[stream_pb2.StreamResultsRequest], context: Any
    ) -> stream_pb2.StreamResultsResponse:
        stream = await self._engine.open(await _header(messages))
        summary = stream_pb2.StreamResultsResponse(
            stream_id=str(stream.stream.source.stream_id),
            configs=convert_stream.outcomes_to_proto(stream.stream.entries),
        )
        async with aclosing(self._engine.append(stream, _batches(messages))) as outcomes:
            async for outcome in outcomes:
                summary.stored_count += outcome.stored_count
                summary.duplicate_count += outcome.duplicate_count
                summary.rejected_count += len(outcome.rejections)
                room = MAX_LISTED_REJECTIONS - len(summary.rejections)
                summary.rejections.extend(
                    convert_stream.rejection_to_proto(outcome.sequence, rejection)
                    for rejection in outcome.rejections[:room]
                )
        summary.next_sequence = stream.next_sequence
        return summary

    async def GetStreamCursor(
        self, request: stream_pb2.GetStreamCursorRequest, context: Any
    ) -> stream_pb2.GetStreamCursorResponse:
        check = Violations()
        stream_id = check.uuid("stream_id", request.stream_id)
        check.raise_if_any()
        progress = None if stream_id is None else await self._streams.progress(stream_id)
        if progress is None:
            raise not_found("stream", request.stream_id)
        return convert_stream.cursor_to_proto(progress)

    async def GetBenchmarkResult(
        self, request: query.GetBenchmarkResultRequest, context: Any
    ) -> query.GetBenchmarkResultResponse:
        check = Violations()
        result_id = check.uuid("id", request.id)
        check.raise_if_any()
        result = None
        # The id says when the run ended, and so in which day's partition to look.
        if result_id is not None and (when := convert_query.result_time(result_id)) is not None:
            result = await self._results.get(result_id, when)
        if result is None:
            raise not_found("benchmark result", request.id)
        return query.GetBenchmarkResultResponse(benchmark_result=convert.result_to_proto(result))

    async def ListBenchmarkResults(
        self, request: query.ListBenchmarkResultsRequest, context: Any
    ) -> query.ListBenchmarkResultsResponse:
        reply = await self._cached.results(request, self._read_results)
        return await self._read_results(request) if reply is None else send(reply, context)

    async def _read_results(
        self, request: query.ListBenchmarkResultsRequest
    ) -> query.ListBenchmarkResultsResponse:
        check = Violations()
        size = page_size(check, request.page_size)
        wanted = convert_query.filter_from_proto(check, request.filter)
        check.raise_if_any()
        digest = _digest("ListBenchmarkResults", request.filter)
        after = convert_query.results_after(digest, request.page_token)
        found = await self._results.page(wanted, after, size + 1)
        results = _fitting([convert.result_to_proto(result) for result in found[:size]])
        more = len(found) > len(results)
        return query.ListBenchmarkResultsResponse(
            benchmark_results=results,
            next_page_token=encode_token(digest, [results[-1].id]) if more else "",
        )

    async def ListConfigSummaries(
        self, request: query.ListConfigSummariesRequest, context: Any
    ) -> query.ListConfigSummariesResponse:
        check = Violations()
        size = page_size(check, request.page_size)
        wanted = convert_query.filter_from_proto(check, request.filter)
        recent_days = request.recent_days
        check.number("recent_days", recent_days, low=0, high=convert_query.MAX_RECENT_DAYS)
        columns = convert_query.columns_from_proto(check, request.metrics)
        check.raise_if_any()
        digest = _request_digest("ListConfigSummaries", request)
        after = convert_query.uuid_after(digest, request.page_token)
        found = await self._summaries.summaries(wanted, recent_days, columns, after, size + 1)
        summaries, more = _page(found, size)
        return query.ListConfigSummariesResponse(
            config_summaries=[convert.summary_to_proto(summary) for summary in summaries],
            next_page_token=encode_token(digest, [str(summaries[-1].config.id)]) if more else "",
        )

    async def ListDailyModelStats(
        self, request: query.ListDailyModelStatsRequest, context: Any
    ) -> query.ListDailyModelStatsResponse:
        reply = await self._cached.days(request, self._read_days)
        return await self._read_days(request) if reply is None else send(reply, context)

    async def _read_days(
        self, request: query.ListDailyModelStatsRequest
    ) -> query.ListDailyModelStatsResponse:
        check = Violations()
        size = page_size(check, request.page_size)
        model_ids = check.uuids("model_ids", request.model_ids)
        start = convert_query.day_from_text(check, "start_date", request.start_date)
        end = convert_query.day_from_text(check, "end_date", request.end_date)
        check.raise_if_any()
        digest = _request_digest("ListDailyModelStats", request)
        after = convert_query.day_and_uuid_after(digest, request.page_token)
        days, more = _page(await self._daily.page(model_ids, start, end, after, size + 1), size)
        key = [days[-1].stats_date.isoformat(), str(days[-1].model_id)] if more else []
        return query.ListDailyModelStatsResponse(
            daily_model_stats=[convert.daily_stats_to_proto(day) for day in days],
            next_page_token=encode_token(digest, key) if more else "",
        )

    async def QueryTimeSeries(
        self, request: time_series.QueryTimeSeriesRequest, context: Any
    ) -> AsyncGenerator[time_series.QueryTimeSeriesResponse]:
        check = Violations()
        size = page_size(check, request.page_size)
        asked = convert_series.query_from_proto(check, request)
        check.raise_if_any()
        digest = _request_digest("QueryTimeSeries", request)
        after = convert_query.uuid_after(digest, request.page_token)
        count = 0
        # Held back until it is known whether it is the last, which says where the next page begins.
        held: time_series.QueryTimeSeriesResponse | None = None
        async with aclosing(self._series.series(asked, after)) as found:
            async for series in found:
                count += 1
                if count > size and held is not None:
                    held.next_page_token = encode_token(digest, [held.series_id])
                    break
                for message in convert_series.series_to_proto(asked, series):
                    if held is not None:
                        yield held
                    held = message
        if held is not None:
            yield held

    async def DetectRegressions(
        self, request: regression.DetectRegressionsRequest, context: Any
    ) -> regression.DetectRegressionsResponse:
        check = Violations()
        size = convert_regressions.page_size(check, request.page_size)
        asked = convert_regressions.query_from_proto(check, request)
        check.raise_if_any()
        digest = _request_digest("DetectRegressions", request)
        after = convert_query.uuid_after(digest, request.page_token)
        if after is None:
            unknown = await self._regressions.unknown(asked)
            convert_regressions.refuse_unknown(asked, unknown)
        found, last = await self._regressions.page(asked, after, size)
        changes = await asyncio.to_thread(judge, asked, found)
        return regression.DetectRegressionsResponse(
            config_changes=map(convert_regressions.change_to_proto, changes),
            next_page_token="" if last is None else encode_token(digest, [str(last)]),
        )

    async def ListRejections(
        self, request: stream_pb2.ListRejectionsRequest, context: Any
    ) -> stream_pb2.ListRejectionsResponse:
        check = Violations()
        size = page_size(check, request.page_size)
        stream_id = check.uuid("stream_id", request.stream_id, required=False)
        for index, reason in enumerate(request.reasons):
            check.enum(f"reasons[{index}]", reason, ErrorReason.values())
        check.raise_if_any()
        reasons = sorted({reason_name(reason) for reason in request.reasons})
        scope = tenancy.current().scope
        digest = filter_digest("ListRejections", scope, str(stream_id), ",".join(reasons))
        after = convert_query.number_after(digest, request.page_token)
        kept, more = _page(await self._rejections.page(stream_id, reasons, after, size + 1), size)
        return stream_pb2.ListRejectionsResponse(
            rejections=[convert.stored_rejection_to_proto(stored) for stored in kept],
            next_page_token=encode_token(digest, [kept[-1].id]) if more else "",
        )


async def _header(messages: AsyncIterator[StreamMessage]) -> convert_stream.Header:
    """The header, which has to come first."""
    first = await anext(messages, None)
    if first is None or first.WhichOneof("payload") != "header":
        raise ServemarkError(
            ErrorReason.ERROR_REASON_HEADER_MISSING,
            "The first message of the stream has to carry `header`.",
        )
    return convert_stream.header_from_proto(first.header, tenancy.current().owner)


async def _batches(
    messages: AsyncIterator[StreamMessage],
) -> AsyncIterator[stream_pb2.ResultBatch]:
    """The batches, which have to make up the rest of the stream."""
    async for message in messages:
        payload = message.WhichOneof("payload")
        if payload == "header":
            raise ServemarkError(
                ErrorReason.ERROR_REASON_HEADER_REPEATED,
                "A header was sent on a stream that has one. After it, send batches only.",
            )
        if payload is None:
            check = Violations()
            check.add("batch", "is required in every message after the header")
            check.raise_if_any()
        yield message.batch
        del message


def _digest(method: str, filters: Any) -> str:
    # With whose call it is: a page continues what the same organization saw.
    scope = tenancy.current().scope
    return filter_digest(method, scope, filters.SerializeToString(deterministic=True))


def _request_digest(method: str, request: Any) -> str:
    """The digest of all that a request asks for but the page."""
    filters = type(request)()
    filters.CopyFrom(request)
    filters.ClearField("page_size")
    filters.ClearField("page_token")
    return _digest(method, filters)


def _page(rows: Sequence[T], size: int) -> tuple[Sequence[T], bool]:
    """The rows of a page, and whether there are more."""
    return rows[:size], len(rows) > size


def _fitting(results: list[BenchmarkResult]) -> list[BenchmarkResult]:
    """The results that fit into one answer: the first always does."""
    size = 0
    for index, result in enumerate(results):
        size += result.ByteSize()
        if index and size > MAX_PAGE_BYTES:
            return results[:index]
    return results
