"""What the configurations of an answer are called in sentences."""

from collections.abc import Iterable, Mapping

from servemark.ranking.v1.candidate_pb2 import Alternative
from servemark.ranking.v1.recommend_pb2 import Recommendation


class Names:
    """Short names of the configurations that a table shows; any other one keeps its id."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names

    def name(self, config_id: str) -> str:
        """The short name, else the id."""
        return self._names.get(config_id) or f"configuration {config_id}"

    def describe(self, config_id: str, alternative: Alternative) -> str:
        """The short name, else what it is."""
        if config_id in self._names or not alternative.model:
            return self.name(config_id)
        return line_text(alternative)


def place_names(recommendations: Iterable[Recommendation]) -> Names:
    """Recommendations by their place: `#2`. Those that share one cannot be told apart by it."""
    shown = list(recommendations)
    ranks = [item.rank for item in shown]
    return Names(
        {
            item.alternative.config_id: f"#{item.rank}"
            for item in shown
            if ranks.count(item.rank) == 1
        }
    )


def line_text(alternative: Alternative) -> str:
    """An alternative in a line: weights, GPUs, framework."""
    return (
        f"{alternative.model} {alternative.quantization} on {alternative.gpu_count} x "
        f"{alternative.gpu_type}, {alternative.framework} {alternative.framework_version}"
    )


def listed(names: Iterable[str]) -> str:
    """Names as people list them: `a, b and c`."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
