"""Estimated candidates beside measured ones: whose they are, their figures, and who gets none."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servemark.ranking.v1.candidate_pb2 import CellMethod, ExclusionReason, Notice
from servemark.ranking.v1.recommend_pb2 import LimitVerdict
from servemark.type.v1.provenance_pb2 import Provenance
from services.ranking.answers import answers_of, spread_in
from services.ranking.candidates import Candidates, Filter, PriceBasis
from services.ranking.content import ConfigRow, UseCase
from services.ranking.convert_answers import recommend_response_to_proto
from services.ranking.estimated import EstimatedRow, select_with_estimates
from services.ranking.estimates import Estimate, estimate
from services.ranking.limits import Limit
from services.ranking.matrix import Matrix
from services.ranking.metrics import PLACE
from services.ranking.notices import Message
from services.ranking.options import OperatingPoint, Options
from services.ranking.recommend import Answer, Request, recommend
from tests.unit.ranking_matrix.builders import (
    THROUGHPUT,
    TPOT,
    TTFT,
    USD_TOKENS,
    config,
    identifier,
    matrix_of,
    price,
    use_case,
)

ESTIMATED, SIMULATED = Provenance.PROVENANCE_ESTIMATED, Provenance.PROVENANCE_SIMULATED
AT_3 = OperatingPoint(concurrency=3)
LAST = 2**128 - 1
"""The number of the last id there is."""


def curve(start: int = 1, scale: float = 1.0, **given: Any) -> list[ConfigRow]:
    """TTFT as in the manual's example, throughput that rises with the root of the concurrency."""
    ttft = {1: 100.0, 2: 200.0, 4: 400.0, 8: 900.0, 16: 1600.0}
    return [
        config(
            start + n,
            concurrency=load,
            ttft_p50_ms=ms * scale,
            throughput_tokens_sec=1000 * load**0.5,
            **given,
        )
        for n, (load, ms) in enumerate(ttft.items())
    ]


def chosen(
    matrix: Matrix,
    point: OperatingPoint | None = AT_3,
    filter_: Filter | None = None,
    wanted: UseCase | None = None,
) -> tuple[Candidates, list[Message]]:
    return select_with_estimates(matrix, point, filter_ or Filter(), PriceBasis(), wanted)


def estimated(candidates: Candidates) -> list[int]:
    """The candidates that were estimated."""
    rows = range(len(candidates))
    return [index for index in rows if isinstance(candidates.row(index), EstimatedRow)]


def the_one(candidates: Candidates) -> tuple[int, EstimatedRow]:
    (index,) = estimated(candidates)
    row = candidates.row(index)
    assert isinstance(row, EstimatedRow)
    return index, row


def test_an_estimate_is_a_candidate_with_the_figures_between() -> None:
    matrix = matrix_of(curve(), [price(3.6)])
    candidates, notices = chosen(matrix)
    assert (len(candidates), notices) == (6, [])
    index, row = the_one(candidates)
    # The example of `estimate`, worked by hand there: off by 12.5 % at 8, one of three points.
    assert candidates.value_of(index, PLACE[TTFT]) == pytest.approx(297.7, abs=0.05)
    span = candidates.span_of(index, PLACE[TTFT])
    assert span == pytest.approx((297.67 / 1.125**2.353, 297.67 * 1.125**2.353), abs=0.05)
    low, high = candidates.sure(PLACE[TTFT])
    assert (low[index], high[index]) == span
    figure = row.figures["ttft_p50_ms"]
    assert (figure.method, figure.runs) == (CellMethod.CELL_METHOD_INTERPOLATED, 2)
    # $3.6 an hour is $0.001 a second, for 1000 * sqrt(3) tokens.
    assert candidates.value_of(index, PLACE[USD_TOKENS]) == pytest.approx(1 / 3**0.5, rel=1e-6)
    assert np.isnan(candidates.value_of(index, PLACE[TPOT]))


def test_it_says_whence_it_comes() -> None:
    rows = curve()
    twice = config(2, concurrency=2, ttft_p50_ms=(199.0, 201.0), throughput_tokens_sec=1414.0)
    rows[1] = replace(twice, tools=("guidellm",), run_count=3, newest_benchmark_us=7)
    candidates, _ = chosen(matrix_of(rows))
    _, row = the_one(candidates)
    assert (row.axis, row.config_ids) == ("concurrency", (identifier(2), identifier(3)))
    assert (row.concurrency, row.input_tokens, row.output_tokens) == (3, 512, 256)
    assert (row.provenance, row.run_count) == (ESTIMATED, 4)
    assert row.tools == ("guidellm", "vllm-bench")
    assert row.newest_benchmark_us == rows[2].newest_benchmark_us
    # Of the two at 2 and the one at 4.
    assert row.figures["ttft_p50_ms"].runs == 3
    assert [(metric, found.tested) for metric, found in row.estimates] == [
        (TTFT, 3),
        (THROUGHPUT, 3),
    ]


