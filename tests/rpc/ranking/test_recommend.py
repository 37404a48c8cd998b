"""Recommend, on results that were streamed into a real ingest and a real catalog."""

import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from servemark.catalog.v1 import model_pb2
from servemark.ranking.v1.candidate_pb2 import (
    CandidateFilter,
    CellMethod,
    ExclusionReason,
    Notice,
    PriceBasis,
)
from servemark.ranking.v1.ranking_pb2 import RefreshRankingsRequest
from servemark.ranking.v1.recommend_pb2 import (
    LimitVerdict,
    Normalization,
    RecommendRequest,
    RecommendResponse,
)
from servemark.type.v1.metric_pb2 import Metric
from servemark.type.v1.provenance_pb2 import Provenance
from servemark.type.v1.range_pb2 import TokenRange
from tests.rpc.ranking.serving import ranking
from tests.rpc.ranking.world import (
    H100,
    H100X8,
    L4,
    LARGE,
    RESERVED,
    SMALL,
    SPOT,
    UNPRICED,
    World,
    limits_of,
    run,
    weights_of,
    world,
)
from tests.support.failures import failure

TTFT, TTFT_P90, TTFT_P99 = (
    Metric.METRIC_TTFT_P50_MS,
    Metric.METRIC_TTFT_P90_MS,
    Metric.METRIC_TTFT_P99_MS,
)
SPEED, USD_HOUR, USD_TOKENS, USD_ALL_TOKENS = (
    Metric.METRIC_THROUGHPUT_TOKENS_SEC,
    Metric.METRIC_USD_PER_HOUR,
    Metric.METRIC_USD_PER_MILLION_TOKENS,
    Metric.METRIC_USD_PER_MILLION_TOTAL_TOKENS,
)
REASON = ExclusionReason


@pytest.fixture(scope="module")
async def made(module_database: str) -> AsyncIterator[World]:
    """A world with results of every kind; the tests of this module only read it."""
    async with world(module_database) as small:
        await small.add_use_case(limits={TTFT_P90: 300.0}, input_tokens=(64, 1100))
        await small.store(
            # Three runs of one configuration, of two tools.
            run(ttft_p50_ms=30, ttft_p90_ms=100, throughput_tokens_sec=2000),
            run(ttft_p50_ms=32, ttft_p90_ms=120, throughput_tokens_sec=1800),
            run(ttft_p50_ms=31, ttft_p90_ms=110, throughput_tokens_sec=1900, tool="guidellm"),
            # Uncertain: some runs keep 300 ms, some do not.
            run(hardware=L4, ttft_p50_ms=90, ttft_p90_ms=280, throughput_tokens_sec=300),
            run(hardware=L4, ttft_p50_ms=95, ttft_p90_ms=320, throughput_tokens_sec=320),
            # Met by its p99.
            run(LARGE, H100X8, ttft_p50_ms=60, ttft_p99_ms=250, throughput_tokens_sec=9000),
            # Missed, no price.
            run(hardware=UNPRICED, ttft_p50_ms=300, ttft_p90_ms=900, throughput_tokens_sec=100),
            # Without TTFT.
            run(LARGE, H100, throughput_tokens_sec=500),
            # Of another length, and simulated.
            run(input_tokens=4096, ttft_p50_ms=10, ttft_p90_ms=11, throughput_tokens_sec=9999),
            run(
                provenance=Provenance.PROVENANCE_SIMULATED,
                concurrency=1,
                ttft_p50_ms=1,
                ttft_p90_ms=2,
                throughput_tokens_sec=1,
            ),
        )
        await small.ranking.RefreshRankings(RefreshRankingsRequest(), timeout=30)
        yield small


async def recommend(made: World, **fields: Any) -> RecommendResponse:
    answer: RecommendResponse = await made.ranking.Recommend(RecommendRequest(**fields), timeout=10)
    return answer


def names(answer: RecommendResponse) -> list[tuple[str, str, int]]:
    return [(r.alternative.model, r.alternative.hardware, r.rank) for r in answer.recommendations]


