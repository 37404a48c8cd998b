"""What adds to a score and what takes from it, in a sentence."""

from servemark.cli.metrics import metric_parts
from servemark.cli.places import listed
from servemark.cli.shares import score_decimals
from servemark.ranking.v1.recommend_pb2 import Recommendation

_MOST = 4


def contribution_sentence(item: Recommendation) -> list[str]:
    """The criteria that move the score most, the largest first. Empty if the answer has none."""
    if not item.contributions.criteria:
        return []
    decimals = score_decimals(item)
    parts = sorted(item.contributions.criteria, key=lambda part: -abs(part.contribution))
    texts = [
        f"{metric_parts(part.metric)[0]} {'adds' if part.contribution > 0 else 'takes'} "
        f"{abs(part.contribution):.{decimals}f}"
        for part in parts[:_MOST]
        if round(abs(part.contribution), decimals) > 0
    ]
    baseline = f"{item.contributions.baseline:.{decimals}f}"
    score = f"{item.score:.{decimals}f}"
    if not texts:
        return [f"Its score of {score} is midway between worst and best; no criterion moves it."]
    return [f"Its score of {score} starts at {baseline}, midway: {listed(texts)}."]
