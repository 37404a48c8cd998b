"""The pipeline from a request to an answer, on small matrices by hand."""

from dataclasses import replace
from typing import Any

import pytest

from servemark.ranking.v1.candidate_pb2 import ExclusionReason, Notice
from servemark.type.v1.provenance_pb2 import Provenance
from services.ranking.answers import answers_of
from services.ranking.candidates import Filter, PriceBasis
from services.ranking.convert_answers import recommend_response_to_proto
from services.ranking.limits import Limit
from services.ranking.matrix import Matrix
from services.ranking.options import Options, Target
from services.ranking.recommend import Answer, Request, recommend
from services.ranking.references import establish
from services.ranking.topsis import Normalization
from tests.unit.ranking_matrix.builders import (
    ACCURACY,
    SPOT,
    THROUGHPUT,
    TPOT,
    TTFT,
    TTFT_P90,
    USD_HOUR,
    USD_TOKENS,
    config,
    identifier,
    matrix_of,
    price,
    use_case,
)

LATENCY_AND_SPEED = ((TTFT, 1.0), (THROUGHPUT, 1.0))


def places(answer: Answer) -> list[tuple[int, int]]:
    """(number of the configuration, rank), best first."""
    ranking = answer.ranking
    if ranking is None:
        return []
    return [
        (
            int(answer.candidates.row(int(ranking.who[row])).config_id[-4:], 16),
            int(ranking.result.rank[row]),
        )
        for row in ranking.result.order
    ]


def kinds(answer: Answer) -> list[int]:
    return [notice.kind for notice in answer.notices]


def counts(answer: Answer) -> dict[tuple[int, int], int]:
    return {(e.reason, e.metric): int(e.who.sum()) for e in answer.screened.exclusions}


def three() -> Matrix:
    """Fast and expensive, slow and cheap, and one that is worse than the first in everything."""
    return matrix_of(
        [
            config(1, ttft_p50_ms=30.0, throughput_tokens_sec=3000.0),
            config(2, ttft_p50_ms=90.0, throughput_tokens_sec=900.0, hardware_config_id=L4),
            config(3, ttft_p50_ms=40.0, throughput_tokens_sec=2000.0),
        ],
        [price(10.0), price(1.0, hardware_config_id=L4)],
        [use_case(limits=((TTFT, 60.0),))],
    )


L4 = identifier(2001)


def test_the_best_in_everything_comes_first_and_the_dominated_behind_its_dominator() -> None:
    answer = recommend(three(), Request(weights=LATENCY_AND_SPEED))
    assert places(answer) == [(1, 1), (3, 2), (2, 3)]
    assert answer.ranking is not None
    assert answer.ranking.pareto_rank.tolist() == [1, 3, 2]
    assert kinds(answer) == [Notice.KIND_SCORES_RELATIVE]


def test_weights_are_scaled_to_a_sum_of_one_and_only_their_proportions_matter() -> None:
    one = recommend(three(), Request(weights=((TTFT, 3.0), (THROUGHPUT, 1.0))))
    other = recommend(three(), Request(weights=((TTFT, 3e300), (THROUGHPUT, 1e300))))
    assert dict(one.weights) == pytest.approx({TTFT: 0.75, THROUGHPUT: 0.25})
    assert places(one) == places(other)
    assert dict(other.weights) == pytest.approx(dict(one.weights))


def test_a_criterion_nobody_has_is_dropped_and_the_other_weights_scaled_up() -> None:
    answer = recommend(three(), Request(weights=((TTFT, 1.0), (ACCURACY, 3.0))))
    assert answer.weights == ((TTFT, 1.0),)
    assert kinds(answer) == [Notice.KIND_CRITERION_DROPPED, Notice.KIND_SCORES_RELATIVE]
    assert answer.notices[0].metric == ACCURACY
    assert "accuracy" in answer.notices[0].text


