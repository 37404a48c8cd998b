"""The scatter of a Pareto front's points, by two of its metrics."""

from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

from servemark.cli.metrics import MetricValue, is_maximized, metric_label
from servemark.cli.places import listed
from servemark.cli.scatter import LETTERS, Point, draw_scatter
from servemark.ranking.v1.pareto_pb2 import ParetoPoint


def print_scatter(
    console: Console, x: MetricValue, y: MetricValue, points: Iterable[ParetoPoint]
) -> None:
    """Prints the picture and what its marks are; nothing where no point has both metrics."""
    front: list[Point] = []
    behind: list[Point] = []
    for point in points:
        cells = {cell.metric: cell.value for cell in point.cells}
        if x in cells and y in cells:
            (front if point.pareto_rank == 1 else behind).append((cells[x], cells[y]))
    if not front and not behind:
        return
    scatter = draw_scatter(front, behind, _label(y=False, metric=x), _label(y=True, metric=y))
    console.print()
    # Text, because what is in brackets would be taken for markup.
    for line in scatter.lines:
        console.print(Text(line), no_wrap=True, crop=False)
    marks = ["letters: the front"]
    if len(front) > len(LETTERS):
        marks.append("+: more of it")
    if behind:
        marks.append(".: behind it")
    under: dict[str, list[str]] = {}
    for hidden, shown in scatter.hidden.items():
        under.setdefault(shown, []).append(hidden)
    marks += [f"{listed(hidden)} under {shown}" for shown, hidden in under.items()]
    console.print(Text(f"\n{'; '.join(marks)}"), width=78)


def _label(*, y: bool, metric: MetricValue) -> str:
    better = "more" if is_maximized(metric) else "less"
    return f"{metric_label(metric)} {'^' if y else '>'} ({better} is better)"
