"""Reference bounds: around what there is, once, and then fixed."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ranking.matrix import NO_USE_CASE, Matrix
from services.ranking.references import around, establish
from tests.unit.ranking_matrix.builders import TTFT, USD_HOUR, config, matrix_of, price, use_case

CHAT = use_case("chat", 3000, input_tokens=(1, 1000))


def matrix(ttfts: Sequence[float], version: int = 7) -> Matrix:
    rows = [config(n, ttft_p50_ms=ttft) for n, ttft in enumerate(ttfts, start=1)]
    rows.append(config(99, ttft_p50_ms=9999.0, input_tokens=5000))
    return matrix_of(rows, [price(3.0)], [CHAT], version=version)


@pytest.mark.parametrize(
    ("values", "bounds"),
    [
        ([31.0, 870.0], (20.0, 1000.0)),
        ([20.0, 50.0], (20.0, 50.0)),
        ([20.0], (20.0, 50.0)),
        ([0.61, 0.88], (0.5, 1.0)),
        ([0.0], (0.0, 1.0)),
        ([0.0, 3.0], (0.0, 5.0)),
        ([0.03, 0.03], (0.02, 0.05)),
    ],
)
def test_bounds_are_rounded_outward(values: list[float], bounds: tuple[float, float]) -> None:
    assert around(np.array(values)) == bounds


@given(st.lists(st.floats(0, 1e12), min_size=1, max_size=20))
def test_bounds_hold_every_value_and_are_never_empty(values: list[float]) -> None:
    low, high = around(np.array(values))
    assert low < high
    assert low <= min(values)
    assert max(values) <= high


def test_a_use_cases_bounds_come_from_its_own_candidates() -> None:
    found = establish(matrix([31.0, 870.0]), 1)
    assert (found[CHAT.id, TTFT].low, found[CHAT.id, TTFT].high) == (20.0, 1000.0)
    assert found[NO_USE_CASE, TTFT].high == 10_000.0
    assert found[CHAT.id, USD_HOUR].candidate_count == 2
    assert found[CHAT.id, TTFT].source == "31 to 870 over 2 candidates of matrix version 7"


def test_bounds_stay_once_enough_candidates_stand_behind_them() -> None:
    first = establish(matrix([31.0, 870.0]), 2)
    grown = replace(matrix([5.0, 31.0, 2000.0], version=8), references=first)
    assert establish(grown, 2)[CHAT.id, TTFT] == first[CHAT.id, TTFT]


def test_bounds_of_few_candidates_are_widened_but_never_narrowed() -> None:
    first = establish(matrix([31.0, 870.0]), 4)
    grown = replace(matrix([5.0, 31.0, 400.0], version=8), references=first)
    second = establish(grown, 4)[CHAT.id, TTFT]
    assert (second.low, second.high, second.matrix_version) == (5.0, 1000.0, 8)


def test_those_that_miss_the_default_limits_do_not_stretch_the_bounds() -> None:
    limited = replace(CHAT, limits=((TTFT, 500.0),))
    rows = [config(n, ttft_p50_ms=ttft) for n, ttft in enumerate((31.0, 450.0, 9e5), start=1)]
    found = establish(matrix_of(rows, use_cases=[limited]), 1)
    assert (found[CHAT.id, TTFT].low, found[CHAT.id, TTFT].high) == (20.0, 500.0)
    assert found[NO_USE_CASE, TTFT].high == 1e6
    beyond = establish(matrix_of(rows[2:], use_cases=[limited]), 1)
    assert beyond[CHAT.id, TTFT].high == 1e6


def test_bounds_are_kept_while_no_candidate_has_the_metric() -> None:
    first = establish(matrix([31.0, 870.0]), 3)
    emptied = replace(matrix_of([], [], [CHAT], version=8), references=first)
    assert establish(emptied, 3) == first
