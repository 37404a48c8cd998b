"""RankMatrix: the caller's own matrix, with every edge where libraries give NaN or crash."""

import math
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import grpc
import pytest

from servemark.ranking.v1.candidate_pb2 import ExclusionReason, Notice
from servemark.ranking.v1.rank_matrix_pb2 import (
    MatrixAlternative,
    MatrixCriterion,
    RankMatrixRequest,
    RankMatrixResponse,
)
from servemark.ranking.v1.recommend_pb2 import Normalization
from servemark.type.v1.metric_pb2 import Objective
from tests.rpc.ranking.serving import ranking
from tests.support.failures import Failure, failure

MIN, MAX = Objective.OBJECTIVE_MINIMIZE, Objective.OBJECTIVE_MAXIMIZE
VECTOR, MIN_MAX, FIXED = (
    Normalization.NORMALIZATION_VECTOR,
    Normalization.NORMALIZATION_MIN_MAX,
    Normalization.NORMALIZATION_FIXED_BOUNDS,
)
NAN, INF = math.nan, math.inf


@pytest.fixture(scope="module")
async def stub(module_database: str) -> AsyncIterator[Any]:
    """A ranking service whose neighbours are away: RankMatrix needs none."""
    async with ranking(module_database) as served:
        yield served


def criterion(
    name: str, weight: float = 1.0, objective: int = MAX, **bounds: float
) -> MatrixCriterion:
    return MatrixCriterion(name=name, weight=weight, objective=objective, **bounds)  # type: ignore[arg-type]


def request(
    rows: Mapping[str, Sequence[float]],
    criteria: Sequence[MatrixCriterion] = (),
    normalization: int = VECTOR,
) -> RankMatrixRequest:
    """The rows by two criteria to maximize, unless others are given."""
    return RankMatrixRequest(
        criteria=criteria or [criterion("a"), criterion("b")],
        alternatives=[MatrixAlternative(id=name, values=values) for name, values in rows.items()],
        normalization=normalization,  # type: ignore[arg-type]
    )


async def rank(stub: Any, *args: Any, **given: Any) -> RankMatrixResponse:
    answer: RankMatrixResponse = await stub.RankMatrix(request(*args, **given), timeout=10)
    return answer


async def refused(stub: Any, message: RankMatrixRequest) -> Failure:
    found = await failure(stub.RankMatrix(message, timeout=10))
    assert found.code is grpc.StatusCode.INVALID_ARGUMENT
    assert found.reason == "INVALID_FIELD"
    return found


def kinds(answer: RankMatrixResponse) -> list[int]:
    return [notice.kind for notice in answer.notices]


async def test_a_small_example_worked_by_hand(stub: Any) -> None:
    # Norms 5 and 10, weights 3 to 1: v = [[.45, .15], [.6, .2]]; see services/ranking/topsis.py.
    criteria = [criterion("throughput", 3.0), criterion("latency", 1.0, MIN)]
    answer = await rank(stub, {"slow": [3, 6], "fast": [4, 8]}, criteria)
    assert [(r.id, r.rank, round(r.score, 12)) for r in answer.ranks] == [
        ("fast", 1, 0.75),
        ("slow", 2, 0.25),
    ]
    assert [r.pareto_rank for r in answer.ranks] == [1, 1]
    assert [part.normalized for part in answer.ranks[0].breakdown] == pytest.approx([0.8, 0.8])
    for row in answer.ranks:
        to_ideal = math.sqrt(sum(part.ideal_distance_sq for part in row.breakdown))
        to_anti = math.sqrt(sum(part.anti_ideal_distance_sq for part in row.breakdown))
        assert row.score == pytest.approx(to_anti / (to_ideal + to_anti))
    assert not answer.degenerate
    assert answer.normalization == VECTOR
    assert kinds(answer) == [Notice.KIND_SCORES_RELATIVE]


@pytest.mark.parametrize("normalization", [VECTOR, MIN_MAX, 0])
@pytest.mark.parametrize("rows", [{"x": [1, 2], "y": [1, 2], "z": [1, 2]}, {"x": [1, 2]}])
async def test_equal_rows_or_one_row_share_a_finite_score_and_rank_one(
    stub: Any, normalization: int, rows: dict[str, Sequence[float]]
) -> None:
    answer = await rank(stub, rows, normalization=normalization)
    assert [(r.id, r.rank, r.score, r.pareto_rank) for r in answer.ranks] == [
        (name, 1, 0.5, 1) for name in rows
    ]
    assert answer.degenerate
    assert Notice.KIND_DEGENERATE in kinds(answer)
    assert answer.normalization == normalization or VECTOR