def test_a_candidate_without_a_criterion_that_others_have_is_left_out_never_filled_in() -> None:
    matrix = matrix_of([config(1, ttft_p50_ms=30.0), config(2, ttft_p50_ms=20.0, tpot_p50_ms=5.0)])
    answer = recommend(matrix, Request(weights=((TTFT, 1.0), (TPOT, 1.0))))
    assert [number for number, _ in places(answer)] == [2]
    missing = ExclusionReason.EXCLUSION_REASON_CRITERION_MISSING
    assert counts(answer) == {(missing, TPOT): 1}
    assert answer.screened.why(0) == [(missing, "There is no figure for TPOT p50.")]


def test_what_counts_for_nothing_need_not_be_measured() -> None:
    matrix = matrix_of([config(1, ttft_p50_ms=30.0), config(2, ttft_p50_ms=20.0, tpot_p50_ms=5.0)])
    answer = recommend(matrix, Request(weights=((TTFT, 1.0), (TPOT, 0.0))))
    assert [number for number, _ in places(answer)] == [2, 1]
    assert answer.weights == ((TTFT, 1.0),)


def test_where_nobody_has_any_criterion_every_candidate_is_counted_as_left_out() -> None:
    answer = recommend(three(), Request(weights=((ACCURACY, 1.0),)))
    assert answer.ranking is None
    assert answer.weights == ()
    missing = ExclusionReason.EXCLUSION_REASON_CRITERION_MISSING
    assert counts(answer) == {(missing, ACCURACY): 3}
    assert kinds(answer) == [Notice.KIND_CRITERION_DROPPED, Notice.KIND_NOTHING_FEASIBLE]


def test_a_use_case_gives_weights_and_limits_where_the_request_names_none() -> None:
    matrix = three()
    chat = matrix.use_case("Chatbot")
    assert chat is not None
    answer = recommend(matrix, Request(use_case=chat))
    assert [metric for metric, _ in answer.weights] == [TTFT, THROUGHPUT]
    assert answer.limits == (Limit(TTFT, 60.0),)
    assert Notice.KIND_DEFAULT_LIMITS_APPLIED in kinds(answer)
    assert [number for number, _ in places(answer)] == [1, 3]

    for request in (
        Request(use_case=chat, no_default_limits=True),
        Request(use_case=chat, limits=(Limit(TTFT, 90.0),)),
    ):
        other = recommend(matrix, request)
        assert Notice.KIND_DEFAULT_LIMITS_APPLIED not in kinds(other)
        assert len(places(other)) == 3


def test_limits_the_budget_and_unknown_prices_leave_out_and_all_reasons_are_told() -> None:
    matrix = matrix_of(
        [
            config(1, ttft_p50_ms=30.0, ttft_p90_ms=100.0),
            config(2, ttft_p50_ms=30.0, ttft_p90_ms=(250.0, 350.0), hardware_config_id=L4),
            config(3, ttft_p50_ms=400.0, ttft_p90_ms=500.0, hardware_config_id=identifier(2002)),
            config(4, ttft_p50_ms=30.0, hardware_config_id=L4),
        ],
        [price(25.004), price(20.0, hardware_config_id=L4)],
    )
    answer = recommend(
        matrix,
        Request(weights=((TTFT, 1.0),), limits=(Limit(TTFT_P90, 300.0),), max_usd_per_hour=20.0),
    )
    reason = ExclusionReason
    assert places(answer) == []
    assert counts(answer) == {
        (reason.EXCLUSION_REASON_LIMIT_MISSED, TTFT_P90): 1,
        (reason.EXCLUSION_REASON_LIMIT_UNCERTAIN, TTFT_P90): 1,
        (reason.EXCLUSION_REASON_LIMIT_UNKNOWN, TTFT_P90): 1,
        (reason.EXCLUSION_REASON_OVER_BUDGET, USD_HOUR): 1,
        (reason.EXCLUSION_REASON_PRICE_UNKNOWN, USD_HOUR): 1,
    }
    assert [text for _, text in answer.screened.why(0)] == [
        "Costs $25/hour; the budget is $20/hour."
    ]
    assert [text for _, text in answer.screened.why(1)] == [
        "TTFT p90 ≤ 300 ms is uncertain: 250 ms to 350 ms over 2 runs."
    ]
    assert [text for _, text in answer.screened.why(2)] == [
        "Misses TTFT p90 ≤ 300 ms: 500 ms.",
        "No price is known, so it cannot be held against the budget.",
    ]
    assert [text for _, text in answer.screened.why(3)] == [
        "TTFT p90 ≤ 300 ms cannot be judged: it was not measured."
    ]
    assert kinds(answer) == [Notice.KIND_NOTHING_FEASIBLE]
    assert answer.notices[0].text == (
        "None of the 4 candidates is left. The main reason, for 1: TTFT p90 ≤ 300 ms is missed."
    )


