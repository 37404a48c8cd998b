"""Shares, scores and changes with no more digits than are known of them."""

from math import floor, log10

from servemark.ranking.v1.recommend_pb2 import Recommendation

_MOST_DECIMALS = 3


def chance_text(share: float) -> str:
    """A share of draws as a percentage. No number of draws shows that something never happens."""
    if share < 0.005:
        return "less than 1%"
    return "more than 99%" if share > 0.995 else f"{share:.0%}"


def change_text(change: float, half_width: float | None = None) -> str:
    """A relative change with its sign: `-25%`. What is tenfold or more is a factor: `x12`.

    half_width: half of its interval, as a share; it decides whether a decimal says anything.
    """
    if change >= 9:
        return f"x{change + 1:,.0f}"
    known = abs(change) if half_width is None else half_width
    return f"{change:+.{1 if 0 < known < 0.005 else 0}%}"


def weight_end_text(end: float, weight: float) -> str:
    """The end of a weight's interval as a percentage, with the digits that tell it from the weight.

    At most two decimals, so that an end at the weight itself reads like it.
    """
    for decimals in (0, 1):
        if f"{end:.{decimals}%}" != f"{weight:.{decimals}%}":
            return f"{end:.{decimals}%}"
    return f"{end:.2%}"


def score_decimals(item: Recommendation) -> int:
    """Decimals a score deserves: down to the first digit of its error, 1 to 3; 3 if none is known.

    A score of 0.8123 between 0.78 and 0.84 is 0.81.
    """
    if not item.HasField("confidence"):
        return _MOST_DECIMALS
    half_width = (item.confidence.score_high - item.confidence.score_low) / 2
    if half_width <= 0:
        return _MOST_DECIMALS
    return min(max(-floor(log10(half_width)), 1), _MOST_DECIMALS)


def score_text(item: Recommendation) -> str:
    """The score with the digits it deserves."""
    return f"{item.score:.{score_decimals(item)}f}"
