"""What Recommend answers beside the ranking, on results in a real ingest and a real catalog."""

import asyncio
from collections.abc import AsyncIterator
from itertools import combinations
from typing import Any

import pytest

from servemark.ranking.v1.answers_pb2 import AnswerOptions
from servemark.ranking.v1.candidate_pb2 import CandidateFilter, Notice
from servemark.ranking.v1.ranking_pb2 import RefreshRankingsRequest
from servemark.ranking.v1.recommend_pb2 import RecommendRequest, RecommendResponse
from servemark.type.v1.metric_pb2 import Metric
from tests.rpc.ranking.world import (
    H100,
    H100X8,
    L4,
    LARGE,
    SMALL,
    UNPRICED,
    World,
    limits_of,
    run,
    weights_of,
    world,
)
from tests.support.failures import failure

TTFT, SPEED, TPOT = (
    Metric.METRIC_TTFT_P90_MS,
    Metric.METRIC_THROUGHPUT_TOKENS_SEC,
    Metric.METRIC_TPOT_P50_MS,
)
USD = Metric.METRIC_USD_PER_HOUR
WEIGHTS: dict[int, float] = {TTFT: 3.0, SPEED: 2.0, TPOT: 1.0}
ALL = AnswerOptions(acceptability=True, confidence=True)


@pytest.fixture(scope="module")
async def made(module_database: str) -> AsyncIterator[World]:
    """Six configurations: three on the front, three behind it, two of them with several runs."""
    async with world(module_database) as small:
        await small.store(
            run(ttft_p90_ms=100, throughput_tokens_sec=2000, tpot_p50_ms=10, rps_sustained=8),
            run(ttft_p90_ms=110, throughput_tokens_sec=1900, tpot_p50_ms=11, rps_sustained=7),
            run(ttft_p90_ms=105, throughput_tokens_sec=1950, tpot_p50_ms=10.5, rps_sustained=7.5),
            run(LARGE, H100X8, ttft_p90_ms=250, throughput_tokens_sec=9000, tpot_p50_ms=20),
            run(LARGE, H100X8, ttft_p90_ms=260, throughput_tokens_sec=8500, tpot_p50_ms=21),
            run(hardware=L4, ttft_p90_ms=300, throughput_tokens_sec=300, tpot_p50_ms=8),
            # Behind the front.
            run(hardware=UNPRICED, ttft_p90_ms=320, throughput_tokens_sec=290, tpot_p50_ms=30),
            run(LARGE, H100, ttft_p90_ms=400, throughput_tokens_sec=1000, tpot_p50_ms=25),
            run(
                SMALL,
                H100,
                concurrency=64,
                ttft_p90_ms=500,
                throughput_tokens_sec=1800,
                tpot_p50_ms=40,
            ),
        )
        await small.ranking.RefreshRankings(RefreshRankingsRequest(), timeout=30)
        yield small


async def ask(made: World, weights: dict[int, float] | None = None, **given: Any) -> Any:
    chosen = weights_of(weights or WEIGHTS)
    return await made.ranking.Recommend(RecommendRequest(weights=chosen, **given))


def ids(answer: RecommendResponse) -> list[str]:
    return [one.alternative.config_id for one in answer.recommendations]


async def test_contributions_add_up_to_the_score(made: World) -> None:
    answer = await ask(made)
    assert len(answer.recommendations) == 6
    for one in answer.recommendations:
        parts = one.contributions
        assert [part.metric for part in parts.criteria] == [TTFT, SPEED, TPOT]
        total = parts.baseline + sum(part.contribution for part in parts.criteria)
        assert total == pytest.approx(one.score, abs=1e-9)


async def test_who_is_behind_the_front_is_told_by_whom(made: World) -> None:
    answer = await ask(made)
    front = {one.alternative.config_id for one in answer.recommendations if one.pareto_rank == 1}
    assert len(front) == 3
    for one in answer.recommendations:
        assert one.HasField("dominance") == (one.pareto_rank > 1)
        if one.pareto_rank > 1:
            better = one.dominance
            assert better.config_id == better.alternative.config_id
            assert better.config_id in front
            own = {cell.metric: cell.value for cell in one.cells}
            for margin in better.margins:
                assert abs(margin.value - own[margin.metric]) == pytest.approx(margin.margin)
                assert margin.value <= own[margin.metric] or margin.metric == SPEED


