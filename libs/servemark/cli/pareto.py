"""`servemark pareto`: what no other configuration is better than."""

from typing import Annotated

import typer
from rich import box
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
from servemark.cli.output import CliError, out, print_message
from servemark.cli.recommendation import (
    alternative_text,
    cell_text,
    print_exclusions,
    print_notices,
)
from servemark.ranking.v1.pareto_pb2 import GetParetoFrontRequest, GetParetoFrontResponse


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
        bool, typer.Option("--all", help="Also show what lies behind the front.")
    ] = False,
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
        include_dominated=show_all,
    )
    with open_client(ctx, target, key) as client:
        response = client.ranking.GetParetoFront(request)
    if json:
        print_message(response)
    else:
        _print_front(request, response, top)


def _print_front(
    request: GetParetoFrontRequest, response: GetParetoFrontResponse, top: int
) -> None:
    console = out()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("front", justify="right")
    table.add_column("configuration", min_width=34, overflow="fold")
    for metric in request.metrics:
        table.add_column(metric_head(metric), justify="right")
    for point in list(response.points)[:top]:
        cells = {cell.metric: cell for cell in point.cells}
        table.add_row(
            str(point.pareto_rank),
            alternative_text(point.alternative),
            *(cell_text(cells.get(metric)) for metric in request.metrics),
        )
    if response.points:
        console.print(table)
    console.print(
        Text(f"{response.front_count} on the front, {response.dominated_count} behind it.")
    )
    if len(response.points) > top:
        console.print(f"{top} of {len(response.points)} shown; --top shows more.")
    total = response.front_count + response.dominated_count
    if response.exclusion_counts:
        print_exclusions(console, response.exclusion_counts, total, None)
    print_notices(console, response.notices)