def test_without_an_operating_point_nothing_changes() -> None:
    matrix = matrix_of(curve(), [price(3.6)])
    candidates, notices = chosen(matrix, None)
    assert candidates.matrix is matrix
    assert (len(candidates), notices) == (5, [])


def test_what_was_measured_there_stays_as_it_is() -> None:
    matrix = matrix_of([*curve(), config(6, concurrency=3, ttft_p50_ms=1.0)])
    candidates, notices = chosen(matrix)
    assert estimated(candidates) == []
    # Not even the metrics that it lacks are filled in.
    assert np.isnan(candidates.value_of(5, PLACE[THROUGHPUT]))
    assert (len(candidates), notices) == (6, [])


def test_the_matrix_is_left_alone_and_rows_stay_in_order_of_their_ids() -> None:
    # The ids of estimates lie anywhere, so between these.
    left_out = curve(LAST - 20, model="acme/Other", model_version_id=identifier(9))
    matrix = matrix_of([*curve(), *curve(LAST - 10, 2.0, framework="sglang"), *left_out])
    before = matrix.value.copy()
    candidates, _ = chosen(matrix, filter_=Filter(models=("acme/Model-8B",)))
    assert len(matrix.rows) == 15
    assert np.array_equal(matrix.value, before, equal_nan=True)
    ids = [candidates.row(index).config_id for index in range(len(candidates))]
    assert len(ids) == 12
    assert ids == sorted(ids)
    assert len(estimated(candidates)) == 2
    assert {row.model for row in map(candidates.row, range(12))} == {"acme/Model-8B"}
    for index in range(len(candidates)):
        row = candidates.row(index)
        value = candidates.value_of(index, PLACE[TTFT])
        assert value == row.figures["ttft_p50_ms"].value
        at = candidates.rows[index]
        names = candidates.matrix.names["framework"]
        assert names.names[names.codes[at]] == row.framework
        assert candidates.matrix.provenance[at] == row.provenance
        assert candidates.matrix.input_tokens[at] == row.input_tokens


def test_the_same_point_has_the_same_id_and_another_point_another() -> None:
    def ids(point: OperatingPoint, rows: list[ConfigRow]) -> set[str]:
        candidates, _ = chosen(matrix_of(rows), point)
        return {candidates.row(index).config_id for index in estimated(candidates)}

    rows = curve()
    found = ids(AT_3, rows)
    assert found == ids(AT_3, rows[::-1])
    # Figures are no part of it.
    assert found == ids(AT_3, curve(scale=2.0))
    others = [(5, rows), (6, rows), (3, curve(20))]
    assert len(found.union(*(ids(OperatingPoint(concurrency=n), r) for n, r in others))) == 4


def why(rows: list[ConfigRow], point: OperatingPoint = AT_3) -> str:
    candidates, notices = chosen(matrix_of(rows), point)
    assert estimated(candidates) == []
    (notice,) = notices
    assert notice.kind == Notice.KIND_OUTSIDE_MEASURED
    return notice.text


def test_refusals_are_counted_with_their_reasons() -> None:
    start = "For 1 configuration nothing was estimated at the operating point: "
    above, below = OperatingPoint(concurrency=17), OperatingPoint(input_tokens=100)
    lengths = [config(n, input_tokens=200 * n, ttft_p50_ms=float(n)) for n in (1, 2, 3)]
    assert why(curve(), above) == f"{start}it lies above everything measured of 1."
    assert why(lengths, below) == f"{start}it lies below everything measured of 1."
    assert why(curve()[1:3]) == (f"{start}fewer than three points of one curve were measured of 1.")
    assert why(curve(), OperatingPoint(concurrency=3, input_tokens=1000)) == (
        f"{start}nothing that differs from it in one load or length only was measured of 1."
    )
    assert why(curve(), OperatingPoint(request_rate=3.0)).startswith("For 5 configurations ")
    assert why(
        [*curve()[:2], *curve(10, framework="sglang")[2:], *curve(20, workload_type="x")[2:]]
    ) == (
        "For 3 configurations nothing was estimated at the operating point: it lies below "
        "everything measured of 2; fewer than three points of one curve were measured of 1."
    )


def test_a_metric_without_a_curve_of_its_own_is_left_out() -> None:
    rows = curve()
    rows[0] = config(1, concurrency=1, ttft_p50_ms=100.0, tpot_p50_ms=9.0)
    candidates, notices = chosen(matrix_of(rows))
    index, row = the_one(candidates)
    assert sorted(row.figures) == ["throughput_tokens_sec", "ttft_p50_ms"]
    assert np.isnan(candidates.value_of(index, PLACE[TPOT]))
    # Without its throughput at 1, that metric has an inner point less.
    assert {metric: found.tested for metric, found in row.estimates} == {TTFT: 3, THROUGHPUT: 2}
    assert notices == []