@pytest.mark.parametrize(
    ("rows", "criteria", "normalization"),
    [
        ({"x": [1, 1], "y": [1, 2]}, [criterion("a"), criterion("b", 0)], VECTOR),
        ({"x": [5], "y": [9]}, [criterion("a", lower_bound=0, upper_bound=1)], FIXED),
        ({"x": [0.3]}, [criterion("a", lower_bound=0, upper_bound=1)], FIXED),
    ],
)
async def test_rows_that_no_weight_or_bound_tells_apart_are_not_called_equal(
    stub: Any,
    rows: dict[str, Sequence[float]],
    criteria: Sequence[MatrixCriterion],
    normalization: int,
) -> None:
    answer = await rank(stub, rows, criteria, normalization)
    assert answer.degenerate
    text = next(n.text for n in answer.notices if n.kind == Notice.KIND_DEGENERATE)
    assert "equal" not in text
    assert "says nothing" not in text


async def test_a_criterion_that_clipping_makes_constant_is_not_called_the_same(stub: Any) -> None:
    bounds = {"lower_bound": 0, "upper_bound": 1}
    criteria = [criterion("a", **bounds), criterion("b", **bounds)]
    answer = await rank(stub, {"x": [5, 0.1], "y": [9, 0.2]}, criteria, FIXED)
    texts = [n.text for n in answer.notices if n.kind == Notice.KIND_CRITERION_CONSTANT]
    assert texts == ["All values of a count as the same; it cannot tell the alternatives apart."]


async def test_a_column_of_zeros_contributes_nothing(stub: Any) -> None:
    answer = await rank(stub, {"x": [0, 2], "y": [0, 1]})
    assert [(r.id, r.score) for r in answer.ranks] == [("x", 1.0), ("y", 0.0)]
    assert all(row.breakdown[0].ideal_distance_sq == 0 for row in answer.ranks)
    constant = [n for n in answer.notices if n.kind == Notice.KIND_CRITERION_CONSTANT]
    assert len(constant) == 1
    assert "a" in constant[0].text


@pytest.mark.parametrize("hole", [NAN, INF, -INF])
async def test_a_row_with_a_value_that_is_not_finite_is_left_out_with_the_reason(
    stub: Any, hole: float
) -> None:
    answer = await rank(stub, {"z": [1, hole], "b": [hole, hole], "x": [1, 2], "y": [3, 1]})
    assert sorted(r.id for r in answer.ranks) == ["x", "y"]
    assert all(math.isfinite(r.score) for r in answer.ranks)
    assert [(e.id, e.reason, list(e.criteria)) for e in answer.excluded] == [
        ("b", ExclusionReason.EXCLUSION_REASON_VALUE_NOT_FINITE, ["a", "b"]),
        ("z", ExclusionReason.EXCLUSION_REASON_VALUE_NOT_FINITE, ["b"]),
    ]
    alone = await rank(stub, {"x": [1, 2], "y": [3, 1]})
    assert answer.ranks == alone.ranks


async def test_values_near_the_largest_float_score_like_small_ones(stub: Any) -> None:
    small = await rank(stub, {"x": [1, 3], "y": [2, 2], "z": [3, 0.5]})
    large = await rank(stub, {"x": [1e200, 3], "y": [2e200, 2], "z": [3e200, 0.5]})
    assert [r.id for r in large.ranks] == [r.id for r in small.ranks]
    assert [r.score for r in large.ranks] == pytest.approx([r.score for r in small.ranks])


async def test_cost_criteria_turn_the_ideal_and_are_never_inverted(stub: Any) -> None:
    # As distances 1, 2 and 4 lie 0, 1 and 3 from the ideal; as 1/x they would lie 0, 1/2 and 3/4.
    answer = await rank(stub, {"x": [1], "y": [2], "z": [4]}, [criterion("cost", objective=MIN)])
    assert [(r.id, r.score) for r in answer.ranks] == [
        ("x", 1.0),
        ("y", pytest.approx(2 / 3)),
        ("z", 0.0),
    ]


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ({}, "The matrix has no alternatives."),
        ({"x": [NAN, 1]}, "All 1 alternatives have a value that is not finite."),
    ],
)
async def test_an_empty_matrix_gives_an_empty_answer_that_says_why(
    stub: Any, rows: dict[str, Sequence[float]], text: str
) -> None:
    answer = await rank(stub, rows)
    assert not answer.ranks
    assert not answer.degenerate
    assert [(n.kind, n.text) for n in answer.notices] == [(Notice.KIND_NOTHING_FEASIBLE, text)]


async def test_equal_scores_share_a_rank_in_order_of_id_and_the_next_is_left_out(stub: Any) -> None:
    answer = await rank(stub, {"d": [0, 0], "c": [2, 2], "a": [2, 2], "b": [9, 9], "B": [2, 2]})
    assert [(r.id, r.rank) for r in answer.ranks] == [
        ("b", 1),
        ("B", 2),
        ("a", 2),
        ("c", 2),
        ("d", 5),
    ]