def counts(answer: RecommendResponse) -> dict[tuple[int, int], int]:
    return {(c.reason, c.metric): c.count for c in answer.exclusion_counts}


async def test_the_use_case_alone_gives_a_whole_answer(made: World) -> None:
    answer = await recommend(made, use_case="chatbot", max_excluded=10)
    assert names(answer) == [(LARGE, H100X8, 1), (SMALL, H100, 2)]
    assert answer.use_case == "chatbot"
    assert [(w.metric, w.weight) for w in answer.weights] == [(TTFT, 0.5), (SPEED, 0.5)]
    assert [(x.metric, x.limit) for x in answer.limits] == [(TTFT_P90, 300.0)]
    assert answer.normalization == Normalization.NORMALIZATION_VECTOR
    assert (answer.candidate_count, answer.ranked_count) == (5, 2)
    assert counts(answer) == {
        (REASON.EXCLUSION_REASON_CRITERION_MISSING, TTFT): 1,
        (REASON.EXCLUSION_REASON_LIMIT_MISSED, TTFT_P90): 1,
        (REASON.EXCLUSION_REASON_LIMIT_UNCERTAIN, TTFT_P90): 1,
        (REASON.EXCLUSION_REASON_LIMIT_UNKNOWN, TTFT_P90): 1,
    }
    assert {e.alternative.hardware: list(e.details) for e in answer.excluded} == {
        L4: ["TTFT p90 ≤ 300 ms is uncertain: 280 ms to 320 ms over 2 runs."],
        UNPRICED: ["Misses TTFT p90 ≤ 300 ms: 900 ms."],
        H100: [
            "There is no figure for TTFT p50.",
            "TTFT p90 ≤ 300 ms cannot be judged: it was not measured.",
        ],
    }
    ids = [e.alternative.config_id for e in answer.excluded]
    assert ids == sorted(ids)
    assert [n.kind for n in answer.notices] == [
        Notice.KIND_DEFAULT_LIMITS_APPLIED,
        Notice.KIND_SCORES_RELATIVE,
    ]


async def test_a_recommendation_carries_its_names_figures_and_price(made: World) -> None:
    answer = await recommend(made, use_case="chatbot")
    found = answer.recommendations[1]
    alternative = found.alternative
    assert (alternative.model, alternative.quantization, alternative.model_version) == (
        SMALL,
        "fp8",
        "base",
    )
    assert (alternative.gpu_type, alternative.gpu_count, alternative.cloud_provider) == (
        "H100-80GB",
        1,
        "acme",
    )
    assert (alternative.framework, alternative.framework_version) == ("vllm", "0.11.0")
    assert (alternative.input_tokens, alternative.output_tokens) == (512, 256)
    assert (alternative.concurrency, alternative.HasField("request_rate")) == (8, False)
    assert alternative.run_count == 3
    assert list(alternative.tools) == ["guidellm", "vllm"]
    assert alternative.provenance == Provenance.PROVENANCE_MEASURED
    assert alternative.price.usd_per_hour == 4.0
    assert alternative.price.source == "the test"
    # All of that catalog's prices are valid from a year before it was made.
    age = time.time() - alternative.price.valid_from_time.seconds
    assert age == pytest.approx(365 * 86_400, abs=3_600)

    cells = {cell.metric: cell for cell in found.cells}
    assert list(cells) == [TTFT, TTFT_P90, SPEED, USD_HOUR, USD_TOKENS, USD_ALL_TOKENS]
    ttft = cells[TTFT]
    assert (ttft.value, ttft.min, ttft.max, ttft.run_count) == (31, 30, 32, 3)
    assert ttft.method == CellMethod.CELL_METHOD_MEDIAN_OF_RUNS
    tokens = cells[USD_TOKENS]
    assert tokens.method == CellMethod.CELL_METHOD_FROM_PRICE
    assert tokens.value == pytest.approx(4.0 / (1900 * 3600) * 1e6)
    assert tokens.min == pytest.approx(4.0 / (2000 * 3600) * 1e6)
    assert tokens.max == pytest.approx(4.0 / (1800 * 3600) * 1e6)
    # 256 of 768 tokens are output.
    assert cells[USD_ALL_TOKENS].value == pytest.approx(tokens.value / 3)
    single = answer.recommendations[0].cells[0]
    assert single.method == CellMethod.CELL_METHOD_SINGLE_RUN


