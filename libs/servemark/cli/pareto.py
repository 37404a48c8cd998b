"""`servemark pareto`: what no other configuration is better than."""

from collections.abc import Mapping, Sequence
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from servemark.cli.connection import Key, Target, open_client
from servemark.cli.metrics import metric_head, parse_limits, parse_metric
from servemark.cli.options import (
    Budget,
    Frameworks,
    Gpus,
    Json,
    Limits,
    MaxGpus,
    Models,
    Provenances,
    Providers,
    Quantizations,
    Workloads,
    candidate_filter,
)
from servemark.cli.output import CliError, out, print_bullets, print_message
from servemark.cli.places import Names, line_text
from servemark.cli.recommendation import (
    alternative_text,
    cell_text,
    print_exclusions,
    print_notices,
)
from servemark.cli.scatter import LETTERS
from servemark.cli.scatter_points import print_scatter
from servemark.cli.what_would_change import dominance_sentence
from servemark.ranking.v1.pareto_pb2 import (
    GetParetoFrontRequest,
    GetParetoFrontResponse,
    ParetoPoint,
)


def pareto(
    ctx: typer.Context,
    x: Annotated[str, typer.Option("--x", metavar="METRIC", help="First metric to trade off.")],
    y: Annotated[str, typer.Option("--y", metavar="METRIC", help="Second metric to trade off.")],
    also: Annotated[
        list[str] | None,
        typer.Option("--also", metavar="METRIC", help="A further metric; up to four."),
    ] = None,
    use_case: Annotated[
        str, typer.Option("--use-case", metavar="NAME", help="Keep this use case's lengths.")
    ] = "",
    limit: Limits = None,
    budget: Budget = None,
    show_all: Annotated[
        bool, typer.Option("--all", help="Also list what lies behind the front.")
    ] = False,
    plot: Annotated[
        bool, typer.Option("--plot/--no-plot", help="Draw the first two metrics as text.")
    ] = True,
    top: Annotated[int, typer.Option("--top", min=1, help="How many to show.")] = 20,
    model: Models = None,
    quantization: Quantizations = None,
    gpu: Gpus = None,
    provider: Providers = None,
    framework: Frameworks = None,
    workload: Workloads = None,
    provenance: Provenances = None,
    max_gpus: MaxGpus = 0,
    json: Json = False,
    target: Target = None,
    key: Key = None,
) -> None:
    """Show the configurations that no other is better than in every chosen metric."""
    metrics = [parse_metric(name) for name in (x, y, *(also or []))]
    if len(set(metrics)) != len(metrics) or len(metrics) > 6:
        raise CliError("Give two to six different metrics.")
    request = GetParetoFrontRequest(
        metrics=metrics,
        use_case=use_case,
        filter=candidate_filter(
            model, quantization, gpu, provider, framework, workload, provenance, max_gpus
        ),
        limits=parse_limits(limit or []),
        max_usd_per_hour=budget,
        # The picture has dots for them.
        include_dominated=show_all or (plot and not json),
    )
    with open_client(ctx, target, key) as client:
        response = client.ranking.GetParetoFront(request)
    if json:
        print_message(response)
    else:
        _print_front(request, response, top, show_all=show_all, plot=plot)


def _print_front(
    request: GetParetoFrontRequest,
    response: GetParetoFrontResponse,
    top: int,
    *,
    show_all: bool,
    plot: bool,
) -> None:
    console = out()
    front = [point for point in response.points if point.pareto_rank == 1]
    if plot and response.points:
        print_scatter(console, request.metrics[0], request.metrics[1], response.points)
    points = list(response.points) if show_all else front
    # Letters beyond the last are not drawn either.
    letters = dict(zip((point.alternative.config_id for point in front), LETTERS, strict=False))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    table.add_column("front", justify="right")
    table.add_column("configuration", min_width=36, overflow="fold")
    for metric in request.metrics:
        table.add_column(metric_head(metric), justify="right")
    for point in points[:top]:
        cells = {cell.metric: cell for cell in point.cells}
        table.add_row(
            letters.get(point.alternative.config_id, ""),
            str(point.pareto_rank),
            alternative_text(point.alternative),
            *(cell_text(cells.get(metric)) for metric in request.metrics),
        )
    if points:
        console.print(table)
    console.print(
        Text(f"{response.front_count} on the front, {response.dominated_count} behind it.")
    )
    if len(points) > top:
        console.print(f"{top} of {len(points)} shown; --top shows more.")
    if show_all:
        _print_dominance(console, points[:top], letters)
    total = response.front_count + response.dominated_count
    if response.exclusion_counts:
        print_exclusions(console, response.exclusion_counts, total, None)
    print_notices(console, response.notices)


def _print_dominance(
    console: Console, points: Sequence[ParetoPoint], letters: Mapping[str, str]
) -> None:
    """Prints which point of the front each one behind it is dominated by."""
    names = Names(letters)
    sentences = [
        dominance_sentence(line_text(point.alternative), point.dominance, names)
        for point in points
        if point.HasField("dominance")
    ]
    if sentences:
        console.print(Text("\nBehind the front", style="bold"))
        print_bullets(console, sentences)