async def test_the_winner_changes_where_the_intervals_end(made: World) -> None:
    answer = await ask(made)
    total = sum(WEIGHTS.values())
    winner = ids(answer)[0]
    ends = 0

    async def winner_at(metric: Any, share: float) -> str:
        rest = total - WEIGHTS[metric]
        moved = {
            name: share if name == metric else weight / rest * (1 - share)
            for name, weight in WEIGHTS.items()
        }
        return ids(await ask(made, moved))[0]

    assert [one.metric for one in answer.stability] == list(WEIGHTS)
    for one in answer.stability:
        assert one.weight == pytest.approx(WEIGHTS[one.metric] / total)
        for end, outward, then in (
            (one.min_weight, -1e-5, one.winner_below_config_id),
            (one.max_weight, 1e-5, one.winner_above_config_id),
        ):
            if then:
                ends += 1
                assert await winner_at(one.metric, end - outward) == winner
                assert await winner_at(one.metric, end + outward) == then
    assert ends >= 2


async def test_how_sure_it_is_comes_only_when_asked_for(made: World) -> None:
    plain, sure = await ask(made), await ask(made, answers=ALL)
    for one in plain.recommendations:
        assert not one.HasField("acceptability")
        assert not one.HasField("confidence")
    assert ids(plain) == ids(sure)
    assert sum(one.acceptability.acceptability for one in sure.recommendations) == pytest.approx(1)
    assert sum(one.confidence.best_probability for one in sure.recommendations) == pytest.approx(1)
    for one in sure.recommendations:
        if one.pareto_rank > 1:
            assert one.acceptability.acceptability == 0
        assert one.confidence.score_low <= one.score <= one.confidence.score_high
        assert one.alternative.config_id not in one.confidence.tied_config_ids
    tied = {
        one.alternative.config_id: set(one.confidence.tied_config_ids)
        for one in sure.recommendations
    }
    assert all(here in tied[there] for here in tied for there in tied[here])
    assert sure.answers.acceptability_sample_count == 10_000


async def test_without_repeated_runs_it_does_not_claim_to_be_sure(made: World) -> None:
    answer = await ask(made, filter=CandidateFilter(gpu_types=["L4"]), answers=ALL)
    assert len(answer.recommendations) == 2
    assert not any(one.HasField("confidence") for one in answer.recommendations)
    unknown = [one for one in answer.notices if one.kind == Notice.KIND_SPREAD_UNKNOWN]
    assert {one.metric for one in unknown} == set(WEIGHTS)


async def test_the_same_request_gives_the_same_bytes(made: World) -> None:
    first, again = [
        await ask(made, answers=ALL, explain_cells=True, target_requests_per_second=50)
        for _ in range(2)
    ]
    assert first.SerializeToString(deterministic=True) == again.SerializeToString(
        deterministic=True
    )
    # How many are listed has no say in what is drawn.
    few = await ask(made, answers=ALL, max_results=2)
    assert [one.confidence.best_probability for one in few.recommendations] == [
        one.confidence.best_probability for one in first.recommendations[:2]
    ]


async def test_a_target_tells_the_instances_and_their_price(made: World) -> None:
    answer = await ask(made, target_requests_per_second=50, headroom=0.5)
    by_hardware = {
        (one.alternative.model, one.alternative.hardware, one.alternative.concurrency): one.replicas
        for one in answer.recommendations
    }
    # 50 requests/s at half of 7.5 and of 7: 13.3 and 14.3 instances at $4.
    measured = by_hardware[SMALL, H100, 8]
    assert (measured.typical.replica_count, measured.safe.replica_count) == (14, 15)
    assert measured.safe.total_usd_per_hour == pytest.approx(60)
    assert not measured.rate_converted
    converted = by_hardware[LARGE, H100X8, 8]
    assert converted.rate_converted
    unpriced = by_hardware[SMALL, UNPRICED, 8]
    assert not unpriced.typical.HasField("total_usd_per_hour")
    assert list(unpriced.gaps) == ["No price is known."]
    plain = await ask(made)
    assert not any(one.HasField("replicas") for one in plain.recommendations)