async def test_the_breakdown_adds_up_to_the_score(made: World) -> None:
    for normalization in Normalization.values():
        answer = await recommend(made, use_case="chatbot", normalization=normalization)
        for found in answer.recommendations:
            plus = sum(part.ideal_distance_sq for part in found.breakdown) ** 0.5
            minus = sum(part.anti_ideal_distance_sq for part in found.breakdown) ** 0.5
            assert found.score == pytest.approx(minus / (plus + minus))
            assert sum(part.weight for part in found.breakdown) == pytest.approx(1.0)


async def test_every_limit_is_checked_for_every_recommendation(made: World) -> None:
    answer = await recommend(made, use_case="chatbot", accept_uncertain=True)
    checks = {
        r.alternative.hardware: [
            (c.verdict, c.decided_by, c.value) for c in r.limit_checks if c.limit.limit == 300
        ]
        for r in answer.recommendations
    }
    assert checks == {
        H100: [(LimitVerdict.LIMIT_VERDICT_MET, TTFT_P90, 110)],
        H100X8: [(LimitVerdict.LIMIT_VERDICT_MET, TTFT_P99, 250)],
        L4: [(LimitVerdict.LIMIT_VERDICT_UNCERTAIN, TTFT_P90, 300)],
    }


async def test_the_budget_and_the_price_basis_decide_together(made: World) -> None:
    asked: dict[str, Any] = {
        "weights": weights_of({SPEED: 1}),
        "max_usd_per_hour": 3.99,
        "filter": CandidateFilter(input_tokens=TokenRange(min=512, max=512)),
    }
    answer = await recommend(made, **asked)
    assert names(answer) == [(SMALL, L4, 1)]
    assert counts(answer) == {
        (REASON.EXCLUSION_REASON_OVER_BUDGET, USD_HOUR): 3,
        (REASON.EXCLUSION_REASON_PRICE_UNKNOWN, USD_HOUR): 1,
    }
    assert answer.recommendations[0].alternative.price.purchase_option == RESERVED
    with_spot = PriceBasis(purchase_options=[SPOT, RESERVED])
    cheaper = await recommend(made, **asked, price_basis=with_spot)
    assert {name for _, name, _ in names(cheaper)} == {H100, L4}
    # What is known now was not known then.
    before = PriceBasis()
    before.price_time.FromSeconds(1_000_000_000)
    unpriced = await recommend(made, **asked, price_basis=before)
    assert counts(unpriced) == {(REASON.EXCLUSION_REASON_PRICE_UNKNOWN, USD_HOUR): 5}


async def test_a_filter_narrows_the_candidates(made: World) -> None:
    answer = await recommend(
        made,
        weights=weights_of({SPEED: 1}),
        filter=CandidateFilter(models=[SMALL.upper()], gpu_types=["h100"]),
    )
    assert {found.alternative.input_tokens for found in answer.recommendations} == {512, 4096}
    assert answer.candidate_count == 2


async def test_simulated_results_take_part_only_when_asked_for(made: World) -> None:
    both = [Provenance.PROVENANCE_MEASURED, Provenance.PROVENANCE_SIMULATED]
    answer = await recommend(made, use_case="chatbot", filter=CandidateFilter(provenances=both))
    assert any(
        found.alternative.provenance == Provenance.PROVENANCE_SIMULATED
        for found in answer.recommendations
    )
    assert Notice.KIND_NOT_MEASURED_INCLUDED in [n.kind for n in answer.notices]


async def test_the_same_request_gives_the_same_bytes_from_another_process_too(
    made: World,
) -> None:
    request = RecommendRequest(use_case="chatbot", max_excluded=10, accept_uncertain=True)
    answers = {
        (await made.ranking.Recommend(request, timeout=10)).SerializeToString(deterministic=True)
        for _ in range(3)
    }
    # The other has only the stored matrix: its neighbours are away.
    async with ranking(made.dsn) as other:
        answer = await other.Recommend(request, timeout=10)
        answers.add(answer.SerializeToString(deterministic=True))
    assert len(answers) == 1


