"""Estimates for what was not measured, through the RPC, from results in a real ingest."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from servemark.ranking.v1.candidate_pb2 import CandidateFilter, CellMethod, Notice
from servemark.ranking.v1.estimates_pb2 import Estimate, OperatingPoint
from servemark.ranking.v1.ranking_pb2 import RefreshRankingsRequest
from servemark.ranking.v1.recommend_pb2 import (
    LimitVerdict,
    Recommendation,
    RecommendRequest,
    RecommendResponse,
)
from servemark.type.v1.metric_pb2 import Metric
from servemark.type.v1.provenance_pb2 import Provenance
from tests.rpc.ranking.world import H100, H100X8, L4, World, limits_of, run, weights_of, world
from tests.support.failures import failure

TTFT, SPEED = Metric.METRIC_TTFT_P50_MS, Metric.METRIC_THROUGHPUT_TOKENS_SEC
USD_HOUR, USD_TOKENS = Metric.METRIC_USD_PER_HOUR, Metric.METRIC_USD_PER_MILLION_TOKENS
WEIGHTS = weights_of({TTFT: 1.0, SPEED: 1.0})
MEASURED, ESTIMATED = Provenance.PROVENANCE_MEASURED, Provenance.PROVENANCE_ESTIMATED


@pytest.fixture(scope="module")
async def made(module_database: str) -> AsyncIterator[World]:
    """A machine measured at five loads, one at three of which 6 is one, and one at two."""
    async with world(module_database) as small:
        ttft = {1: 100, 2: 200, 4: 400, 8: 900, 16: 1600}
        ids = await small.store(
            *(
                run(concurrency=n, ttft_p50_ms=ms, throughput_tokens_sec=1000 * n**0.5)
                for n, ms in ttft.items()
            ),
            *(
                run(hardware=H100X8, concurrency=n, ttft_p50_ms=n, throughput_tokens_sec=9000)
                for n in (4, 6, 8)
            ),
            *(
                run(hardware=L4, concurrency=n, ttft_p50_ms=n, throughput_tokens_sec=90)
                for n in (4, 8)
            ),
        )
        small.ids |= {str(load): config for load, config in zip(ttft, ids, strict=False)}
        await small.ranking.RefreshRankings(RefreshRankingsRequest(), timeout=30)
        yield small


async def recommend(made: World, concurrency: int | None = None, **fields: Any) -> Any:
    request = RecommendRequest(weights=WEIGHTS, **fields)
    if concurrency is not None:
        request.include_estimates = True
        request.operating_point.concurrency = concurrency
    answer: RecommendResponse = await made.ranking.Recommend(request, timeout=10)
    return answer


def of(answer: RecommendResponse, provenance: int) -> list[Recommendation]:
    return [r for r in answer.recommendations if r.alternative.provenance == provenance]


async def test_an_estimate_is_ranked_with_its_figures_errors_and_source(made: World) -> None:
    answer = await recommend(made, 6, explain_cells=True)
    (found,) = of(answer, ESTIMATED)
    assert (answer.candidate_count, answer.ranked_count) == (11, 11)
    chosen = found.alternative
    assert (chosen.hardware, chosen.concurrency, chosen.input_tokens) == (H100, 6, 512)
    assert chosen.estimate.axis == Estimate.AXIS_CONCURRENCY
    assert list(chosen.estimate.config_ids) == [made.ids["4"], made.ids["8"]]
    assert chosen.config_id not in made.ids.values()
    assert (chosen.run_count, list(chosen.tools)) == (2, ["vllm"])
    errors = {one.metric: one for one in chosen.estimate.errors}
    assert set(errors) == {TTFT, SPEED}
    cells = {cell.metric: cell for cell in found.cells}
    for metric, error in errors.items():
        cell = cells[metric]
        assert (cell.min, cell.max) == (error.low, error.high)
        assert error.low <= cell.value <= error.high
        assert (cell.method, cell.run_count) == (CellMethod.CELL_METHOD_INTERPOLATED, 2)
        assert (cell.source.text, cell.source.provenance) == (
            "interpolated between measured configurations",
            ESTIMATED,
        )
        assert not cell.HasField("interval")
    ttft = errors[TTFT]
    assert ttft.error == pytest.approx(1.125**2.353 - 1)
    assert (ttft.tested_count, ttft.is_absolute) == (3, False)
    assert 400 < cells[TTFT].value < 900
    # At $4 an hour, for the tokens that were estimated.
    assert cells[USD_HOUR].value == 4.0
    assert cells[USD_TOKENS].value == pytest.approx(4e6 / 3600 / cells[SPEED].value)
    assert "Its figures were estimated, not measured." in found.reasons
    notices = {notice.kind: notice.text for notice in answer.notices}
    assert notices[Notice.KIND_NOT_MEASURED_INCLUDED].startswith("1 of 11 alternatives were")


async def test_what_was_measured_stays_and_refusals_are_counted(made: World) -> None:
    plain, answer = await recommend(made), await recommend(made, 6)
    assert not of(plain, ESTIMATED)
    measured = {r.alternative.config_id: r.alternative for r in of(answer, MEASURED)}
    assert measured == {r.alternative.config_id: r.alternative for r in plain.recommendations}
    notices = {notice.kind: notice.text for notice in answer.notices}
    assert notices[Notice.KIND_OUTSIDE_MEASURED] == (
        "For 1 configuration nothing was estimated at the operating point: fewer than three "
        "points of one curve were measured of 1."
    )
    assert Notice.KIND_OUTSIDE_MEASURED not in {notice.kind for notice in plain.notices}


async def test_outside_the_hull_there_is_none(made: World) -> None:
    answer = await recommend(made, 32)
    assert not of(answer, ESTIMATED)
    assert answer.ranked_count == 10
    (text,) = (n.text for n in answer.notices if n.kind == Notice.KIND_OUTSIDE_MEASURED)
    assert text == (
        "For 3 configurations nothing was estimated at the operating point: it lies above "
        "everything measured of 2; fewer than three points of one curve were measured of 1."
    )


async def test_a_limit_is_uncertain_within_the_error(made: World) -> None:
    only = {"filter": CandidateFilter(gpu_types=["H100"], max_gpu_count=1)}
    (found,) = of(await recommend(made, 6, **only), ESTIMATED)
    (ttft,) = (cell for cell in found.cells if cell.metric == TTFT)
    limits = limits_of({TTFT: (ttft.value + ttft.max) / 2})
    strict = await recommend(made, 6, limits=limits, max_excluded=20, **only)
    assert not of(strict, ESTIMATED)
    (left_out,) = (e for e in strict.excluded if e.alternative.provenance == ESTIMATED)
    assert left_out.alternative.HasField("estimate")
    assert "with the error of its estimate" in left_out.details[0]
    (found,) = of(await recommend(made, 6, limits=limits, accept_uncertain=True, **only), ESTIMATED)
    assert found.limit_checks[0].verdict == LimitVerdict.LIMIT_VERDICT_UNCERTAIN


async def test_the_same_request_gives_the_same_bytes(made: World) -> None:
    first, second = [
        (await recommend(made, 6, explain_cells=True)).SerializeToString(deterministic=True)
        for _ in range(2)
    ]
    assert first == second


@pytest.mark.parametrize(
    "fields",
    [{"include_estimates": True}, {"operating_point": OperatingPoint(concurrency=6)}],
    ids=["without a point", "without asking for estimates"],
)
async def test_a_point_and_the_wish_for_estimates_belong_together(
    made: World, fields: dict[str, Any]
) -> None:
    request = RecommendRequest(weights=WEIGHTS, **fields)
    found = await failure(made.ranking.Recommend(request, timeout=10))
    assert found.code is grpc.StatusCode.INVALID_ARGUMENT
    assert set(found.fields) == {"operating_point"}
