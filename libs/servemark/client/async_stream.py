"""A runner's stream for programs that run on asyncio."""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from servemark.client.config import Config
from servemark.client.runner_stream import Figures, RunnerStream, RunnerSummary
from servemark.ingest.v1.latency_sketch_pb2 import LatencySketch

_T = TypeVar("_T")


class AsyncRunnerStream:
    """A RunnerStream in a thread of its own, so that waiting for it never holds the event loop.

    Results are added in the order of the calls. A call that is cancelled is carried out all the
    same. Errors are those of RunnerStream.
    """

    def __init__(self, open_stream: Callable[[], RunnerStream]) -> None:
        self._open_stream = open_stream
        self._stream: RunnerStream | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="servemark-async")

    async def add_result(
        self,
        config: Config,
        *,
        benchmark_time: datetime | None = None,
        key: str | bytes | None = None,
        batch_size: int | None = None,
        request_count: int | None = None,
        failed_request_count: int | None = None,
        percentile_source: str | None = None,
        detailed_metrics: Mapping[str, Any] | None = None,
        source_sha256: bytes = b"",
        ttft_sketch: LatencySketch | None = None,
        tpot_sketch: LatencySketch | None = None,
        **figures: Unpack[Figures],
    ) -> str:
        """Adds what one run measured, and returns its id: see RunnerStream.add_result."""
        return await self._run(
            lambda stream: stream.add_result(
                config,
                benchmark_time=benchmark_time,
                key=key,
                batch_size=batch_size,
                request_count=request_count,
                failed_request_count=failed_request_count,
                percentile_source=percentile_source,
                detailed_metrics=detailed_metrics,
                source_sha256=source_sha256,
                ttft_sketch=ttft_sketch,
                tpot_sketch=tpot_sketch,
                **figures,
            )
        )

    @property
    def done_rows(self) -> int:
        """Results that are durable or rejected by now."""
        return 0 if self._stream is None else self._stream.done_rows

    async def flush(self) -> None:
        """Sends the results added so far, without waiting for the acknowledgement."""
        await self._run(lambda stream: stream.flush())

    async def close(self) -> RunnerSummary:
        """Sends what is left, waits for it, and says what became of it."""
        return await self._run(lambda stream: stream.close())

    async def abandon(self) -> RunnerSummary:
        """Ends the stream without waiting: see RunnerStream.abandon."""
        if self._stream is None:
            return RunnerSummary()
        # In another thread: the stream's own may be the one that waits for the server.
        return await asyncio.to_thread(self._stream.abandon)

    async def __aenter__(self) -> Self:
        await self._run(lambda stream: None)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await (self.close() if error is None else self.abandon())

    async def _run(self, act: Callable[[RunnerStream], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._act, act)

    def _act(self, act: Callable[[RunnerStream], _T]) -> _T:
        if self._stream is None:
            self._stream = self._open_stream()
        return act(self._stream)
