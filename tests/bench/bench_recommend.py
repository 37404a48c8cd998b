"""How long a recommendation takes out of a million results, through the real services.

10^6 simulated results (a fifth of that with --quick) of 10,560 alternatives, sent through the
ingest RPC. The ranking is a process of its own that found its matrix in Postgres when it started.
Six criteria, of which one is a price, two limits that most keep, 20 recommendations with all that
is in a reply by default: dominance, contributions, stability of the weights, reasons, breakdown.
Weights and limits are new in each request, so nothing that was calculated before can answer; what
the service keeps is the bytes of the alternatives and their cells, which do not hang on either, and
few of which differ between requests. Times are the client's, from the request to the message it
reads, on a machine it shares with the service.

`recommend.p99_ms_1e6_rows` stands next to what one does without a matrix: SQL finds the medians of
each configuration's runs and its price, and numpy ranks them. The costs of the single answers are
medians; the baseline is the same request without that answer.
"""

import asyncio
import atexit
import gc
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Final, TypeVar

import asyncpg
import numpy as np

from servemark.ranking.v1.answers_pb2 import AnswerOptions
from servemark.ranking.v1.candidate_pb2 import CandidateFilter
from servemark.ranking.v1.recommend_pb2 import RecommendRequest, RecommendResponse
from servemark.type.v1.metric_pb2 import Metric, MetricLimit, MetricWeight
from servemark.type.v1.provenance_pb2 import Provenance
from tests.bench.bench_ranking import plain_topsis
from tests.bench.harness import Bench, Figure, alternate_async, measure
from tests.bench.ranking_place import MACHINES, Memory, Place, place

TURNS: Final = 5
REQUESTS: Final = 120
"""In each turn."""
RESULTS: Final = 20
MOST_LEFT_OUT: Final = 0.2
"""The share of the alternatives that the limits may leave out: a small ranking is a quick one."""

_MAXIMIZE: Final = {
    Metric.METRIC_TTFT_P90_MS: False,
    Metric.METRIC_TPOT_P90_MS: False,
    Metric.METRIC_THROUGHPUT_TOKENS_SEC: True,
    Metric.METRIC_ACCURACY_SCORE: True,
    Metric.METRIC_MEMORY_USED_GB: False,
    Metric.METRIC_USD_PER_MILLION_TOKENS: False,
}
_NOTHING: Final = {
    "infeasible": False,
    "dominance": False,
    "contributions": False,
    "stability": False,
    "acceptability": False,
    "confidence": False,
}
_PLAIN: Final = """
    SELECT config_id,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY ttft_p90_ms),
        percentile_cont(0.5) WITHIN GROUP (ORDER BY tpot_p90_ms),
        percentile_cont(0.5) WITHIN GROUP (ORDER BY throughput_tokens_sec),
        avg(accuracy_score),
        max(memory_used_gb),
        min(usd_per_hour) / percentile_cont(0.5) WITHIN GROUP (ORDER BY throughput_tokens_sec)
            / 3600 * 1e6
    FROM ingest.benchmark_results
    JOIN catalog.hardware_prices USING (hardware_config_id)
    GROUP BY config_id
"""

_RANDOM: Final = np.random.default_rng(1)

T = TypeVar("T")


@measure("recommend.p99_ms_1e6_rows", unit="ms")
def p99_1e6_rows(bench: Bench) -> Figure:
    """The 99th percentile of the default reply; baseline: the median of plain SQL and numpy.

    The note says what plain numpy takes for the scores alone, its medians in memory.
    """
    return _world(bench.quick).run(_p99(_world(bench.quick)))


@measure("recommend.p99_ms_reading", unit="ms")
def p99_reading(bench: Bench) -> Figure:
    """The same while the service reads everything anew all the time; baseline: while it does not.

    It does so every 30 seconds, or 5 where no events come. The catalog and the ingest, which answer
    it, and their database run on the same machine.
    """
    return _world(bench.quick).run(_p99_reading(_world(bench.quick)))


