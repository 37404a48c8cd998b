"""What stands in the way when nothing keeps all limits, and what to relax."""

from math import isinf

from rich.console import Console
from rich.text import Text

from servemark.cli.metrics import MetricValue, is_maximized, limit_text, metric_figure, metric_parts
from servemark.cli.output import print_bullets
from servemark.cli.places import line_text, listed
from servemark.cli.quantities import counted
from servemark.ranking.v1.infeasible_pb2 import Infeasible, LimitConflict, RelaxedLimit

_MOST = 4


def print_infeasible(console: Console, infeasible: Infeasible) -> None:
    """Prints the limits to drop, the nearest candidates, and how many keep each limit."""
    if infeasible.conflicts:
        console.print(Text("\nWhat to give up", style="bold"))
        print_bullets(console, map(_conflict_sentence, infeasible.conflicts[:_MOST]))
    if infeasible.relaxations:
        console.print(Text("\nOr relax, for the nearest", style="bold"))
        print_bullets(
            console,
            (
                f"{listed(map(relaxed_text, item.limits))}: {line_text(item.alternative)}."
                for item in infeasible.relaxations[:_MOST]
                if item.limits
            ),
        )
    if infeasible.pass_counts:
        console.print(Text("\nWho keeps each limit", style="bold"))
        print_bullets(
            console,
            (
                f"{limit_text(item.limit)}: {item.pass_count:,} of "
                f"{counted(item.candidate_count, 'candidate')}."
                for item in infeasible.pass_counts
            ),
        )


def _conflict_sentence(conflict: LimitConflict) -> str:
    limits = listed(map(limit_text, conflict.limits))
    verb = "is" if conflict.remaining_count == 1 else "are"
    return f"Without {limits}, {counted(conflict.remaining_count, 'candidate')} {verb} left."


def relaxed_text(item: RelaxedLimit) -> str:
    """The limit as it would have to be: `TTFT p90 ≤ 412 ms instead of 300 (37% more)`."""
    metric = item.limit.metric
    name, unit = metric_parts(metric)
    sign, more = ("≥", "less") if is_maximized(metric) else ("≤", "more")
    needed = f"{name} {sign} {kept_figure(metric, item.actual)} {unit}".rstrip()
    share = "" if isinf(item.relax_pct) else f" ({_percent(item.relax_pct)} {more})"
    return f"{needed} instead of {item.limit.limit:,g}{share}"


def kept_figure(metric: MetricValue, actual: float) -> str:
    """A figure for people that, typed as a limit, lets the actual one in: rounded to its side."""
    text = metric_figure(metric, actual)
    if "e" in text:
        return repr(actual)
    shown = float(text.replace(",", ""))
    if shown <= actual if is_maximized(metric) else shown >= actual:
        return text
    decimals = len(text.partition(".")[2])
    step = 10.0**-decimals
    return f"{shown - step if is_maximized(metric) else shown + step:,.{decimals}f}"


def _percent(percent: float) -> str:
    return "less than 1%" if percent < 1 else f"{percent:,.0f}%"
