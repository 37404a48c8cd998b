"""What would put another configuration first: other weights, other runs."""

from collections.abc import Iterable
from typing import NamedTuple

from servemark.cli.metrics import metric_parts
from servemark.cli.places import Names, listed, place_names
from servemark.cli.shares import chance_text, weight_end_text
from servemark.ranking.v1.dominance_pb2 import Dominance
from servemark.ranking.v1.recommend_pb2 import Recommendation, RecommendResponse
from servemark.ranking.v1.stability_pb2 import WeightStability

_MOST_ENDS = 3


class _End(NamedTuple):
    """Where a weight's interval ends, and how far that is from the weight."""

    distance: float
    stability: WeightStability
    is_below: bool


def change_sentences(response: RecommendResponse) -> list[str]:
    """What would change the first place, nearest first, and how sure it is."""
    first = response.recommendations[0]
    names = place_names(response.recommendations)
    return [
        *_weight_sentences(response.stability, names),
        *_acceptability(first),
        *confidence_sentences(first, names),
    ]


def _weight_sentences(stability: Iterable[WeightStability], names: Names) -> list[str]:
    known = list(stability)
    ends = [
        _End(item.weight - item.min_weight, item, True)
        for item in known
        if item.winner_below_config_id
    ] + [
        _End(item.max_weight - item.weight, item, False)
        for item in known
        if item.winner_above_config_id
    ]
    if known and not ends:
        return ["No weight alone would: it stays first whatever each of them counts."]
    ends.sort(key=lambda end: end.distance)
    return [_end_sentence(end, names) for end in ends[:_MOST_ENDS]]


def _end_sentence(end: _End, names: Names) -> str:
    item = end.stability
    label, now = metric_parts(item.metric)[0], f"{item.weight:.0%}"
    winner = names.name(
        item.winner_below_config_id if end.is_below else item.winner_above_config_id
    )
    at = item.min_weight if end.is_below else item.max_weight
    side = "less" if end.is_below else "more"
    return (
        f"If {label} counted {side} than {weight_end_text(at, item.weight)} (now {now}), "
        f"{winner} would be first."
    )


def _acceptability(item: Recommendation) -> list[str]:
    if not item.HasField("acceptability"):
        return []
    share = chance_text(item.acceptability.acceptability)
    return [f"With weights drawn around these it comes first {share} of the time."]


def confidence_sentences(item: Recommendation, names: Names) -> list[str]:
    """How sure the place is, given how far the runs differ. Empty if the answer does not say."""
    if not item.HasField("confidence"):
        return []
    confidence = item.confidence
    share = chance_text(confidence.best_probability)
    sure = f"Given how far runs differ, it is the best with a probability of {share}"
    if not confidence.tied_config_ids:
        return [f"{sure}; no other one shown is tied with it."]
    tied = listed(names.name(config_id) for config_id in confidence.tied_config_ids)
    return [f"{sure}; its score cannot be told from that of {tied}."]


def dominance_sentence(name: str, dominance: Dominance, names: Names) -> str:
    """By what a configuration is dominated, and by how much."""
    better = names.describe(dominance.config_id, dominance.alternative)
    margins = [
        f"{metric_parts(margin.metric)[0]} by {_margin(margin.relative_margin)}"
        for margin in dominance.margins
        if margin.margin > 0
    ]
    where = f" ({', '.join(margins)})" if margins else ""
    return f"{name} is dominated: {better} is as good or better in every criterion{where}."


def dominance_sentences(response: RecommendResponse) -> list[str]:
    """Which of the recommended ones are dominated, and by what."""
    names = place_names(response.recommendations)
    return [
        dominance_sentence(names.name(item.alternative.config_id), item.dominance, names)
        for item in response.recommendations
        if item.HasField("dominance")
    ]


def _margin(share: float) -> str:
    return "less than 1%" if share < 0.005 else f"{share:.0%}"
