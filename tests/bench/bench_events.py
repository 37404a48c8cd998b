"""How soon a stored result changes a recommendation, while results keep coming.

The four parts are real processes on one machine: PostgreSQL with fsync, Valkey, ingest, ranking
(and the catalog). Ten batches of 100 results come each second, of 960 configurations, and each has
one run of a configuration that a caller keeps asking for. A batch's time is that from its
acknowledgement to the first reply whose `run_count` has its run in it, as the caller sees it.

Everything is read anew when the ranking starts and then, while results keep coming, only every five
minutes; what comes during that reading waits for its end. It does not fall into the measured time.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any, Final
from uuid import uuid4

import grpc
import numpy as np

from migrations.runner import migrate_async
from servemark.catalog.v1.use_case_pb2 import (
    CreateUseCaseRequest,
    UseCase,
    UseCaseCharacteristics,
)
from servemark.embedded import EmbeddedPostgres, EmbeddedValkey
from servemark.ingest.v1.ingest_service_pb2_grpc import IngestServiceStub
from servemark.ingest.v1.result_stream_pb2 import ResultBatch
from servemark.ranking.v1.answers_pb2 import AnswerOptions
from servemark.ranking.v1.candidate_pb2 import CandidateFilter
from servemark.ranking.v1.ranking_service_pb2_grpc import RankingServiceStub
from servemark.ranking.v1.recommend_pb2 import RecommendRequest
from servemark.stack.servers import POSTGRES_SETTINGS
from servemark.type.v1.metric_pb2 import Metric, MetricWeight
from servemark.type.v1.provenance_pb2 import Provenance
from tests.bench.harness import Bench, Figure, measure
from tests.rpc.catalog.serving import serving as serving_catalog
from tests.rpc.ingest.serving import AppendCall
from tests.support import servers
from tests.support.service_process import service_process
from tests.support.simulation.figures import Simulator
from tests.support.simulation.fleet import Workload, configurations, models
from tests.support.simulation.messages import as_columns, create_catalog, header
from tests.support.stack import free_block

MARK_SECONDS: Final = 2.0
"""What was promised for the 99th percentile: the baseline."""
ROWS_A_SECOND: Final = 1000
BATCH_ROWS: Final = 100
USE_CASES: Final = ("chatbot", "rag", "agents")
"""Their rankings are made anew with each new matrix."""
_WARM_SECONDS: Final = 5
_LOOK_SECONDS: Final = 0.02
_PROBE: Final = Workload("freshness", 512, 256)
_REQUEST: Final = RecommendRequest(
    weights=[MetricWeight(metric=Metric.METRIC_TTFT_P90_MS, weight=1.0)],
    filter=CandidateFilter(
        workload_types=[_PROBE.name], provenances=[Provenance.PROVENANCE_SIMULATED]
    ),
    max_results=1,
    # The reply is asked for fifty times a second, beside the work that is measured.
    answers=AnswerOptions(
        infeasible=False,
        dominance=False,
        contributions=False,
        stability=False,
        acceptability=False,
        confidence=False,
    ),
)


@measure("events.freshness_p99_s", unit="s")
async def freshness_p99_s(bench: Bench) -> Figure:
    """Seconds from a batch's acknowledgement to a reply that knows it; baseline: the mark."""
    seconds = 30 if bench.quick else 60
    async with _place() as (ingest, ranking):
        probe = _Probe(ranking)
        watching = asyncio.create_task(probe.watch())
        acknowledged, late = await _send(ingest, _WARM_SECONDS + seconds)
        await probe.seen(len(acknowledged))
        watching.cancel()
    first = _WARM_SECONDS * ROWS_A_SECOND // BATCH_ROWS
    found = np.array([probe.first[run + 1] - at for run, at in acknowledged.items()])[first:]
    asked = np.array(probe.replies) * 1e3
    note = (
        f"median {np.median(found):.2f}, at most {found.max():.2f} of {len(found)} batches, "
        f"{ROWS_A_SECOND:,} rows/s for {seconds} s (at most {late:.2f} s late); "
        f"replies meanwhile: median {np.median(asked):.0f} ms, p99 {np.percentile(asked, 99):.0f}"
    )
    value = float(np.percentile(found, 99, method="higher"))
    return Figure(value, MARK_SECONDS, note=note)