def test_it_lies_between_the_nearest_that_have_one_of_its_figures() -> None:
    rows = curve()
    rows[1] = config(2, concurrency=2, throughput_tokens_sec=1414.0)
    assert the_one(chosen(matrix_of(rows))[0])[1].config_ids == (identifier(2), identifier(3))
    rows[1] = config(2, concurrency=2, tpot_p50_ms=9.0)
    assert the_one(chosen(matrix_of(rows))[0])[1].config_ids == (identifier(1), identifier(3))


def test_the_axis_with_most_points_is_taken() -> None:
    lengths = [config(10 + n, concurrency=3, input_tokens=n, ttft_p50_ms=1.0) for n in (8, 9, 999)]
    point = OperatingPoint(concurrency=3, input_tokens=512)
    candidates, _ = chosen(matrix_of([*curve(), *lengths]), point)
    assert the_one(candidates)[1].axis == "concurrency"
    more = [
        config(30 + n, concurrency=3, input_tokens=2**n, ttft_p50_ms=1.0, throughput_tokens_sec=1.0)
        for n in (1, 2, 3, 4, 5, 6, 7, 8, 10)
    ]
    candidates, _ = chosen(matrix_of([*curve(), *more]), point)
    assert the_one(candidates)[1].axis == "input_tokens"


def test_the_filter_holds_for_estimates_as_if_they_had_been_measured() -> None:
    lengths = (500, 700, 1400, 2000)
    rows = [config(n, input_tokens=tokens, ttft_p50_ms=1.0) for n, tokens in enumerate(lengths, 1)]
    matrix = matrix_of([*rows, *curve(10, model="acme/Other", model_version_id=identifier(9))])
    point = OperatingPoint(input_tokens=1000)
    span = (1000, 1000)
    for filter_, wanted in (
        (Filter(input_tokens=span), None),
        (Filter(), use_case(input_tokens=span)),
    ):
        candidates, _ = chosen(matrix, point, filter_, wanted)
        # The points of the curve do not pass, yet what lies between them does.
        assert [row.input_tokens for row in map(candidates.row, estimated(candidates))] == [1000]
        assert len(candidates) == 1
    for filter_ in (Filter(input_tokens=(0, 900)), Filter(models=("acme/Other",))):
        candidates, _ = chosen(matrix, point, filter_)
        assert estimated(candidates) == []


def test_simulations_are_interpolated_only_if_asked_for_and_estimates_never() -> None:
    for provenance, count in ((SIMULATED, 1), (ESTIMATED, 0)):
        matrix = matrix_of(curve(provenance=provenance))
        assert len(chosen(matrix)[0]) == 0
        candidates, notices = chosen(matrix, filter_=Filter(provenances=(provenance,)))
        assert len(estimated(candidates)) == count
        assert len(candidates) == 5 + count
        assert notices == []


def test_stored_estimates_do_not_slip_in_with_those_of_the_request() -> None:
    stored = config(9, provenance=ESTIMATED, ttft_p50_ms=1.0)
    candidates, _ = chosen(matrix_of([*curve(), stored]))
    assert [row.config_id == stored.config_id for row in map(candidates.row, range(6))] == [
        False
    ] * 6


def test_a_limit_is_kept_only_with_the_error() -> None:
    matrix = matrix_of(curve())
    request = Request(weights=((TTFT, 1.0),), operating_point=AT_3)
    verdicts = {}
    for bound in (400.0, 300.0, 220.0):
        answer = recommend(matrix, replace(request, limits=(Limit(TTFT, bound),)))
        (index,) = estimated(answer.candidates)
        verdicts[bound] = int(answer.screened.verdicts[0].verdict[index])
        if bound == 300.0:
            assert answer.screened.why(index) == [
                (
                    ExclusionReason.EXCLUSION_REASON_LIMIT_UNCERTAIN,
                    "TTFT p50 ≤ 300 ms is uncertain: 226 ms to 393 ms with the error of its "
                    "estimate.",
                )
            ]
    assert verdicts == {
        400.0: LimitVerdict.LIMIT_VERDICT_MET,
        300.0: LimitVerdict.LIMIT_VERDICT_UNCERTAIN,
        220.0: LimitVerdict.LIMIT_VERDICT_MISSED,
    }