async def test_an_unknown_use_case_is_refused_with_those_that_are_known(made: World) -> None:
    found = await failure(made.ranking.Recommend(RecommendRequest(use_case="chess")))
    assert (found.code, found.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "USE_CASE_UNKNOWN")
    assert set(found.fields) == {"use_case"}
    assert found.metadata["known"] == "chatbot"
    by_id = await recommend(made, use_case=made.ids["chatbot"])
    assert by_id.use_case == "chatbot"


async def test_everything_wrong_with_a_request_is_named_at_once(made: World) -> None:
    request = RecommendRequest(
        use_case="unknown too, but that is looked at last",
        weights=weights_of({TTFT: -1.0, 0: 1.0, 99: float("nan")}),
        limits=limits_of({TTFT: 0.0}),
        max_usd_per_hour=-1,
        filter=CandidateFilter(
            max_gpu_count=-1,
            input_tokens=TokenRange(min=5, max=4),
            output_tokens=TokenRange(min=-1),
            provenances=[0],  # type: ignore[list-item]
        ),
        price_basis=PriceBasis(purchase_options=[9], region="x" * 65),  # type: ignore[list-item]
        normalization=9,  # type: ignore[arg-type]
        max_results=1001,
        max_excluded=-1,
    )
    request.limits.extend(limits_of({TTFT: 1.0}))
    request.price_basis.price_time.seconds = 10**15
    found = await failure(made.ranking.Recommend(request))
    assert (found.code, found.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert set(found.fields) == {
        "weights[0].weight",
        "weights[1].metric",
        "weights[2].metric",
        "weights[2].weight",
        "limits[0].limit",
        "limits[1].metric",
        "max_usd_per_hour",
        "filter.max_gpu_count",
        "filter.input_tokens.max",
        "filter.output_tokens.min",
        "filter.provenances[0]",
        "price_basis.purchase_options[0]",
        "price_basis.region",
        "price_basis.price_time",
        "normalization",
        "max_results",
        "max_excluded",
    }


async def test_neither_use_case_nor_weights_is_refused(made: World) -> None:
    found = await failure(made.ranking.Recommend(RecommendRequest()))
    assert set(found.fields) == {"weights"}
    nothing_counts = RecommendRequest(weights=weights_of({TTFT: 0.0}))
    found = await failure(made.ranking.Recommend(nothing_counts))
    assert set(found.fields) == {"weights"}


async def test_without_any_matrix_and_with_neighbours_away_the_caller_is_told_to_come_again(
    migrated_database: str,
) -> None:
    async with ranking(migrated_database) as alone:
        found = await failure(alone.Recommend(RecommendRequest(weights=weights_of({TTFT: 1}))))
    assert (found.code, found.reason) == (
        grpc.StatusCode.UNAVAILABLE,
        "DEPENDENCY_UNAVAILABLE",
    )
    assert found.retry_seconds is not None


async def test_before_any_result_the_answer_is_empty_and_says_so(migrated_database: str) -> None:
    async with world(migrated_database) as empty:
        await empty.add_use_case()
        answer = await recommend(empty, use_case="chatbot")
    assert not answer.recommendations
    assert [n.text for n in answer.notices] == ["There are no results yet."]


async def test_what_is_archived_is_not_recommended(migrated_database: str) -> None:
    async with world(migrated_database) as small:
        await small.store(run(SMALL, ttft_p50_ms=30.0), run(LARGE, ttft_p50_ms=10.0))
        weights = weights_of({TTFT: 1})
        assert [n[0] for n in names(await recommend(small, weights=weights))] == [LARGE, SMALL]
        await small.catalog.ArchiveModel(model_pb2.ArchiveModelRequest(id=small.ids[LARGE]))
        await small.ranking.RefreshRankings(RefreshRankingsRequest())
        assert [n[0] for n in names(await recommend(small, weights=weights))] == [SMALL]
