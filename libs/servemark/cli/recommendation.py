"""Recommendations as a table people like to read, with the reasons below it."""

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from servemark.cli.estimating import estimate_sentences
from servemark.cli.fleet import print_fleets
from servemark.cli.metrics import (
    MetricValue,
    figure,
    limit_text,
    metric_figure,
    metric_head,
    metric_parts,
)
from servemark.cli.output import print_bullets
from servemark.cli.places import place_names
from servemark.cli.relaxing import print_infeasible
from servemark.cli.score_parts import contribution_sentence
from servemark.cli.shares import score_text
from servemark.cli.what_would_change import (
    change_sentences,
    dominance_sentences,
)
from servemark.ranking.v1 import candidate_pb2 as candidate
from servemark.ranking.v1.recommend_pb2 import Recommendation, RecommendResponse
from servemark.type.v1.metric_pb2 import (
    METRIC_UNSPECIFIED,
    METRIC_USD_PER_HOUR,
    MetricLimit,
    MetricWeight,
)
from servemark.type.v1.provenance_pb2 import PurchaseOption

_MAX_METRICS = 5

_EXCLUSIONS = {
    candidate.EXCLUSION_REASON_CRITERION_MISSING: "{metric} was not measured",
    candidate.EXCLUSION_REASON_LIMIT_MISSED: "miss the limit on {metric}",
    candidate.EXCLUSION_REASON_LIMIT_UNCERTAIN: "keep the limit on {metric} in some runs only",
    candidate.EXCLUSION_REASON_LIMIT_UNKNOWN: "{metric}, which has a limit, was not measured",
    candidate.EXCLUSION_REASON_OVER_BUDGET: "cost more than the budget",
    candidate.EXCLUSION_REASON_PRICE_UNKNOWN: "no price is known",
    candidate.EXCLUSION_REASON_VALUE_NOT_FINITE: "{metric} is not a finite number",
}


def print_recommendation(console: Console, response: RecommendResponse) -> None:
    """Prints the ranked configurations, why the first is first, and why others are not there."""
    purpose = f" for {response.use_case}" if response.use_case else ""
    if not response.recommendations:
        console.print(Text(f"Nothing can be recommended{purpose}.", style="bold"))
        print_infeasible(console, response.infeasible)
    else:
        console.print(Text(f"Recommended{purpose}", style="bold"))
        print_ranked(console, response.recommendations, response.weights, response.limits)
        _print_answers(console, response)
    print_criteria(console, response.weights, response.limits)
    print_exclusions(
        console, response.exclusion_counts, response.ranked_count, response.candidate_count
    )
    print_notices(console, response.notices)


def _print_answers(console: Console, response: RecommendResponse) -> None:
    """Prints why the first is first, what would change that, and what the others lack."""
    first = response.recommendations[0]
    names = place_names(response.recommendations)
    estimates = [
        sentence
        for item in response.recommendations
        for sentence in estimate_sentences(names.name(item.alternative.config_id), item.alternative)
    ]
    sections = {
        "Why the first": [
            *first.reasons,
            *contribution_sentence(first),
            *price_basis(first.alternative),
        ],
        "What would change it": change_sentences(response),
        "Behind the front": dominance_sentences(response),
        "Estimated": estimates,
    }
    for heading, sentences in sections.items():
        if sentences:
            console.print(Text(f"\n{heading}", style="bold"))
            print_bullets(console, sentences)
    print_fleets(console, response.recommendations)


def print_ranked(
    console: Console,
    recommendations: Sequence[Recommendation],
    weights: Iterable[MetricWeight],
    limits: Iterable[MetricLimit],
) -> None:
    """Prints the table of recommendations: the criteria by weight, then limits, then the price."""
    metrics = _columns(weights, limits)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column("#", justify="right")
    table.add_column("score")
    table.add_column("configuration", min_width=34, overflow="fold")
    for metric in metrics:
        table.add_column(metric_head(metric), justify="right")
    for item in recommendations:
        cells = {cell.metric: cell for cell in item.cells}
        table.add_row(
            str(item.rank),
            score_text(item),
            alternative_text(item.alternative),
            *(cell_text(cells.get(metric)) for metric in metrics),
        )
    console.print(table)


def cell_text(cell: candidate.Cell | None) -> str:
    """A cell's value, with ~ before an estimate; a dash where nothing was measured."""
    if cell is None:
        return "–"
    sign = "~" if cell.method == candidate.CELL_METHOD_INTERPOLATED else ""
    return f"{sign}{metric_figure(cell.metric, cell.value)}"