def test_uncertain_ones_take_part_when_accepted_but_unknown_ones_never() -> None:
    matrix = matrix_of(
        [config(1, ttft_p50_ms=30.0, ttft_p90_ms=(250.0, 350.0)), config(2, ttft_p50_ms=30.0)]
    )
    request = Request(
        weights=((TTFT, 1.0),), limits=(Limit(TTFT_P90, 300.0),), accept_uncertain=True
    )
    answer = recommend(matrix, request)
    assert places(answer) == [(1, 1)]
    assert places(recommend(matrix, replace(request, accept_uncertain=False))) == []


def test_the_budget_is_met_by_exactly_its_price() -> None:
    request = Request(weights=((TTFT, 1.0),), max_usd_per_hour=10.0)
    assert [number for number, _ in places(recommend(three(), request))] == [1, 3, 2]
    dear = replace(request, price_basis=PriceBasis((SPOT,)))
    assert places(recommend(three(), dear)) == []


def test_a_budget_just_below_the_price_is_not_rounded_onto_it() -> None:
    matrix = matrix_of([config(1, ttft_p50_ms=30.0)], [price(12.8)])
    request = Request(weights=((TTFT, 1.0),), max_usd_per_hour=12.7999999)
    [(_, text)] = recommend(matrix, request).screened.why(0)
    assert text == "Costs $12.8/hour; the budget is $12.7999999/hour."


def test_equal_alternatives_share_a_place_in_order_of_id_and_the_next_is_left_out() -> None:
    same = {"ttft_p50_ms": 30.0, "throughput_tokens_sec": 900.0}
    worse = config(4, ttft_p50_ms=60.0, throughput_tokens_sec=500.0)
    matrix = matrix_of([config(3, **same), worse, config(1, **same), config(2, **same)])
    answer = recommend(matrix, Request(weights=LATENCY_AND_SPEED))
    assert places(answer) == [(1, 1), (2, 1), (3, 1), (4, 4)]


@pytest.mark.parametrize("count", [1, 3])
def test_one_alternative_or_equal_ones_are_degenerate_not_nan(count: int) -> None:
    matrix = matrix_of([config(number, ttft_p50_ms=30.0) for number in range(1, count + 1)])
    answer = recommend(matrix, Request(weights=((TTFT, 1.0),)))
    assert answer.ranking is not None
    assert answer.ranking.result.score.tolist() == [0.5] * count
    assert Notice.KIND_DEGENERATE in kinds(answer)


def test_a_constant_criterion_is_pointed_out() -> None:
    rows = [config(n, ttft_p50_ms=30.0, throughput_tokens_sec=100.0 * n) for n in (1, 2)]
    answer = recommend(matrix_of(rows), Request(weights=LATENCY_AND_SPEED))
    notice = next(n for n in answer.notices if n.kind == Notice.KIND_CRITERION_CONSTANT)
    assert notice.metric == TTFT


def test_results_that_were_not_measured_take_part_only_when_asked_and_are_pointed_out() -> None:
    simulated = Provenance.PROVENANCE_SIMULATED
    matrix = matrix_of(
        [config(1, ttft_p50_ms=30.0), config(2, ttft_p50_ms=3.0, provenance=simulated)]
    )
    assert places(recommend(matrix, Request(weights=((TTFT, 1.0),)))) == [(1, 1)]
    both = Filter(provenances=(Provenance.PROVENANCE_MEASURED, simulated))
    answer = recommend(matrix, Request(weights=((TTFT, 1.0),), filter=both))
    assert places(answer) == [(2, 1), (1, 2)]
    assert Notice.KIND_NOT_MEASURED_INCLUDED in kinds(answer)