async def test_where_nothing_fits_it_tells_what_to_relax(made: World) -> None:
    limits: dict[int, float] = {TTFT: 90.0, SPEED: 8000.0, TPOT: 9.0}
    answer = await ask(made, limits=limits_of(limits), max_usd_per_hour=3.0)
    assert not answer.recommendations
    named = [*limits, USD]
    figures = {
        "small h100": (110, 1900, 11, 4.0),
        "large x8": (260, 8500, 21, 30.0),
        "l4": (300, 300, 8, 0.8),
        "unpriced": (320, 290, 30, None),
        "large h100": (400, 1000, 25, 4.0),
        "small 64": (500, 1800, 40, 4.0),
    }

    def breaks(of: tuple[float, float, float, float | None]) -> frozenset[Any]:
        ttft, speed, tpot, usd = of
        kept = (ttft <= 90, speed >= 8000, tpot <= 9, usd is not None and usd <= 3)
        return frozenset(name for name, is_kept in zip(named, kept, strict=True) if not is_kept)

    broken = [breaks(of) for of in figures.values()]
    minimal = {
        frozenset(chosen)
        for size in range(1, 5)
        for chosen in combinations(named, size)
        if frozenset(chosen) in broken and not any(other < frozenset(chosen) for other in broken)
    }
    found = answer.infeasible
    assert {frozenset(one.metric for one in set_.limits) for set_ in found.conflicts} == minimal
    assert [one.limit.metric for one in found.pass_counts] == named
    assert [one.pass_count for one in found.pass_counts] == [
        sum(name not in one for one in broken) for name in named
    ]
    assert {one.candidate_count for one in found.pass_counts} == {6}
    nearest = found.relaxations[0]
    for one in nearest.limits:
        wanted = 100 * abs(one.actual - one.limit.limit) / one.limit.limit
        assert one.relax_pct == pytest.approx(wanted)
    # With what it says, something fits.
    relaxed = {one.limit.metric: one.actual for one in nearest.limits}
    budget = relaxed.pop(USD, 3.0)
    again = await ask(made, limits=limits_of(limits | relaxed), max_usd_per_hour=budget)
    assert nearest.alternative.config_id in ids(again)


async def test_what_is_switched_off_is_absent(made: World) -> None:
    off = AnswerOptions(infeasible=False, dominance=False, contributions=False, stability=False)
    answer = await ask(made, answers=off)
    assert not answer.stability
    for one in answer.recommendations:
        assert not one.HasField("dominance")
        assert not one.HasField("contributions")
    nothing = await ask(made, answers=off, limits=limits_of({TTFT: 1.0}))
    assert not nothing.HasField("infeasible")
    assert not nothing.answers.stability


async def test_a_wrong_answer_option_is_refused_by_its_field(made: World) -> None:
    refused = await failure(ask(made, answers=AnswerOptions(confidence_sample_count=7)))
    assert list(refused.fields) == ["answers.confidence_sample_count"]
    refused = await failure(ask(made, headroom=0.5))
    assert list(refused.fields) == ["headroom"]


async def test_what_takes_long_does_not_hold_up_the_other_calls(made: World) -> None:
    many = AnswerOptions(confidence=True, confidence_sample_count=100_000)
    # More than there are threads for all calls together.
    long = [asyncio.create_task(ask(made, answers=many)) for _ in range(12)]
    try:
        await asyncio.sleep(0.1)
        await ask(made)
        assert sum(task.done() for task in long) <= 2
    finally:
        for task in long:
            task.cancel()
        await asyncio.gather(*long, return_exceptions=True)