@measure("recommend.memory_mib_1e6_rows", unit="MiB")
def memory_1e6_rows(bench: Bench) -> Figure:
    """Resident memory of the ranking with the stored matrix of all results; nothing to compare."""
    found: Memory = _world(bench.quick).place.memory
    note = (
        f"{found.empty:.0f} with an empty matrix; the process that made it {found.made:.0f}, "
        f"at most {found.most:.0f}"
    )
    return Figure(found.loaded, None, note=note)


async def _p99(world: "World") -> Figure:
    subject, baseline, alone = [], [], []
    maximize = np.array(list(_MAXIMIZE.values()))
    connection = await asyncpg.connect(world.place.dsn)
    try:
        # The best that plain SQL can be: sorts in memory, nothing compiled for one query.
        await connection.execute("SET work_mem = '256MB'")
        await connection.execute("SET jit = off")
        await world.times(REQUESTS // 4)
        for _ in range(TURNS):
            subject += await world.times(REQUESTS)
            gc.collect()
            started = time.perf_counter()
            medians = _matrix(await connection.fetch(_PLAIN))
            read = time.perf_counter()
            best = np.argmax(plain_topsis(medians, np.arange(1.0, 7.0), maximize))
            done = time.perf_counter()
            baseline.append(done - started)
            alone.append(done - read)
            if not 0 <= best < world.place.alternatives == len(medians):
                raise AssertionError(f"plain SQL finds {len(medians)} alternatives")
    finally:
        await connection.close()
    note = (
        f"median {np.median(subject) * 1e3:.1f}, {len(subject)} requests; numpy alone "
        f"{np.median(alone) * 1e3:.1f}"
    )
    return Figure(_percentile(subject, 99), float(np.median(baseline)) * 1e3, note=note)


async def _p99_reading(world: "World") -> Figure:
    quiet = await world.times(REQUESTS)
    readings = 0

    async def read() -> None:
        nonlocal readings
        while True:
            await world.place.refresh()
            readings += 1

    reading = asyncio.create_task(read())
    try:
        busy = await world.times(TURNS * REQUESTS)
    finally:
        reading.cancel()
    if not readings:
        raise AssertionError("nothing was read meanwhile")
    note = (
        f"median {np.median(busy) * 1e3:.1f}, {len(busy)} requests beside {readings} readings; "
        f"median {np.median(quiet) * 1e3:.1f} without"
    )
    return Figure(_percentile(busy, 99), _percentile(quiet, 99), note=note)


def _matrix(records: list[Any]) -> Any:
    return np.array([tuple(record)[1:] for record in records], dtype=np.float64)


def _percentile(seconds: list[float], percent: float) -> float:
    """In milliseconds, and one that was measured."""
    return float(np.percentile(seconds, percent, method="higher")) * 1e3


Change = Callable[[RecommendRequest], None]


def _only(**answers: Any) -> Change:
    """Asks for these answers and no other ones."""

    def change(request: RecommendRequest) -> None:
        request.answers.CopyFrom(AnswerOptions(**{**_NOTHING, **answers}))

    return change


def _default(request: RecommendRequest) -> None:
    """Asks for what a reply has by default."""


def _impossible(request: RecommendRequest, *, infeasible: bool) -> None:
    """Asks for what nothing keeps."""
    _only(infeasible=infeasible)(request)
    for limit in request.limits:
        limit.limit /= 1e6


def _sourced(request: RecommendRequest) -> None:
    _only()(request)
    request.explain_cells = True


def _targeted(request: RecommendRequest) -> None:
    _only()(request)
    request.target_requests_per_second = 500.0


def _estimated(request: RecommendRequest) -> None:
    """Asks for a load between two that were measured of every configuration."""
    _only()(request)
    request.include_estimates = True
    request.operating_point.concurrency = 24


def _what_if(request: RecommendRequest) -> None:
    """Asks for the default reply at other prices; weights and limits differ anyway."""
    for name in MACHINES:
        request.price_basis.overrides.add(hardware=name, usd_per_hour=float(_RANDOM.uniform(1, 40)))


def _everything(request: RecommendRequest) -> None:
    for change in (_sourced, _targeted, _estimated, _what_if):
        change(request)
    request.answers.CopyFrom(AnswerOptions(acceptability=True, confidence=True))


_NONE = _only()
_COSTS: Final[dict[str, tuple[Change, Change]]] = {
    "default": (_default, _NONE),
    "dominance": (_only(dominance=True), _NONE),
    "contributions": (_only(contributions=True), _NONE),
    "stability": (_only(stability=True), _NONE),
    "acceptability": (_only(acceptability=True), _NONE),
    "confidence": (_only(confidence=True), _NONE),
    "infeasible": (partial(_impossible, infeasible=True), partial(_impossible, infeasible=False)),
    "replicas": (_targeted, _NONE),
    "cell_sources": (_sourced, _NONE),
    "estimates": (_estimated, _NONE),
    "what_if": (_what_if, _default),
    "everything": (_everything, _NONE),
}


def _cost(name: str, bench: Bench) -> Figure:
    """The median of a reply with one answer; baseline: the same without it."""
    world = _world(bench.quick)
    with_it, without = map(world.asking, _COSTS[name])
    subject, baseline = world.run(alternate_async(with_it, without, bench.rounds))
    return Figure(subject * 1e3, baseline * 1e3)


for _name in _COSTS:
    measure(f"recommend.ms_{_name}", unit="ms")(partial(_cost, _name))


@dataclass(frozen=True)
class World:
    """The place, kept for all measures, and the loop that its connections belong to."""

    runner: asyncio.Runner
    place: Place

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What the coroutine returns."""
        return self.runner.run(work)

    def asking(self, change: Change) -> Callable[[], Awaitable[RecommendResponse]]:
        """A function that asks for another recommendation each time it is called."""

        async def ask() -> RecommendResponse:
            request = _request()
            change(request)
            answer: RecommendResponse = await self.place.ranking.Recommend(request, timeout=30)
            return answer

        return ask

    async def times(self, count: int) -> list[float]:
        """The seconds that so many default replies take, one after the other."""
        ask, found = self.asking(_default), []
        for _ in range(count):
            started = time.perf_counter()
            answer = await ask()
            found.append(time.perf_counter() - started)
            _check(answer, self.place.alternatives)
        return found


def _request() -> RecommendRequest:
    """A request with new weights and limits, of everything that was simulated."""
    weights = _RANDOM.uniform(0.5, 2.0, len(_MAXIMIZE)).tolist()
    limits = {
        Metric.METRIC_TTFT_P90_MS: _RANDOM.uniform(20_000, 40_000),
        Metric.METRIC_TPOT_P90_MS: _RANDOM.uniform(500, 1000),
    }
    return RecommendRequest(
        weights=[
            MetricWeight(metric=metric, weight=weight)
            for metric, weight in zip(_MAXIMIZE, weights, strict=True)
        ],
        limits=[MetricLimit(metric=metric, limit=limit) for metric, limit in limits.items()],
        filter=CandidateFilter(provenances=[Provenance.PROVENANCE_SIMULATED]),
    )


def _check(answer: RecommendResponse, alternatives: int) -> None:
    """Raises AssertionError where a reply is quick because it says less."""
    if answer.candidate_count != alternatives or len(answer.recommendations) != RESULTS:
        raise AssertionError(f"{answer.candidate_count}, {len(answer.recommendations)}")
    if answer.ranked_count < (1 - MOST_LEFT_OUT) * alternatives:
        raise AssertionError(f"only {answer.ranked_count} were ranked")
    if len(answer.stability) != len(_MAXIMIZE):
        raise AssertionError("an answer is not there")


@cache
def _world(quick: bool) -> World:
    runner = asyncio.Runner()
    opened = place(200_000 if quick else 1_000_000)
    world = World(runner, runner.run(_enter(opened)))

    def close() -> None:
        runner.run(_leave(opened))
        runner.close()

    atexit.register(close)
    # What was made so far stays: collections in the timed parts need not look at it.
    gc.collect()
    gc.freeze()
    return world


async def _enter(opened: Any) -> Place:
    entered: Place = await opened.__aenter__()
    return entered


async def _leave(opened: Any) -> None:
    await opened.__aexit__(None, None, None)
