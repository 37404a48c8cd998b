"""What a check found, as a table for people, as Markdown for GitHub, and as JSON."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from servemark.cli.load import load_text
from servemark.cli.metrics import metric_figure, metric_label
from servemark.cli.names import Names
from servemark.cli.output import message_to_json, print_bullets
from servemark.cli.quantities import counted
from servemark.cli.shares import change_text
from servemark.ingest.v1 import regression_pb2 as regression

_REPORTED = {
    regression.CHANGE_VERDICT_REGRESSION: "worse",
    regression.CHANGE_VERDICT_IMPROVEMENT: "better",
}
_VERDICTS = {
    **_REPORTED,
    regression.CHANGE_VERDICT_UNCHANGED: "unchanged",
    regression.CHANGE_VERDICT_NOT_JUDGED: "not judged",
}
_REASONS = {
    regression.NOT_JUDGED_REASON_FEW_NEW_RUNS: "too few new runs",
    regression.NOT_JUDGED_REASON_FEW_HISTORY_RUNS: "too few runs to compare with",
    regression.NOT_JUDGED_REASON_FEW_RUNS_TOGETHER: "too few runs to tell a change from chance",
}
# So many of those that were not judged are named; the rest is counted.
_NAMED = 10


@dataclass(frozen=True)
class Report:
    """What was found of each configuration, and what the smallest change reported is."""

    changes: Sequence[regression.ConfigChange]
    names: Names
    min_effect: float

    @property
    def has_regression(self) -> bool:
        """Whether anything got worse."""
        return self._counts[regression.CHANGE_VERDICT_REGRESSION] > 0

    @property
    def has_judged(self) -> bool:
        """Whether anything was judged at all."""
        return self._counts[regression.CHANGE_VERDICT_NOT_JUDGED] < len(self.changes)

    @property
    def _counts(self) -> Counter[int]:
        return Counter(one.verdict for one in self.changes)

    def name(self, change: regression.ConfigChange) -> str:
        """The configuration in a line."""
        config, names = change.config, self.names
        parts = (names.version(config), names.hardware(config), names.framework(config))
        return " · ".join((*parts, load_text(config)))

    def reported(self) -> Iterator[tuple[regression.ConfigChange, regression.MetricChange]]:
        """What got worse or better, by configuration; what got worse comes first."""
        order = list(_REPORTED)
        configs = [one for one in self.changes if one.verdict in order]
        for one in sorted(configs, key=lambda item: order.index(item.verdict)):
            found = [change for change in one.changes if change.verdict in order]
            for change in sorted(found, key=lambda item: order.index(item.verdict)):
                yield one, change

    def summary(self) -> str:
        """How many configurations there are of each verdict."""
        counts = self._counts
        said = [f"{counts[verdict]:,} {text}" for verdict, text in _VERDICTS.items()]
        return f"{counted(len(self.changes), 'configuration')} checked: {', '.join(said)}."

    def basis(self) -> str:
        """What it takes to be reported."""
        return (
            f"Reported is a change above the noise of {self.min_effect * 100:g}% or more; of"
            " configurations that did not change, at most 1% are called worse by chance."
        )

    def not_judged(self) -> list[str]:
        """A line for each configuration that was not judged, with the reason."""
        left = [one for one in self.changes if one.verdict == regression.CHANGE_VERDICT_NOT_JUDGED]
        lines = [f"{self.name(one)}: {_reason(one)}." for one in left[:_NAMED]]
        if len(left) > _NAMED:
            lines.append(f"{counted(len(left) - _NAMED, 'other configuration')}.")
        return lines


def _reason(one: regression.ConfigChange) -> str:
    # The metric that came closest says what the configuration lacks.
    change = max(
        one.changes, key=lambda item: (item.new_run_count, item.history_run_count), default=None
    )
    if change is None:
        return "no metric"
    runs = f"{change.new_run_count} new, {change.history_run_count} before"
    return f"{_REASONS.get(change.not_judged_reason, 'too few runs')} ({runs})"


def report_to_json(report: Report) -> dict[str, Any]:
    """The report with stable keys: the contract's messages, each with a name for people."""
    counts = Counter(one.verdict for one in report.changes)
    return {
        "counts": {text.replace(" ", "_"): counts[verdict] for verdict, text in _VERDICTS.items()},
        "min_effect": report.min_effect,
        "config_changes": [
            {"name": report.name(one), **message_to_json(one)} for one in report.changes
        ],
    }


def print_report(console: Console, report: Report) -> None:
    """Prints what got worse or better, configuration by configuration, and what was not judged."""
    shown = ""
    table = _table()
    for one, change in report.reported():
        if one.config.id != shown:
            if shown:
                console.print(table)
            shown, table = one.config.id, _table()
            console.print(Text(report.name(one), style="bold"))
            console.print(Text(one.config.id, style="dim"))
        table.add_row(_REPORTED[change.verdict], *_cells(change))
    if shown:
        console.print(table)
    console.print(report.summary())
    print_bullets(console, report.not_judged())
    if shown:
        console.print(report.basis())


def _table() -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column("")
    table.add_column("metric")
    for head in ("before → after", "change", "95 % interval", "runs", "z"):
        table.add_column(head, justify="right")
    return table


def print_markdown(report: Report) -> None:
    """Prints a table of GitHub's Markdown, for a comment."""
    lines = ["### Benchmark check", ""]
    rows = [
        f"| {' | '.join((_REPORTED[change.verdict], _code(report.name(one)), *_cells(change)))} |"
        for one, change in report.reported()
    ]
    if rows:
        lines += [
            "| | Configuration | Metric | Before → after | Change | 95 % interval | Runs | z |",
            "|---|---|---|---:|---:|---:|---:|---:|",
            *rows,
            "",
        ]
    lines.append(report.summary())
    if report.not_judged():
        lines += ["", *(f"- {_code(line)}" for line in report.not_judged())]
    if rows:
        lines += ["", report.basis()]
    print("\n".join(lines))


def _code(text: str) -> str:
    """The text as code: so no name in it is markup, a mention, or the end of a cell."""
    return "`" + text.replace("`", "'").replace("|", "\\|") + "`"


def _cells(change: regression.MetricChange) -> list[str]:
    before, after = (metric_figure(change.metric, value) for value in (change.before, change.after))
    half_width = (change.change_high - change.change_low) / 2
    low, high = (change_text(end, half_width) for end in (change.change_low, change.change_high))
    return [
        metric_label(change.metric),
        f"{before} → {after}",
        change_text(change.change, half_width),
        f"{low} to {high}",
        f"{change.history_run_count} / {change.new_run_count}",
        f"{change.z:+.1f}" if change.HasField("z") else "–",
    ]