def test_an_empty_matrix_and_a_filter_that_keeps_none_say_so() -> None:
    nothing = recommend(matrix_of([]), Request(weights=((TTFT, 1.0),)))
    assert [notice.text for notice in nothing.notices] == ["There are no results yet."]
    none = recommend(three(), Request(weights=((TTFT, 1.0),), filter=Filter(models=("x",))))
    assert [notice.text for notice in none.notices] == ["No configuration passed the filter."]


def test_fixed_bounds_clip_and_say_so_and_leaving_one_out_reorders_nobody() -> None:
    matrix = three()
    matrix = replace(matrix, references=establish(matrix, 1))
    grown = matrix_of(
        [*matrix.rows, config(4, ttft_p50_ms=5000.0, throughput_tokens_sec=100_000.0)],
        matrix.content.prices,
        matrix.content.use_cases,
    )
    grown = replace(grown, references=matrix.references)
    request = Request(
        use_case=matrix.use_case("chatbot"),
        no_default_limits=True,
        normalization=Normalization.FIXED_BOUNDS,
    )
    answer = recommend(grown, request)
    clipped = [n for n in answer.notices if n.kind == Notice.KIND_VALUES_CLIPPED]
    assert [notice.metric for notice in clipped] == [TTFT, THROUGHPUT]
    assert Notice.KIND_SCORES_RELATIVE not in kinds(answer)

    def scores(found: Answer) -> dict[int, float]:
        assert found.ranking is not None
        numbers = dict(places(found))
        ordered = [found.ranking.result.score[row] for row in found.ranking.result.order]
        return dict(zip(numbers, ordered, strict=True))

    without = recommend(matrix, request)
    assert scores(without).items() <= scores(answer).items()


def test_fixed_bounds_without_reference_are_of_this_answer_only_and_say_so() -> None:
    answer = recommend(
        three(), Request(weights=((TTFT, 1.0),), normalization=Normalization.FIXED_BOUNDS)
    )
    assert len(places(answer)) == 3
    notice = next(n for n in answer.notices if n.kind == Notice.KIND_SCORES_RELATIVE)
    assert notice.metric == TTFT


@pytest.mark.parametrize("normalization", list(Normalization))
def test_the_same_request_on_the_same_facts_gives_the_same_bytes(
    normalization: Normalization,
) -> None:
    def answer(rows: Any) -> bytes:
        matrix = matrix_of(rows, reversed(three().content.prices), [use_case()])
        request = Request(
            weights=((TTFT, 1.0), (USD_TOKENS, 2.0)),
            normalization=normalization,
            max_excluded=10,
            limits=(Limit(TTFT, 80.0),),
            options=Options(acceptability=True, confidence=True),
            target=Target(100.0),
        )
        found = recommend(matrix, request)
        response = recommend_response_to_proto(found, answers_of(found))
        return response.SerializeToString(deterministic=True)

    rows = three().rows
    assert answer(rows) == answer(rows[::-1]) == answer([rows[1], rows[0], rows[2]])


def test_the_answer_holds_at_most_what_was_asked_for_but_counts_all() -> None:
    rows = [config(n, ttft_p50_ms=10.0 * n) for n in range(1, 31)]
    found = recommend(
        matrix_of(rows),
        Request(
            weights=((TTFT, 1.0),),
            limits=(Limit(TTFT, 250.0),),
            max_results=2,
            max_excluded=3,
        ),
    )
    response = recommend_response_to_proto(found, answers_of(found))
    assert [r.alternative.config_id for r in response.recommendations] == [
        identifier(1),
        identifier(2),
    ]
    assert response.candidate_count == 30
    assert response.ranked_count == 25
    assert [e.count for e in response.exclusion_counts] == [5]
    assert [e.alternative.config_id for e in response.excluded] == [
        identifier(number) for number in (26, 27, 28)
    ]
