"""Whether a limit is met, missed, uncertain or unknown, and what decides it."""

import numpy as np
import pytest

from servemark.type.v1.metric_pb2 import Metric
from services.ranking.candidates import Filter, PriceBasis, select
from services.ranking.cells import Pool, Runs, figure_of
from services.ranking.limits import MET, MISSED, UNCERTAIN, UNKNOWN, Limit, judge
from services.ranking.metrics import METRICS
from tests.unit.ranking_matrix.builders import (
    ACCURACY,
    THROUGHPUT,
    TTFT_P90,
    config,
    matrix_of,
    price,
)


def verdict(limit: Limit, **figures: object) -> tuple[int, str]:
    """The verdict on one configuration with these figures, and the column that decides it."""
    matrix = matrix_of([config(1, **figures)], [price(2.0)])
    verdicts = judge(select(matrix, Filter(), PriceBasis()), limit)
    return int(verdicts.verdict[0]), METRICS[int(verdicts.decided_by[0])].column


AT_MOST_300 = Limit(TTFT_P90, 300.0)


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ((250.0, 280.0, 300.0), MET),  # exactly the limit keeps it
        ((301.0, 350.0), MISSED),
        ((300.0, 300.1), UNCERTAIN),
        ((299.0,), MET),
        ((300.0000001,), MISSED),
    ],
)
def test_all_runs_none_or_some_keep_the_limit(runs: tuple[float, ...], expected: int) -> None:
    assert verdict(AT_MOST_300, ttft_p90_ms=runs) == (expected, "ttft_p90_ms")


@pytest.mark.parametrize(
    ("runs", "expected"),
    [((900.0, 1000.0), UNCERTAIN), ((1000.0, 1200.0), MET), ((800.0, 999.0), MISSED)],
)
def test_a_limit_on_what_is_better_higher_is_a_least(
    runs: tuple[float, ...], expected: int
) -> None:
    assert verdict(Limit(THROUGHPUT, 1000.0), throughput_tokens_sec=runs)[0] == expected


def test_a_limit_whose_figure_is_missing_is_unknown_never_met() -> None:
    assert verdict(AT_MOST_300, tpot_p90_ms=1.0) == (UNKNOWN, "ttft_p90_ms")


def test_a_higher_percentile_within_the_limit_decides_that_it_is_met() -> None:
    assert verdict(AT_MOST_300, ttft_p99_ms=(200.0, 299.0)) == (MET, "ttft_p99_ms")


def test_the_nearest_percentile_that_decides_is_named() -> None:
    assert verdict(AT_MOST_300, ttft_p95_ms=290.0, ttft_p99_ms=299.0) == (MET, "ttft_p95_ms")
    assert verdict(
        Limit(Metric.METRIC_TTFT_P99_MS, 300.0), ttft_p50_ms=400.0, ttft_p95_ms=500.0
    ) == (
        MISSED,
        "ttft_p95_ms",
    )


def test_a_lower_percentile_beyond_the_limit_decides_that_it_is_missed() -> None:
    assert verdict(AT_MOST_300, ttft_p50_ms=(301.0, 400.0)) == (MISSED, "ttft_p50_ms")


@pytest.mark.parametrize(
    "figures",
    [
        {"ttft_p50_ms": 100.0},  # a lower one within the limit says nothing
        {"ttft_p99_ms": 900.0},  # nor does a higher one beyond it
        {"ttft_p50_ms": (200.0, 400.0)},  # nor one of which some runs are beyond
        {"ttft_p99_ms": (200.0, 400.0)},
    ],
)
def test_percentiles_that_do_not_decide_leave_it_unknown(figures: dict[str, object]) -> None:
    assert verdict(AT_MOST_300, **figures)[0] == UNKNOWN


def test_the_figure_itself_goes_before_what_others_imply() -> None:
    found = verdict(AT_MOST_300, ttft_p90_ms=(290.0, 310.0), ttft_p99_ms=250.0)
    assert found == (UNCERTAIN, "ttft_p90_ms")


def test_runs_that_contradict_each_other_by_different_percentiles_are_uncertain() -> None:
    found = verdict(AT_MOST_300, ttft_p50_ms=400.0, ttft_p99_ms=200.0)
    assert found == (UNCERTAIN, "ttft_p50_ms")


def test_percentiles_of_another_quantity_decide_nothing() -> None:
    assert verdict(AT_MOST_300, tpot_p99_ms=10.0)[0] == UNKNOWN


def test_a_limit_on_the_price_of_tokens_takes_the_spread_of_throughput() -> None:
    # At $2 an hour: 1000 tokens/s cost $0.556 a million, 500 cost $1.11.
    limit = Limit(Metric.METRIC_USD_PER_MILLION_TOKENS, 0.6)
    assert verdict(limit, throughput_tokens_sec=(1000.0, 1100.0))[0] == MET
    assert verdict(limit, throughput_tokens_sec=(500.0, 1000.0))[0] == UNCERTAIN
    assert verdict(limit, throughput_tokens_sec=(400.0, 500.0))[0] == MISSED
    assert verdict(limit, ttft_p50_ms=1.0)[0] == UNKNOWN


def test_what_is_surely_known_of_all_requests_goes_before_the_span_of_the_runs() -> None:
    runs = Runs(300.0, 250.0, 400.0, 3)
    merged = figure_of(TTFT_P90, runs, Pool(290.0, 900, 3))
    assert verdict(Limit(TTFT_P90, 280.0), ttft_p90_ms=merged)[0] == MISSED
    assert verdict(Limit(TTFT_P90, 290.0), ttft_p90_ms=merged)[0] == UNCERTAIN
    assert verdict(Limit(TTFT_P90, 300.0), ttft_p90_ms=merged)[0] == MET
    shared = figure_of(ACCURACY, Runs(0.9, 0.8, 0.95, 3), Pool(0.9, 10_000, 3))
    assert verdict(Limit(ACCURACY, 0.89), accuracy_score=shared)[0] == MET
    assert verdict(Limit(ACCURACY, 0.9), accuracy_score=shared)[0] == UNCERTAIN
    assert verdict(Limit(ACCURACY, 0.91), accuracy_score=shared)[0] == MISSED


def test_verdicts_are_monotone_in_the_limit() -> None:
    matrix = matrix_of(
        [
            config(number, **{column: tuple(sorted((a, b)))})
            for number, (column, a, b) in enumerate(
                (column, a, b)
                for column in ("ttft_p50_ms", "ttft_p90_ms", "ttft_p95_ms", "ttft_p99_ms")
                for a in (100.0, 200.0, 300.0)
                for b in (100.0, 200.0, 300.0)
            )
        ]
    )
    candidates = select(matrix, Filter(), PriceBasis())
    met = np.zeros(len(candidates), dtype=np.bool_)
    for limit in (50.0, 100.0, 150.0, 200.0, 250.0, 300.0, 350.0):
        verdicts = judge(candidates, Limit(TTFT_P90, limit)).verdict
        assert not (met & (verdicts != MET)).any()
        met |= verdicts == MET
