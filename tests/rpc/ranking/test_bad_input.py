"""What cannot be answered is refused by its field, through the RPC, wherever it can stand."""

import math
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from servemark.ranking.v1.answers_pb2 import AnswerOptions
from servemark.ranking.v1.estimates_pb2 import OperatingPoint
from servemark.ranking.v1.pareto_pb2 import GetParetoFrontRequest
from servemark.ranking.v1.rank_matrix_pb2 import (
    MatrixAlternative,
    MatrixCriterion,
    RankMatrixRequest,
)
from servemark.ranking.v1.recommend_pb2 import RecommendRequest
from servemark.type.v1.metric_pb2 import Metric, MetricLimit, MetricWeight, Objective
from tests.rpc.ranking.world import World, limits_of, run, weights_of, world
from tests.support.failures import failure

TTFT, TTFT_P90, SPEED = (
    Metric.METRIC_TTFT_P50_MS,
    Metric.METRIC_TTFT_P90_MS,
    Metric.METRIC_THROUGHPUT_TOKENS_SEC,
)
ACCURACY, USD_HOUR = Metric.METRIC_ACCURACY_SCORE, Metric.METRIC_USD_PER_HOUR
NAN, INF = math.nan, math.inf
POINT = OperatingPoint(concurrency=4)


@pytest.fixture(scope="module")
async def made(module_database: str) -> AsyncIterator[World]:
    """A world with one result; the tests of this module only read it."""
    async with world(module_database) as small:
        await small.add_use_case()
        await small.store(run(ttft_p50_ms=30.0, throughput_tokens_sec=900.0))
        yield small


async def refused(made: World, message: Any) -> set[str]:
    """The fields for which a request is refused as INVALID_ARGUMENT."""
    call = {
        RecommendRequest: made.ranking.Recommend,
        GetParetoFrontRequest: made.ranking.GetParetoFront,
        RankMatrixRequest: made.ranking.RankMatrix,
    }[type(message)]
    found = await failure(call(message, timeout=10))
    assert found.code is grpc.StatusCode.INVALID_ARGUMENT
    assert found.reason in ("INVALID_FIELD", "USE_CASE_UNKNOWN")
    assert all(found.fields.values())
    return set(found.fields)


def recommend(**fields: Any) -> RecommendRequest:
    """A request that only what is given can make wrong."""
    return RecommendRequest(**({"weights": weights_of({TTFT: 1, SPEED: 1})} | fields))


def front(**fields: Any) -> GetParetoFrontRequest:
    """As `recommend`."""
    return GetParetoFrontRequest(**({"metrics": [TTFT, SPEED]} | fields))


LIMITS_TWICE = [
    MetricLimit(metric=TTFT_P90, limit=100),
    MetricLimit(metric=SPEED, limit=1),
    MetricLimit(metric=TTFT_P90, limit=300),
]


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        # Unknown criteria.
        (recommend(weights=[MetricWeight(metric=99, weight=1)]), {"weights[0].metric"}),  # type: ignore[arg-type]
        (recommend(weights=[MetricWeight(weight=1)]), {"weights[0].metric"}),
        (recommend(limits=[MetricLimit(metric=99, limit=1)]), {"limits[0].metric"}),  # type: ignore[arg-type]
        (front(metrics=[TTFT, 99]), {"metrics[1]"}),
        (front(limits=[MetricLimit(metric=99, limit=1)]), {"limits[0].metric"}),  # type: ignore[arg-type]
        # Weights that are negative, all zero, twice, or no numbers.
        (recommend(weights=weights_of({TTFT: 1, SPEED: -0.1})), {"weights[1].weight"}),
        (recommend(weights=weights_of({TTFT: 0, SPEED: 0})), {"weights"}),
        (recommend(weights=[MetricWeight(metric=TTFT, weight=1)] * 2), {"weights[1].metric"}),
        (
            recommend(weights=weights_of({TTFT: NAN, SPEED: INF})),
            {f"weights[{n}].weight" for n in (0, 1)},
        ),
        # Limits that contradict each other, that nothing can keep, or no numbers.
        (recommend(limits=LIMITS_TWICE), {"limits[2].metric"}),
        (front(limits=LIMITS_TWICE), {"limits[2].metric"}),
        (recommend(limits=limits_of({USD_HOUR: 3}), max_usd_per_hour=5), {"max_usd_per_hour"}),
        (front(limits=limits_of({USD_HOUR: 3}), max_usd_per_hour=5), {"max_usd_per_hour"}),
        (recommend(limits=limits_of({ACCURACY: 1.01})), {"limits[0].limit"}),
        (recommend(limits=limits_of({TTFT: NAN})), {"limits[0].limit"}),
        (recommend(limits=limits_of({TTFT: 0, SPEED: -1})), {"limits[0].limit", "limits[1].limit"}),
        (front(limits=limits_of({TTFT: INF})), {"limits[0].limit"}),
        (recommend(max_usd_per_hour=NAN), {"max_usd_per_hour"}),
        (front(max_usd_per_hour=-1), {"max_usd_per_hour"}),
        # Use cases nobody knows.
        (RecommendRequest(use_case="chess"), {"use_case"}),
        (front(use_case="chess"), {"use_case"}),
        # What a target needs.
        (recommend(target_requests_per_second=0), {"target_requests_per_second"}),
        (recommend(target_requests_per_second=NAN), {"target_requests_per_second"}),
        (recommend(target_requests_per_second=1e10), {"target_requests_per_second"}),
        (recommend(target_requests_per_second=1, headroom=0.951), {"headroom"}),
        (recommend(target_requests_per_second=1, headroom=NAN), {"headroom"}),
        (recommend(headroom=0.5), {"headroom"}),
        # What estimates need.
        (recommend(include_estimates=True), {"operating_point"}),
        (recommend(include_estimates=True, operating_point=OperatingPoint()), {"operating_point"}),
        (recommend(operating_point=POINT), {"operating_point"}),
        (
            recommend(
                include_estimates=True,
                operating_point=OperatingPoint(
                    input_tokens=0, output_tokens=-1, concurrency=0, request_rate=0
                ),
            ),
            {
                f"operating_point.{name}"
                for name in ("input_tokens", "output_tokens", "concurrency", "request_rate")
            },
        ),
        (
            recommend(
                include_estimates=True,
                operating_point=OperatingPoint(concurrency=4, request_rate=2.0),
            ),
            {"operating_point.request_rate"},
        ),
        # How many draws.
        (
            recommend(
                answers=AnswerOptions(
                    acceptability_sample_count=99,
                    acceptability_concentration=0.09,
                    confidence_sample_count=100_001,
                )
            ),
            {
                f"answers.{name}"
                for name in (
                    "acceptability_sample_count",
                    "acceptability_concentration",
                    "confidence_sample_count",
                )
            },
        ),
        (
            recommend(answers=AnswerOptions(acceptability_concentration=NAN)),
            {"answers.acceptability_concentration"},
        ),
    ],
)
async def test_it_is_refused_by_its_field(made: World, message: Any, fields: set[str]) -> None:
    assert await refused(made, message) == fields