class _Probe:
    """Asks for the configuration again and again, and notes when each of its runs is first seen."""

    def __init__(self, ranking: Any) -> None:
        self._ranking = ranking
        self._runs = 0
        self.first: dict[int, float] = {}
        self.replies: list[float] = []

    async def watch(self) -> None:
        """Asks until cancelled."""
        while True:
            began = time.perf_counter()
            answer = await self._ranking.Recommend(_REQUEST, timeout=30)
            now = time.perf_counter()
            self.replies.append(now - began)
            runs = answer.recommendations[0].alternative.run_count if answer.recommendations else 0
            for run in range(self._runs + 1, runs + 1):
                self.first[run] = now
            self._runs = max(self._runs, runs)
            await asyncio.sleep(_LOOK_SECONDS)

    async def seen(self, runs: int) -> None:
        """Returns once so many runs were seen."""
        async with asyncio.timeout(60):
            while self._runs < runs:
                await asyncio.sleep(_LOOK_SECONDS)


async def _send(ingest: Any, seconds: int) -> tuple[dict[int, float], float]:
    """Sends batches at the steady rate; when each was acknowledged, and how late one was sent."""
    [model] = models(1)
    configs = configurations(model)
    configs.append(replace(configs[0], workload=_PROBE))
    simulator = Simulator(model, configs, 1)
    call = AppendCall(ingest)
    await call.open(header(model, configs, str(uuid4())))
    acknowledged: dict[int, float] = {}
    started, late = time.perf_counter(), 0.0
    for sequence in range(seconds * ROWS_A_SECOND // BATCH_ROWS):
        end_ms = time.time_ns() // 1_000_000
        rows = simulator.rows(sequence, BATCH_ROWS, end_ms - BATCH_ROWS, end_ms)
        rows.config_indexes[rows.config_indexes == len(configs) - 1] = 0
        rows.config_indexes[0] = len(configs) - 1
        due = started + sequence * BATCH_ROWS / ROWS_A_SECOND
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        late = max(late, time.perf_counter() - due)
        ack = await call.append(ResultBatch(sequence=sequence, columns=as_columns(rows)))
        acknowledged[sequence] = time.perf_counter()
        if ack.stored_count != BATCH_ROWS:
            raise AssertionError(f"not stored: {ack}")
    await call.close()
    return acknowledged, late


async def _create_use_case(catalog: Any, name: str) -> None:
    """A use case whose stored ranking is of everything that is measured."""
    use_case = UseCase(
        category="text-generation",
        subcategory=name,
        pipeline_tag="text-generation",
        default_weights=_REQUEST.weights,
        characteristics=UseCaseCharacteristics(weights_source="here"),
    )
    await catalog.CreateUseCase(CreateUseCaseRequest(use_case=use_case))


@asynccontextmanager
async def _place() -> AsyncIterator[tuple[Any, Any]]:
    """The running services with their settings as they are by default; ingest's and ranking's."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(servers.temporary_folder())
        server = EmbeddedPostgres(folder / "postgres", settings=POSTGRES_SETTINGS)
        dsn = stack.enter_context(server).dsn()
        valkey = stack.enter_context(EmbeddedValkey(folder / "valkey"))
        await migrate_async(dsn)
        async with serving_catalog(dsn) as catalog:
            await create_catalog(catalog.stub, models(1))
            for name in USE_CASES:
                await _create_use_case(catalog.stub, name)
        base = free_block()
        environment = {"SERVEMARK_DATABASE_URL": dsn, "SERVEMARK_REDIS_URL": valkey.url()}
        for service in ("catalog", "ingest", "ranking"):
            stack.enter_context(service_process(service, base, environment))
        channels = [
            await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{base + offset}"))
            for offset in (2, 3)
        ]
        yield IngestServiceStub(channels[0]), RankingServiceStub(channels[1])