@pytest.mark.parametrize(
    ("point", "counted"),
    [
        (None, None),
        (AT_3, "5 of 7"),
        (OperatingPoint(concurrency=3, input_tokens=512, output_tokens=256), "6 of 7"),
        (OperatingPoint(input_tokens=512), None),
    ],
)
def test_what_was_measured_elsewhere_is_counted(
    point: OperatingPoint | None, counted: str | None
) -> None:
    # One system has an estimate at 3, the other was measured there, with other lengths.
    there = config(9, concurrency=3, ttft_p50_ms=1.0, framework="sglang", output_tokens=512)
    request = Request(weights=((TTFT, 1.0),), operating_point=point)
    answer = recommend(matrix_of([*curve(), there]), request)
    texts = [
        notice.text for notice in answer.notices if notice.kind == Notice.KIND_WORKLOADS_DIFFER
    ]
    assert texts == [
        f"{counted} alternatives were measured at other loads or lengths than those asked for, so "
        "figures do not say whether they would be better there."
        for counted in ([counted] if counted else [])
    ]


def test_an_error_beyond_the_value_leaves_no_figure_below_zero() -> None:
    # A value of 0 makes the error absolute.
    rows = [
        config(n, concurrency=n, memory_used_gb=gb)
        for n, gb in ((1, 0.0), (2, 0.1), (4, 50.0), (8, 0.2), (16, 0.0))
    ]
    candidates, _ = chosen(matrix_of(rows), OperatingPoint(concurrency=9))
    _, row = the_one(candidates)
    assert row.figures["memory_used_gb"].low == 0.0
    (_, found), *_ = row.estimates
    assert not found.relative
    assert found.low < 0


def test_the_same_request_gives_the_same_bytes() -> None:
    rows = [*curve(), *curve(10, 1.3, framework="sglang")]
    request = Request(weights=((TTFT, 1.0), (THROUGHPUT, 2.0)), operating_point=AT_3)
    first, second = (recommend(matrix_of(given), request) for given in (rows, rows[::-1]))
    assert bytes_of(first) == bytes_of(second)


def bytes_of(answer: Answer) -> bytes:
    message = recommend_response_to_proto(answer, answers_of(answer))
    return message.SerializeToString(deterministic=True)


def test_confidence_takes_the_error_of_an_estimate_and_lends_it_to_nobody() -> None:
    every = Options(confidence=True)
    rows = [
        *curve(),
        config(9, ttft_p50_ms=(99.0, 101.0), throughput_tokens_sec=1000.0, framework="x"),
    ]
    request = Request(weights=((TTFT, 1.0),), options=every, limits=(Limit(TTFT, 400.0),))
    found = {}
    for point in (None, AT_3):
        answer = recommend(matrix_of(rows), replace(request, operating_point=point))
        assert answer.ranking is not None
        spread = spread_in(answer, answer.ranking)
        who = answer.ranking.who
        found[point] = {
            answer.candidates.row(int(index)).config_id: float(spread.error[place, 0])
            for place, index in enumerate(who)
        }
    (guess,) = found[AT_3].keys() - found[None].keys()
    # 1.645 errors to each side, which hold 90 %, are its error: a factor of 1.125^2.353.
    assert found[AT_3].pop(guess) * 1.645 == pytest.approx(2.353 * math.log(1.125), rel=1e-3)
    assert found[AT_3] == found[None]


FIGURES = st.floats(0.001, 1e5)


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(st.integers(1, 64), st.tuples(FIGURES, FIGURES), min_size=3, max_size=9),
    st.integers(1, 64),
)
def test_a_point_of_the_curve_is_never_doubled_and_any_other_is_the_curves_own(
    points: dict[int, tuple[float, float]], wanted: int
) -> None:
    rows = [
        config(n + 1, concurrency=load, ttft_p50_ms=ms, throughput_tokens_sec=speed)
        for n, (load, (ms, speed)) in enumerate(points.items())
    ]
    candidates, notices = chosen(matrix_of(rows), OperatingPoint(concurrency=wanted))
    loads = [candidates.row(index).concurrency or 0 for index in range(len(candidates))]
    assert len(set(loads)) == len(loads)
    inside = min(points) < wanted < max(points)
    if wanted in points or not inside:
        assert sorted(loads) == sorted(points)
        assert bool(notices) == (wanted not in points)
        return
    index, row = the_one(candidates)
    for place, metric in enumerate((TTFT, THROUGHPUT)):
        (found,) = estimate(list(points), [[v[place]] for v in points.values()], wanted)
        assert isinstance(found, Estimate)
        assert candidates.value_of(index, PLACE[metric]) == found.value
        assert candidates.span_of(index, PLACE[metric]) == (found.low, found.high)
    ends = [int(identifier_[-4:], 16) - 1 for identifier_ in row.config_ids]
    below, above = (list(points)[end] for end in ends)
    assert below < wanted < above
    assert not [load for load in points if below < load < above]
