import pytest

from servemark.cli.shares import chance_text, change_text, score_text, weight_end_text
from servemark.ranking.v1.confidence_pb2 import Confidence
from servemark.ranking.v1.recommend_pb2 import Recommendation


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "less than 1%"), (0.004, "less than 1%"), (0.714, "71%"), (1, "more than 99%")],
)
def test_draws_never_show_that_something_is_impossible_or_certain(share: float, text: str) -> None:
    assert chance_text(share) == text


@pytest.mark.parametrize(
    ("change", "half_width", "text"),
    [
        (-0.254, 0.07, "-25%"),
        (0.0021, 0.001, "+0.2%"),
        (0.0021, 0.2, "+0%"),
        (0.0, None, "+0%"),
        (11.0, None, "x12"),
    ],
)
def test_a_change_has_the_digits_its_interval_allows(
    change: float, half_width: float | None, text: str
) -> None:
    assert change_text(change, half_width) == text


@pytest.mark.parametrize(
    ("end", "text"), [(0.41, "41%"), (0.598, "59.8%"), (0.5999, "59.99%"), (0.6, "60.00%")]
)
def test_the_end_of_a_weight_can_be_told_from_the_weight(end: float, text: str) -> None:
    assert weight_end_text(end, 0.6) == text


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [(0.78, 0.84, "0.81"), (0.5, 1.0, "0.8"), (0.8121, 0.8125, "0.812"), (0.8123, 0.8123, "0.812")],
)
def test_a_score_ends_with_the_first_digit_of_its_error(low: float, high: float, text: str) -> None:
    item = Recommendation(score=0.8123, confidence=Confidence(score_low=low, score_high=high))
    assert score_text(item) == text


def test_a_score_of_unknown_error_has_three_decimals() -> None:
    assert score_text(Recommendation(score=0.8123)) == "0.812"
