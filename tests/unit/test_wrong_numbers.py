"""A refused number is written so that it does not look like one that is allowed."""

import math

import pytest

from servemark.runtime.validation import Violations


@pytest.mark.parametrize(
    ("value", "low", "high", "text"),
    [
        (1_000_000.4, 0, 1e6, "is 1000000.4; it must be from 0 to 1000000"),
        (-1, 0, 2**31 - 1, "is -1; it must be from 0 to 2147483647"),
        (math.nan, 0, 1, "is nan; it must be from 0 to 1"),
        (-0.5, 0, math.inf, "is -0.5; it must be 0 or more, finite"),
    ],
)
def test_a_refused_number_and_its_range_have_all_their_digits(
    value: float, low: float, high: float, text: str
) -> None:
    wrong = Violations()
    wrong.number("x", value, low=low, high=high)
    assert [violation.description for violation in wrong.found] == [text]