def alternative_text(alternative: candidate.Alternative) -> Text:
    """An alternative in four lines: the weights, what they run on, the load, the id."""
    return Text.assemble(
        (f"{alternative.model} {alternative.quantization}", "bold"),
        f"\n{alternative.gpu_count} x {alternative.gpu_type} ({alternative.hardware})",
        f"\n{alternative.framework} {alternative.framework_version}",
        (f" · {load_text(alternative)}", "dim"),
        (f"\n{alternative.config_id}", "dim"),
    )


def price_basis(alternative: candidate.Alternative) -> list[str]:
    """The price the alternative was counted with and where it comes from, if there is one."""
    if not alternative.HasField("price"):
        return []
    price = alternative.price
    if not price.HasField("valid_from_time"):
        return [f"Counted with ${price.usd_per_hour:,.2f} an hour, as you asked."]
    name = PurchaseOption.Name(price.purchase_option).removeprefix("PURCHASE_OPTION_")
    option = name.lower().replace("_", " ") + (f" in {price.region}" if price.region else "")
    since = price.valid_from_time.ToDatetime().date()
    return [
        f"Counted with ${price.usd_per_hour:,.2f} an hour, {option}, valid from {since}: "
        f"{price.source}."
    ]


def load_text(alternative: candidate.Alternative) -> str:
    """The operating point: lengths, requests in flight, rate, runs."""
    parts = []
    if alternative.HasField("input_tokens") or alternative.HasField("output_tokens"):
        lengths = [
            str(getattr(alternative, name)) if alternative.HasField(name) else "?"
            for name in ("input_tokens", "output_tokens")
        ]
        parts.append("/".join(lengths) + " tokens")
    if alternative.HasField("concurrency"):
        parts.append(f"{alternative.concurrency} in flight")
    if alternative.HasField("request_rate"):
        parts.append(f"{figure(alternative.request_rate)} req/s sent")
    if alternative.HasField("estimate"):
        parts.append("estimated")
        return ", ".join(parts)
    parts.append("1 run" if alternative.run_count == 1 else f"{alternative.run_count} runs")
    return ", ".join(parts)


def _columns(weights: Iterable[MetricWeight], limits: Iterable[MetricLimit]) -> list[MetricValue]:
    by_weight = sorted(weights, key=lambda item: -item.weight)
    metrics = [item.metric for item in by_weight if item.weight > 0]
    metrics = list(dict.fromkeys([*metrics, *(item.metric for item in limits)]))
    metrics = metrics[:_MAX_METRICS]
    if METRIC_USD_PER_HOUR not in metrics:
        metrics = [*metrics[: _MAX_METRICS - 1], METRIC_USD_PER_HOUR]
    return metrics


def print_criteria(
    console: Console, weights: Iterable[MetricWeight], limits: Iterable[MetricLimit]
) -> None:
    """Prints the weights and limits that were used."""
    shares = [
        f"{metric_parts(item.metric)[0]} {item.weight:.0%}"
        for item in sorted(weights, key=lambda item: -item.weight)
    ]
    if shares:
        _print_labelled(console, "Weights", ", ".join(shares))
    kept = [limit_text(limit) for limit in limits]
    if kept:
        _print_labelled(console, "Limits", ", ".join(kept))


def print_exclusions(
    console: Console,
    counts: Sequence[candidate.ExclusionCount],
    ranked: int,
    candidates: int | None,
) -> None:
    """Prints how many candidates were left out, and for which reasons.

    candidates: how many there were in all; None where the answer does not say.
    """
    if candidates == ranked and not counts:
        return
    left_out = "" if candidates is None else f"{candidates - ranked} of {candidates} candidates"
    _print_labelled(console, "Left out", left_out or "by reason, some for several")
    for count in sorted(counts, key=lambda item: -item.count):
        sentence = _EXCLUSIONS.get(count.reason, "for another reason")
        known = count.metric != METRIC_UNSPECIFIED
        metric = metric_parts(count.metric)[0] if known else "a figure"
        console.print(Text(f"  {count.count:>5}  {sentence.format(metric=metric)}"))


def print_notices(console: Console, notices: Iterable[candidate.Notice]) -> None:
    """Prints what the reader of an answer should know."""
    texts = [notice.text for notice in notices if notice.text]
    if texts:
        console.print(Text("\nNote", style="bold"))
        print_bullets(console, texts)


def _print_labelled(console: Console, label: str, text: str) -> None:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(min_width=8)
    grid.add_row(Text(label, style="bold"), Text(text))
    console.print()
    console.print(grid)
