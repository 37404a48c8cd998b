"""One configuration: its place, its score, its figures and their sources, against the first."""

from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from servemark.cli.comparison import print_differences
from servemark.cli.metrics import metric_figure, metric_label
from servemark.cli.output import print_bullets
from servemark.cli.places import line_text, place_names
from servemark.cli.recommendation import (
    alternative_text,
    cell_text,
    print_criteria,
    print_notices,
)
from servemark.cli.score_parts import contribution_sentence
from servemark.cli.shares import score_text
from servemark.cli.what_would_change import dominance_sentence
from servemark.ranking.v1.candidate_pb2 import Alternative, Cell, ExcludedAlternative
from servemark.ranking.v1.compare_pb2 import CompareConfigurationsResponse
from servemark.ranking.v1.recommend_pb2 import Recommendation, RecommendResponse
from servemark.type.v1.provenance_pb2 import Provenance


@dataclass(frozen=True)
class Explanation:
    """What the service says of one configuration."""

    config_id: str
    answer: RecommendResponse
    ranked: Recommendation | None  # None: not among those the answer lists
    excluded: ExcludedAlternative | None
    comparison: CompareConfigurationsResponse | None  # with the first, else with any other


def print_explanation(console: Console, found: Explanation) -> None:
    """Prints where a configuration is, why, where its figures come from, and how it differs."""
    alternative = _alternative(found)
    if alternative is not None:
        console.print(alternative_text(alternative))
    else:
        console.print(Text(f"Configuration {found.config_id}"))
    console.print(Text(f"\n{_place(found)}", style="bold"))
    print_bullets(console, _reasons(found))
    _print_cells(console, _cells(found))
    _print_against(console, found)
    print_criteria(console, found.answer.weights, found.answer.limits)
    print_notices(console, found.answer.notices)


def _alternative(found: Explanation) -> Alternative | None:
    for part in (found.ranked, found.excluded):
        if part is not None:
            return part.alternative
    return found.comparison.configurations[0].alternative if found.comparison else None


def _place(found: Explanation) -> str:
    purpose = f" for {found.answer.use_case}" if found.answer.use_case else ""
    if found.ranked is not None:
        of = f"#{found.ranked.rank} of {found.answer.ranked_count:,}{purpose}"
        return f"{of}, score {score_text(found.ranked)}"
    if found.excluded is not None:
        return f"Left out{purpose}"
    return f"Not listed{purpose}"


def _reasons(found: Explanation) -> list[str]:
    if found.excluded is not None:
        return list(found.excluded.details)
    if found.ranked is None:
        return [
            f"It is not among the first {len(found.answer.recommendations):,} nor among the "
            f"{len(found.answer.excluded):,} that were left out and are listed. It may be further "
            "down, or the filters or the use case's lengths do not let it take part."
        ]
    item = found.ranked
    sentences = [*item.reasons, *contribution_sentence(item)]
    if item.HasField("dominance"):
        names = place_names(found.answer.recommendations)
        sentences.append(dominance_sentence("It", item.dominance, names))
    return sentences


def _cells(found: Explanation) -> list[Cell]:
    if found.comparison is not None:
        return list(found.comparison.configurations[0].cells)
    return list(found.ranked.cells) if found.ranked is not None else []


def _print_cells(console: Console, cells: list[Cell]) -> None:
    """Prints each figure with its span over the runs and where it comes from."""
    if not cells:
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column("")
    for head in ("figure", "over the runs"):
        table.add_column(head, justify="right")
    table.add_column("where it comes from", overflow="fold")
    for cell in cells:
        table.add_row(metric_label(cell.metric), cell_text(cell), _span(cell), source_text(cell))
    console.print(table)


def _span(cell: Cell) -> str:
    if cell.run_count < 2:
        return "–"
    return f"{metric_figure(cell.metric, cell.min)} to {metric_figure(cell.metric, cell.max)}"


def source_text(cell: Cell) -> str:
    """Where a figure comes from: `median of 5 runs, 500 requests, guidellm, until 2026-02-15`."""
    source = cell.source
    parts = [source.text] if source.text else []
    if source.request_count:
        parts.append(f"{source.request_count:,} requests")
    parts += source.tools
    if source.HasField("newest_benchmark_time"):
        parts.append(f"until {source.newest_benchmark_time.ToDatetime():%Y-%m-%d}")
        kind = Provenance.Name(source.provenance).removeprefix("PROVENANCE_").lower()
        if source.provenance:
            parts.append(kind)
    if cell.HasField("interval"):
        low, high = (
            metric_figure(cell.metric, end) for end in (cell.interval.low, cell.interval.high)
        )
        parts.append(f"{low} to {high} with {cell.interval.level:.0%} certainty")
    return ", ".join(parts)


def _print_against(console: Console, found: Explanation) -> None:
    """Prints how the first of the ranking differs, if this one is not it."""
    if found.comparison is None or not found.answer.recommendations:
        return
    own, other = (item.alternative for item in found.comparison.configurations)
    first = found.answer.recommendations[0].alternative.config_id == other.config_id
    heading = "Against the first" if first else "Against the next"
    console.print(Text(heading, style="bold"))
    print_bullets(console, [f"A is this one, B is {line_text(other)}."])
    letters = {own.config_id: "A", other.config_id: "B"}
    print_differences(console, found.comparison.comparisons, letters, own.config_id)
    print_notices(console, found.comparison.notices)
