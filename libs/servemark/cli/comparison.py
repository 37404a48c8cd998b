"""Configurations side by side, with how they differ and whether that is more than noise."""

from collections.abc import Sequence
from string import ascii_uppercase

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from servemark.cli.metrics import MetricValue, is_maximized, metric_figure, metric_label
from servemark.cli.recommendation import alternative_text, cell_text, print_notices
from servemark.cli.shares import change_text
from servemark.ranking.v1.compare_pb2 import (
    CompareConfigurationsResponse,
    ComparedConfiguration,
    Difference,
    MetricComparison,
)

# As many columns of figures as fit beside the metric.
_COLUMNS = 6


def print_comparison(
    console: Console, response: CompareConfigurationsResponse, *, all_pairs: bool
) -> None:
    """Prints who is who, the figures, and the differences."""
    letters = {
        item.alternative.config_id: letter
        for item, letter in zip(response.configurations, ascii_uppercase, strict=False)
    }
    print_legend(console, response.configurations)
    for start in range(0, len(response.configurations), _COLUMNS):
        part = response.configurations[start : start + _COLUMNS]
        console.print(_figures(part, response.comparisons, letters))
    first = response.configurations[0].alternative.config_id if response.configurations else ""
    print_differences(console, response.comparisons, letters, "" if all_pairs else first)
    print_notices(console, response.notices)


def print_legend(console: Console, configurations: Sequence[ComparedConfiguration]) -> None:
    """Prints each configuration with its letter."""
    grid = Table.grid(padding=(0, 2))
    for letter, item in zip(ascii_uppercase, configurations, strict=False):
        grid.add_row(Text(letter, style="bold"), alternative_text(item.alternative))
    console.print(grid)


def _figures(
    configurations: Sequence[ComparedConfiguration],
    comparisons: Sequence[MetricComparison],
    letters: dict[str, str],
) -> Table:
    """The figures, a star after the best of all."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), caption="* best")
    table.caption_justify = "left"
    table.add_column("")
    for item in configurations:
        table.add_column(letters[item.alternative.config_id], justify="right")
    by_metric = [{cell.metric: cell for cell in item.cells} for item in configurations]
    for comparison in comparisons:
        best = set(comparison.best_config_ids)
        table.add_row(
            metric_label(comparison.metric),
            *(
                cell_text(cells.get(comparison.metric))
                + ("*" if item.alternative.config_id in best else " ")
                for item, cells in zip(configurations, by_metric, strict=True)
            ),
        )
    return table


def print_differences(
    console: Console,
    comparisons: Sequence[MetricComparison],
    letters: dict[str, str],
    first: str,
) -> None:
    """Prints how each two differ; with `first`, a configuration's id, each against that one."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column("")
    table.add_column("")
    for head in ("difference", "relative", "90 % interval"):
        table.add_column(head, justify="right")
    table.add_column("")
    for comparison in comparisons:
        for difference in comparison.differences:
            if first in ("", difference.config_id):
                one, other = letters[difference.config_id], letters[difference.other_config_id]
                table.add_row(
                    metric_label(comparison.metric),
                    f"{other} against {one}",
                    *_difference(comparison.metric, difference),
                )
    if table.row_count:
        console.print(table)
    else:
        console.print("They have no metric in common.")


def _difference(metric: MetricValue, difference: Difference) -> list[str]:
    known = difference.HasField("relative_low") and difference.HasField("relative_high")
    low, high = difference.relative_low, difference.relative_high
    half_width = (high - low) / 2 if known else None
    sign = "+" if difference.difference > 0 else ""
    return [
        f"{sign}{metric_figure(metric, difference.difference)}",
        change_text(difference.relative_difference, half_width)
        if difference.HasField("relative_difference")
        else "–",
        f"{change_text(low, half_width)} to {change_text(high, half_width)}" if known else "–",
        verdict_text(metric, difference),
    ]


def verdict_text(metric: MetricValue, difference: Difference) -> str:
    """Whether the other one is better or worse, where the difference is more than noise."""
    if difference.above_noise:
        better = (difference.difference > 0) == is_maximized(metric)
        return "better" if better else "worse"
    if difference.difference == 0:
        return "the same"
    return "within noise" if difference.HasField("relative_low") else "noise not known"
