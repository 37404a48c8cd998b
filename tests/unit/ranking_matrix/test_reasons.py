"""The reasons a person reads beside a recommendation."""

from servemark.type.v1.provenance_pb2 import Provenance
from services.ranking.candidates import Filter
from services.ranking.explain import explainer
from services.ranking.limits import Limit
from services.ranking.matrix import Matrix
from services.ranking.recommend import Request, recommend
from services.ranking.topsis import Normalization
from tests.unit.ranking_matrix.builders import (
    THROUGHPUT,
    TTFT,
    TTFT_P90,
    USD_TOKENS,
    config,
    identifier,
    matrix_of,
    price,
)

L4 = identifier(2001)
BOTH = ((TTFT, 1.0), (THROUGHPUT, 1.0))


def reasons(matrix: Matrix, request: Request) -> dict[int, list[str]]:
    """The reasons by the configuration's number."""
    explain = explainer(recommend(matrix, request))
    if explain is None:
        return {}
    found = {}
    for at, who in enumerate(explain.ranking.who[explain.ranking.shown]):
        number = int(explain.answer.candidates.row(int(who)).config_id[-4:], 16)
        found[number] = explain.reasons(at)
    return found


def test_the_reasons_say_where_it_leads_what_it_costs_and_where_it_loses() -> None:
    matrix = matrix_of(
        [
            config(1, ttft_p50_ms=(31.2, 31.2), throughput_tokens_sec=(3000.0, 3000.0)),
            config(
                2,
                ttft_p50_ms=(90.0, 90.0),
                throughput_tokens_sec=(900.0, 900.0),
                hardware_config_id=L4,
            ),
            config(3, ttft_p50_ms=(95.0, 95.0), throughput_tokens_sec=(900.0, 900.0)),
        ],
        [price(10.0), price(1.0, hardware_config_id=L4)],
    )
    assert reasons(matrix, Request(weights=BOTH)) == {
        1: [
            "Lowest TTFT p50 of 3 alternatives: 31.2 ms.",
            "Highest throughput of 3 alternatives: 3,000 tokens/s.",
            "3x the price per million tokens of the cheapest: $0.926 against $0.309.",
            "Nothing is at least as good in every criterion and better in one (Pareto front).",
        ],
        2: [
            "Cheapest of the alternatives: $0.309 per million tokens.",
            "On Pareto front 2: another is at least as good in every criterion.",
            "Loses most by throughput: 900 tokens/s, where the best has 3,000 tokens/s.",
        ],
        3: [
            "10x the price per million tokens of the cheapest: $3.09 against $0.309.",
            "On Pareto front 3: another is at least as good in every criterion.",
            "Loses most by throughput: 900 tokens/s, where the best has 3,000 tokens/s.",
        ],
    }


def test_a_lead_by_the_price_of_tokens_is_said_once() -> None:
    matrix = matrix_of(
        [
            config(1, throughput_tokens_sec=(1000.0, 1000.0)),
            config(2, throughput_tokens_sec=(999.0, 999.0)),
        ],
        [price(3.6)],
    )
    found = reasons(matrix, Request(weights=((USD_TOKENS, 1.0),)))
    assert found[1] == [
        "Lowest price per million tokens of 2 alternatives: $1.",
        "Nothing is at least as good in every criterion and better in one (Pareto front).",
    ]
    # A ratio that rounds to 1 says nothing; the figures beside each other keep their difference.
    assert found[2] == [
        "On Pareto front 2: another is at least as good in every criterion.",
        "Loses most by price per million tokens: $1.001, where the best has $1.",
    ]


def test_by_fixed_bounds_the_best_is_still_the_best_of_the_alternatives() -> None:
    rows = [
        config(1, ttft_p50_ms=(31.0, 31.0), throughput_tokens_sec=(900.0, 900.0)),
        config(2, ttft_p50_ms=(90.0, 90.0), throughput_tokens_sec=(950.0, 950.0)),
    ]
    found = reasons(
        matrix_of(rows), Request(weights=BOTH, normalization=Normalization.FIXED_BOUNDS)
    )
    assert found[1][0] == "Lowest TTFT p50 of 2 alternatives: 31 ms."
    assert found[2][0] == "Highest throughput of 2 alternatives: 950 tokens/s."
    assert "Loses most by TTFT p50: 90 ms, where the best has 31 ms." in found[2]


def test_a_shared_lead_says_with_how_many() -> None:
    rows = [config(n, ttft_p50_ms=(30.0, 30.0)) for n in (1, 2)]
    rows.append(config(3, ttft_p50_ms=(40.0, 40.0)))
    found = reasons(matrix_of(rows), Request(weights=((TTFT, 1.0),)))
    assert found[1][0] == "Lowest TTFT p50 of 3 alternatives, as 1 other: 30 ms."


def test_limits_are_told_the_uncertain_first_and_with_what_decides_them() -> None:
    matrix = matrix_of(
        [
            config(
                1,
                ttft_p50_ms=(30.0, 31.0),
                ttft_p99_ms=(250.0, 280.0),
                throughput_tokens_sec=(900.0, 1100.0),
            ),
        ]
    )
    request = Request(
        weights=((TTFT, 1.0),),
        limits=(Limit(TTFT, 35.0), Limit(TTFT_P90, 300.0), Limit(THROUGHPUT, 1000.0)),
        accept_uncertain=True,
    )
    assert reasons(matrix, request)[1] == [
        "The only alternative left.",
        "throughput ≥ 1,000 tokens/s is uncertain: 900 tokens/s to 1,100 tokens/s over 2 runs.",
        "Keeps TTFT p50 ≤ 35 ms: 31 ms in the worst of 2 runs.",
        "Keeps TTFT p90 ≤ 300 ms (by its TTFT p99): 280 ms in the worst of 2 runs.",
    ]


def test_percentiles_of_different_runs_that_contradict_each_other_are_told() -> None:
    matrix = matrix_of([config(1, ttft_p50_ms=400.0, ttft_p99_ms=200.0)])
    request = Request(
        weights=((TTFT, 1.0),), limits=(Limit(TTFT_P90, 300.0),), accept_uncertain=True
    )
    assert (
        "TTFT p90 ≤ 300 ms is uncertain: another percentile keeps it, but TTFT p50 is 400 ms."
        in reasons(matrix, request)[1]
    )


def test_many_times_the_price_are_written_without_an_exponent() -> None:
    speeds = {1: 45_000.0, 2: 100.0}
    rows = [config(n, ttft_p50_ms=30.0, throughput_tokens_sec=v) for n, v in speeds.items()]
    found = reasons(matrix_of(rows, [price(2.0)]), Request(weights=((TTFT, 1.0),)))
    assert found[2][0].startswith("450x the price per million tokens of the cheapest")


def test_a_single_run_and_figures_that_were_not_measured_are_confessed() -> None:
    estimated = Provenance.PROVENANCE_ESTIMATED
    matrix = matrix_of([config(1, ttft_p50_ms=30.0, provenance=estimated)])
    request = Request(weights=((TTFT, 1.0),), filter=Filter(provenances=(estimated,)))
    assert reasons(matrix, request)[1] == [
        "The only alternative left.",
        "Rests on a single run, so its spread is not known.",
        "Its figures were estimated, not measured.",
    ]