@pytest.mark.parametrize(
    "message",
    [
        recommend(),
        recommend(limits=limits_of({TTFT: 100, TTFT_P90: 300, ACCURACY: 1.0})),
        recommend(limits=limits_of({USD_HOUR: 3})),
        recommend(target_requests_per_second=1e9, headroom=0),
        recommend(
            answers=AnswerOptions(
                infeasible=False,
                confidence=True,
                acceptability_sample_count=100,
                acceptability_concentration=0.1,
                confidence_sample_count=100,
            )
        ),
    ],
)
async def test_what_is_just_right_is_answered(made: World, message: RecommendRequest) -> None:
    assert (await made.ranking.Recommend(message, timeout=10)).matrix_version == 1


def matrix(criteria: int, rows: int, **first: Any) -> RankMatrixRequest:
    """A matrix of ones; what is given belongs to its first criterion."""
    up = Objective.OBJECTIVE_MAXIMIZE
    given: dict[str, Any] = {"name": "c0", "objective": up, "weight": 1.0}
    return RankMatrixRequest(
        criteria=[
            MatrixCriterion(**(given | first)),
            *(MatrixCriterion(name=f"c{n}", objective=up, weight=0) for n in range(1, criteria)),
        ],
        alternatives=[MatrixAlternative(id=str(n), values=[1.0] * criteria) for n in range(rows)],
    )


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        (matrix(33, 1), {"criteria"}),
        (matrix(1, 200_001), {"alternatives"}),
        (matrix(2, 1, weight=-1e-9), {"criteria[0].weight", "criteria"}),
        (matrix(2, 1, weight=0), {"criteria"}),
        (matrix(2, 1, weight=NAN), {"criteria[0].weight", "criteria"}),
        (matrix(2, 1, objective=0), {"criteria[0].objective"}),
        (matrix(2, 1, name="c1"), {"criteria[1].name"}),
    ],
)
async def test_a_matrix_that_is_wrong_is_refused_by_its_field(
    made: World, message: RankMatrixRequest, fields: set[str]
) -> None:
    assert await refused(made, message) == fields


async def test_a_matrix_of_as_many_criteria_as_allowed_is_ranked(made: World) -> None:
    answer = await made.ranking.RankMatrix(matrix(32, 5), timeout=10)
    assert [row.rank for row in answer.ranks] == [1] * 5
    assert len(answer.ranks[0].breakdown) == 32


async def test_a_row_at_fault_is_left_out_with_its_reason(made: World) -> None:
    message = matrix(2, 3)
    message.alternatives[1].values[0] = NAN
    answer = await made.ranking.RankMatrix(message, timeout=10)
    assert [row.id for row in answer.ranks] == ["0", "2"]
    assert [(row.id, list(row.criteria)) for row in answer.excluded] == [("1", ["c0"])]
