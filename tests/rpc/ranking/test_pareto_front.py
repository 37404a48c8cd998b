"""GetParetoFront against a plain comparison of everybody with everybody."""

import random
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from servemark.ranking.v1.candidate_pb2 import CandidateFilter, ExclusionReason, Notice
from servemark.ranking.v1.pareto_pb2 import (
    GetParetoFrontRequest,
    GetParetoFrontResponse,
    ParetoPoint,
)
from servemark.type.v1.metric_pb2 import Metric
from servemark.type.v1.range_pb2 import TokenRange
from tests.rpc.ranking.world import H100, L4, UNPRICED, World, limits_of, run, world
from tests.support.failures import failure

TTFT, TPOT, SPEED = (
    Metric.METRIC_TTFT_P50_MS,
    Metric.METRIC_TPOT_P50_MS,
    Metric.METRIC_THROUGHPUT_TOKENS_SEC,
)
USD_HOUR = Metric.METRIC_USD_PER_HOUR
REASON = ExclusionReason


@pytest.fixture(scope="module")
async def made(module_database: str) -> AsyncIterator[World]:
    """A world of sixty configurations with few different figures, so that ties abound."""
    chance = random.Random(7)
    async with world(module_database) as small:
        await small.add_use_case(input_tokens=(64, 1100), limits={TTFT: 1.0})
        await small.store(
            *(
                run(
                    hardware=chance.choice((H100, L4, UNPRICED)),
                    concurrency=n,
                    ttft_p50_ms=chance.randrange(10, 20),
                    tpot_p50_ms=chance.randrange(1, 8),
                    throughput_tokens_sec=chance.randrange(100, 110),
                )
                for n in range(1, 61)
            ),
            run(concurrency=100, ttft_p50_ms=1.0, throughput_tokens_sec=9999),  # no TPOT
            run(input_tokens=8192, ttft_p50_ms=5, tpot_p50_ms=0.5, throughput_tokens_sec=500),
        )
        yield small


async def front(made: World, **fields: Any) -> GetParetoFrontResponse:
    answer: GetParetoFrontResponse = await made.ranking.GetParetoFront(
        GetParetoFrontRequest(**fields), timeout=10
    )
    return answer


def signed(point: ParetoPoint) -> tuple[float, ...]:
    """The point's figures, all to be maximized."""
    return tuple(cell.value if cell.metric == SPEED else -cell.value for cell in point.cells)


