"""A time series as a table people like to read: a line for each bucket, gaps in one line each."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from servemark.cli.metrics import MetricValue, figure, metric_figure, metric_head
from servemark.cli.output import out


@dataclass
class Series:
    """One series: its id, its configuration where it is one's, every bucket's point."""

    series_id: str
    config: Any | None
    points: list[Any]


def print_series(title: Text, series: Series, metrics: Sequence[MetricValue]) -> None:
    """Prints a series: medians over the runs, with their ends where runs differ.

    `metrics` are the columns; none: those that some point has.
    """
    points = series.points
    shown = metrics or sorted({item.metric for point in points for item in point.metrics})
    pooled = [name for name in ("ttft", "tpot") if any(point.HasField(name) for point in points)]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column("from", no_wrap=True)
    table.add_column("runs", justify="right")
    for metric in shown:
        table.add_column(metric_head(metric), justify="right")
    for name in pooled:
        table.add_column(f"{name.upper()} p95\nof requests", justify="right")
    for is_gap, group in groupby(points, key=lambda point: point.run_count == 0):
        buckets = list(group)
        if is_gap:
            without = "" if len(buckets) == 1 else f"\n  {len(buckets)} without runs"
            table.add_row(f"{_begin(buckets[0])}{without}", "–", style="dim")
            continue
        for point in buckets:
            table.add_row(*_cells(point, shown, pooled))
    console = out()
    console.print(title)
    console.print(table)


def _cells(point: Any, metrics: Sequence[MetricValue], pooled: Sequence[str]) -> list[str]:
    found = {item.metric: item for item in point.metrics}
    cells = [_begin(point), f"{point.run_count:,}"]
    cells += [_cell(found[metric]) if metric in found else "–" for metric in metrics]
    for name in pooled:
        latency = getattr(point, name)
        cells.append(figure(latency.p95_ms) if point.HasField(name) else "–")
    return cells


def _cell(item: Any) -> str:
    middle = metric_figure(item.metric, item.median)
    lowest, highest = (metric_figure(item.metric, end) for end in (item.min, item.max))
    return middle if lowest == highest else f"{middle}\n{lowest}–{highest}"


def _begin(point: Any) -> str:
    return f"{point.start_time.ToDatetime():%Y-%m-%d %H:%M}"
