"""A server to stand behind the gateway in tests: the real runtime, answers tests can foresee.

IngestService is served by its generated base class; every other method answers an empty message.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc

from servemark.ingest.v1 import (
    ingest_service_pb2_grpc,
    regression_pb2,
    result_query_pb2,
    result_stream_pb2,
    time_series_pb2,
)
from servemark.runtime.errors import FieldViolation, ServemarkError
from servemark.runtime.server import ServiceServer
from servemark.runtime.settings import ServiceSettings
from servemark.type.v1.error_reason_pb2 import ErrorReason
from services.gateway.app import SERVICES_BEHIND

HEAD = (("x-head", "first"), ("x-head-bin", b"\x00\xff"))
TRAILERS = (("x-cost", "7"), ("x-cost", "8"), ("x-raw-bin", b"\x00\x01\xfe"))
# A batch of so many rows is answered with so many bytes.
PADDED_ROWS = 17
PADDING_BYTES = 4 * 1024
BIG_BYTES = 3 * 1024 * 1024


class Seen:
    """What reached the server behind."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, str | bytes]]] = []
        self.time_left: list[float | None] = []
        self.started = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.half_closed = 0
        self.messages = 0

    def last(self) -> dict[str, str | bytes]:
        """Metadata of the last call."""
        return self.calls[-1][1]

    def note(self, method: str, context: Any) -> None:
        """Remembers a call."""
        self.calls.append((method, dict(context.invocation_metadata() or ())))
        self.time_left.append(context.time_remaining())


def teaching_error() -> ServemarkError:
    """An error with every kind of detail."""
    return ServemarkError(
        ErrorReason.ERROR_REASON_INVALID_FIELD,
        "Two fields are wrong: größer als erlaubt.",
        metadata={"hint": "ä ≠ a"},
        violations=[FieldViolation("id", "is wrong"), FieldViolation("page_size", "too large")],
        retry_after=1.5,
    )


class IngestBehind(ingest_service_pb2_grpc.IngestServiceServicer):
    """Does what the id or the sequence of a request says."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen

    async def GetBenchmarkResult(self, request: Any, context: Any) -> Any:
        """Answers, fails or waits, as the id says."""
        self.seen.note("GetBenchmarkResult", context)
        answer = result_query_pb2.GetBenchmarkResultResponse()
        answer.benchmark_result.id = request.id
        if request.id == "error":
            raise teaching_error()
        if request.id == "bug":
            raise ZeroDivisionError("a secret of the house")
        if request.id == "trailers":
            await context.send_initial_metadata(HEAD)
            context.set_trailing_metadata(TRAILERS)
        if request.id == "big":
            answer.benchmark_result.id = "x" * BIG_BYTES
        if request.id == "slow":
            await self._hang()
        return answer

    async def StreamResults(self, messages: AsyncIterator[Any], context: Any) -> Any:
        """Counts what comes."""
        self.seen.note("StreamResults", context)
        stored = 0
        async for message in messages:
            self.seen.messages += 1
            if message.batch.sequence == -1:
                raise teaching_error()
            stored += 1
        self.seen.half_closed += 1
        return result_stream_pb2.StreamResultsResponse(stored_count=stored)

    async def AppendResults(self, messages: AsyncIterator[Any], context: Any) -> Any:
        """Acknowledges every batch under its own sequence; -1 fails, -2 hangs, -3 ends early."""
        self.seen.note("AppendResults", context)
        try:
            async for message in messages:
                self.seen.messages += 1
                self.seen.started.set()
                sequence = message.batch.sequence
                if sequence == -1:
                    raise teaching_error()
                if sequence == -2:
                    await self._hang()
                if sequence == -3:
                    return
                answer = result_stream_pb2.AppendResultsResponse()
                answer.ack.sequence = sequence
                answer.ack.stored_count = len(message.batch.rows)
                if len(message.batch.rows) == PADDED_ROWS:
                    answer.ack.rejections.add(detail="x" * PADDING_BYTES)
                yield answer
            self.seen.half_closed += 1
        except asyncio.CancelledError:
            self.seen.cancelled.set()
            raise

    async def QueryTimeSeries(self, request: Any, context: Any) -> Any:
        """Answers in as many messages as the page has series."""
        self.seen.note("QueryTimeSeries", context)
        for number in range(request.page_size):
            yield time_series_pb2.QueryTimeSeriesResponse(series_id=str(number))

    async def GetStreamCursor(self, request: Any, context: Any) -> Any:
        """Answers an empty message, as the rest below."""
        return self._empty("GetStreamCursor", result_stream_pb2.GetStreamCursorResponse, context)

    async def ListBenchmarkResults(self, request: Any, context: Any) -> Any:
        return self._empty("List", result_query_pb2.ListBenchmarkResultsResponse, context)

    async def ListConfigSummaries(self, request: Any, context: Any) -> Any:
        return self._empty("List", result_query_pb2.ListConfigSummariesResponse, context)

    async def ListDailyModelStats(self, request: Any, context: Any) -> Any:
        return self._empty("List", result_query_pb2.ListDailyModelStatsResponse, context)

    async def DetectRegressions(self, request: Any, context: Any) -> Any:
        return self._empty("Detect", regression_pb2.DetectRegressionsResponse, context)

    async def ListRejections(self, request: Any, context: Any) -> Any:
        return self._empty("List", result_stream_pb2.ListRejectionsResponse, context)

    def _empty(self, method: str, answer: Any, context: Any) -> Any:
        self.seen.note(method, context)
        return answer()

    async def _hang(self) -> None:
        self.seen.started.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.seen.cancelled.set()
            raise


class _Anything(grpc.GenericRpcHandler):
    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        method = handler_call_details.method
        if method.lstrip("/").partition("/")[0] not in SERVICES_BEHIND:
            return None

        async def empty(messages: AsyncIterator[bytes], context: Any) -> None:
            self._seen.note(method, context)
            async for _ in messages:
                break
            await context.write(b"")

        return grpc.stream_stream_rpc_method_handler(empty)


class Behind:
    """All three services on one port. `serving` is what each says of its health."""

    def __init__(self, settings: ServiceSettings) -> None:
        self.seen = Seen()
        self.serving = dict.fromkeys(("", *SERVICES_BEHIND), True)
        self.server = ServiceServer(settings, "ingest", tuple(SERVICES_BEHIND), ready=self._ready)
        ingest_service_pb2_grpc.add_IngestServiceServicer_to_server(
            IngestBehind(self.seen), self.server.grpc
        )
        self.server.grpc.add_generic_rpc_handlers((_Anything(self.seen),))

    async def _ready(self) -> dict[str, bool]:
        return dict(self.serving)

    def forget(self) -> None:
        """Begins anew with what was seen."""
        self.seen.__init__()  # type: ignore[misc]