def dominates(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(a >= b for a, b in zip(one, other, strict=True))


def peeled(points: list[ParetoPoint]) -> dict[str, int]:
    """Pareto ranks by taking away front after front."""
    left = {point.alternative.config_id: signed(point) for point in points}
    ranks: dict[str, int] = {}
    rank = 0
    while left:
        rank += 1
        on_front = [
            name for name, at in left.items() if not any(dominates(x, at) for x in left.values())
        ]
        for name in on_front:
            ranks[name] = rank
            del left[name]
    return ranks


async def test_ranks_are_those_of_taking_away_front_after_front(made: World) -> None:
    for metrics in ([TTFT, SPEED], [TTFT, TPOT, SPEED], [SPEED, USD_HOUR, TPOT]):
        answer = await front(made, metrics=metrics, use_case="chatbot", include_dominated=True)
        points = list(answer.points)
        assert {p.alternative.config_id: p.pareto_rank for p in points} == peeled(points)
        assert answer.front_count == sum(p.pareto_rank == 1 for p in points)
        assert answer.front_count + answer.dominated_count == len(points)
        assert all([c.metric for c in p.cells] == metrics for p in points)
        order = [(p.pareto_rank, -signed(p)[0], p.alternative.config_id) for p in points]
        assert order == sorted(order)


async def test_only_the_front_is_returned_unless_the_rest_is_asked_for(made: World) -> None:
    asked: dict[str, Any] = {"metrics": [TTFT, TPOT], "use_case": "chatbot"}
    alone = await front(made, **asked)
    whole = await front(made, **asked, include_dominated=True)
    assert {p.pareto_rank for p in alone.points} == {1}
    assert list(alone.points) == [p for p in whole.points if p.pareto_rank == 1]
    assert alone.dominated_count == whole.dominated_count > 0


async def test_each_dominated_point_says_by_whom_and_by_how_much(made: World) -> None:
    asked: dict[str, Any] = {"metrics": [TTFT, TPOT, SPEED], "use_case": "chatbot"}
    answer = await front(made, **asked, include_dominated=True)
    points = {point.alternative.config_id: point for point in answer.points}
    seen = 0
    for point in answer.points:
        assert point.HasField("dominance") == (point.pareto_rank > 1)
        if point.pareto_rank == 1:
            continue
        seen += 1
        better = points[point.dominance.config_id]
        assert better.pareto_rank == 1
        assert dominates(signed(better), signed(point))
        # Who dominates most clearly: its smallest relative margin is the largest there is.
        assert smallest(better, point) == pytest.approx(
            max(smallest(p, point) for p in front_of(points) if dominates(signed(p), signed(point)))
        )
        told = point.dominance.margins
        assert [margin.metric for margin in told] == asked["metrics"]
        for margin, ours, theirs in zip(told, point.cells, better.cells, strict=True):
            assert margin.value == theirs.value
            assert margin.margin == abs(theirs.value - ours.value)
        assert min(margin.relative_margin for margin in told) == pytest.approx(
            smallest(better, point)
        )
    assert seen == answer.dominated_count > 20


def front_of(points: dict[str, ParetoPoint]) -> list[ParetoPoint]:
    return [point for point in points.values() if point.pareto_rank == 1]


def smallest(better: ParetoPoint, worse: ParetoPoint) -> float:
    """The smallest margin, relative to the larger of the two values."""
    return min(
        abs(a.value - b.value) / max(a.value, b.value)
        for a, b in zip(better.cells, worse.cells, strict=True)
    )


@pytest.mark.parametrize("count", [2, 3, 4, 5, 6])
async def test_two_to_six_metrics_can_be_traded_off(made: World, count: int) -> None:
    metrics = [TTFT, TPOT, SPEED, USD_HOUR, Metric.METRIC_USD_PER_MILLION_TOKENS, 15][:count]
    answer = await front(made, metrics=metrics, use_case="chatbot", include_dominated=True)
    points = list(answer.points)
    assert {p.alternative.config_id: p.pareto_rank for p in points} == peeled(points)
    assert all([cell.metric for cell in point.cells] == metrics for point in points)


async def test_the_incomplete_and_those_beyond_limits_are_left_out_and_counted(
    made: World,
) -> None:
    answer = await front(
        made,
        metrics=[TTFT, TPOT],
        use_case="chatbot",
        limits=limits_of({TTFT: 15.0}),
        max_usd_per_hour=1.0,
        include_dominated=True,
    )
    counts = {(c.reason, c.metric): c.count for c in answer.exclusion_counts}
    assert counts[(REASON.EXCLUSION_REASON_CRITERION_MISSING, TPOT)] == 1
    assert counts.keys() == {
        (REASON.EXCLUSION_REASON_CRITERION_MISSING, TPOT),
        (REASON.EXCLUSION_REASON_LIMIT_MISSED, TTFT),
        (REASON.EXCLUSION_REASON_OVER_BUDGET, USD_HOUR),
        (REASON.EXCLUSION_REASON_PRICE_UNKNOWN, USD_HOUR),
    }
    assert answer.points
    assert all(p.alternative.hardware == L4 for p in answer.points)
    assert all(p.cells[0].value <= 15 for p in answer.points)


async def test_the_use_case_gives_lengths_but_not_its_limits(made: World) -> None:
    short = await front(made, metrics=[TTFT, TPOT], use_case="chatbot")
    every = await front(made, metrics=[TTFT, TPOT])
    own = await front(
        made,
        metrics=[TTFT, TPOT],
        use_case="chatbot",
        filter=CandidateFilter(input_tokens=TokenRange(min=8192, max=8192)),
    )
    assert all(p.alternative.input_tokens == 512 for p in short.points)
    assert short.points
    assert [p.alternative.input_tokens for p in every.points] == [8192]
    assert [p.alternative.input_tokens for p in own.points] == [8192]


async def test_nothing_left_says_so(made: World) -> None:
    answer = await front(made, metrics=[TTFT, Metric.METRIC_ACCURACY_SCORE])
    assert not answer.points
    assert (answer.front_count, answer.dominated_count) == (0, 0)
    assert [n.kind for n in answer.notices] == [Notice.KIND_NOTHING_FEASIBLE]
    assert [(c.metric, c.count) for c in answer.exclusion_counts] == [
        (Metric.METRIC_ACCURACY_SCORE, 62)
    ]


@pytest.mark.parametrize(
    ("metrics", "fields"),
    [
        ([], {"metrics"}),
        ([TTFT], {"metrics"}),
        (list(range(1, 8)), {"metrics"}),
        ([TTFT, TTFT], {"metrics[1]"}),
        ([TTFT, 0, 77], {"metrics[1]", "metrics[2]"}),
    ],
)
async def test_metrics_are_two_to_six_each_once(
    made: World, metrics: list[Any], fields: set[str]
) -> None:
    found = await failure(made.ranking.GetParetoFront(GetParetoFrontRequest(metrics=metrics)))
    assert found.code is grpc.StatusCode.INVALID_ARGUMENT
    assert set(found.fields) == fields