async def test_fixed_bounds_clip_and_leaving_one_out_changes_no_score(stub: Any) -> None:
    criteria = [
        criterion("a", lower_bound=0, upper_bound=10),
        criterion("b", objective=MIN, lower_bound=-5, upper_bound=5),
    ]
    rows = {"x": [1.0, 3.0], "y": [12.0, 2.0], "z": [3.0, -7.0]}
    answer = await rank(stub, rows, criteria, normalization=FIXED)
    clipped = [n.text for n in answer.notices if n.kind == Notice.KIND_VALUES_CLIPPED]
    assert clipped == [
        "1 of 3 values of a lie outside the reference bounds and were clipped to them.",
        "1 of 3 values of b lie outside the reference bounds and were clipped to them.",
    ]
    assert Notice.KIND_SCORES_RELATIVE not in kinds(answer)
    scores = {r.id: r.score for r in answer.ranks}
    for left_out in rows:
        rest = {name: values for name, values in rows.items() if name != left_out}
        for row in (await rank(stub, rest, criteria, normalization=FIXED)).ranks:
            assert row.score == scores[row.id]
    assert all(0 <= part.normalized <= 1 for row in answer.ranks for part in row.breakdown)


async def test_the_order_of_the_rows_changes_nothing(stub: Any) -> None:
    rows = {f"r{n}": [math.sin(n), math.cos(3 * n)] for n in range(50)}
    turned = dict(reversed(rows.items()))
    assert await rank(stub, rows) == await rank(stub, turned)


async def test_the_front_holds_exactly_what_none_dominates(stub: Any) -> None:
    rows = {f"r{n}": [(n * 7) % 13, (n * 5) % 11] for n in range(60)}
    answer = await rank(stub, rows)
    front = {r.id for r in answer.ranks if r.pareto_rank == 1}
    expected = {
        name
        for name, (a, b) in rows.items()
        if not any(c >= a and d >= b and (c, d) != (a, b) for c, d in rows.values())
    }
    assert front == expected
    assert answer.ranks[0].id in front


async def test_a_negative_weight_is_refused_naming_its_criterion(stub: Any) -> None:
    criteria = [criterion("a"), criterion("b"), criterion("c", -0.5)]
    found = await refused(stub, request({"x": [1, 2, 3]}, criteria))
    assert found.fields == {"criteria[2].weight": "is -0.5; a weight must be 0 or more and finite"}


async def test_everything_wrong_is_named_at_once(stub: Any) -> None:
    message = request(
        {"": [1, 2, 3], "y" * 257: [1, 2, 3], "short": [1], "long": [1, 2, 3, 4]},
        [
            criterion("a", NAN),
            criterion("a", INF, objective=0),
            MatrixCriterion(objective=9, weight=1),  # type: ignore[arg-type]
        ],
        normalization=7,
    )
    message.alternatives.add(id="short", values=[1, 2, 3])
    found = await refused(stub, message)
    assert set(found.fields) == {
        "normalization",
        "criteria[0].weight",
        "criteria[1].name",
        "criteria[1].objective",
        "criteria[1].weight",
        "criteria[2].name",
        "criteria[2].objective",
        "alternatives[0].id",
        "alternatives[1].id",
        "alternatives[2].values",
        "alternatives[3].values",
        "alternatives[4].id",
    }


async def test_fixed_bounds_that_are_absent_or_no_span_are_refused(stub: Any) -> None:
    criteria = [
        criterion("a"),
        criterion("b", lower_bound=1, upper_bound=1),
        criterion("c", lower_bound=NAN, upper_bound=2),
        criterion("d", lower_bound=0, upper_bound=1),
    ]
    found = await refused(stub, request({}, criteria, FIXED))
    assert set(found.fields) == {
        "criteria[0].lower_bound",
        "criteria[0].upper_bound",
        "criteria[1].upper_bound",
        "criteria[2].lower_bound",
    }
    # Without FIXED_BOUNDS nobody looks at them.
    assert (await rank(stub, {"x": [1] * 4}, criteria)).ranks


@pytest.mark.parametrize("count", [0, 33])
async def test_there_are_one_to_32_criteria(stub: Any, count: int) -> None:
    message = RankMatrixRequest(criteria=[criterion(f"c{n}") for n in range(count)])
    assert set((await refused(stub, message)).fields) == {"criteria"}


async def test_weights_that_are_all_zero_are_refused(stub: Any) -> None:
    message = request({"x": [1, 2]}, [criterion("a", 0), criterion("b", 0)])
    assert set((await refused(stub, message)).fields) == {"criteria"}


async def test_more_alternatives_than_allowed_are_refused(stub: Any) -> None:
    rows = {str(n): [1.0] for n in range(200_001)}
    found = await refused(stub, request(rows, [criterion("a")]))
    assert found.fields == {"alternatives": "has 200001 entries; at most 200000 are allowed"}


async def test_as_many_alternatives_as_allowed_are_ranked(stub: Any) -> None:
    rows = {f"{n:06}": [float(n)] for n in range(200_000)}
    answer = await stub.RankMatrix(request(rows, [criterion("a")]), timeout=60)
    assert len(answer.ranks) == 200_000
    assert answer.ranks[0].id == "199999"
    assert answer.ranks[-1].rank == 200_000
