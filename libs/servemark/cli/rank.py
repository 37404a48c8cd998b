"""`servemark rank`: a matrix of one's own, or the stored ranking of a use case."""

from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from servemark.cli.connection import Key, Target, open_client
from servemark.cli.matrix_file import read_matrix
from servemark.cli.metrics import figure, parse_pair
from servemark.cli.options import Json
from servemark.cli.output import CliError, out, print_message
from servemark.cli.recommendation import print_criteria, print_notices, print_ranked
from servemark.ranking.v1.candidate_pb2 import ExclusionReason
from servemark.ranking.v1.rank_matrix_pb2 import RankMatrixRequest, RankMatrixResponse
from servemark.ranking.v1.ranking_pb2 import GetRankingsRequest, GetRankingsResponse
from servemark.ranking.v1.recommend_pb2 import Normalization

_NORMALIZATIONS = ("vector", "min-max", "fixed-bounds")
_MAX_CRITERIA = 6


def rank(
    ctx: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(exists=True, dir_okay=False, help="A matrix in CSV or JSON."),
    ] = None,
    use_case: Annotated[
        str, typer.Option("--use-case", metavar="NAME", help="Show this use case's ranking.")
    ] = "",
    objective: Annotated[
        list[str] | None,
        typer.Option(
            "--objective", metavar="NAME=min|max", help="Which way a criterion is better."
        ),
    ] = None,
    weight: Annotated[
        list[str] | None, typer.Option("--weight", metavar="NAME=WEIGHT", help="What it counts.")
    ] = None,
    normalization: Annotated[
        str,
        typer.Option(metavar="|".join(_NORMALIZATIONS), help="How values are made comparable."),
    ] = "vector",
    top: Annotated[int, typer.Option("--top", min=1, max=1000, help="How many to show.")] = 20,
    json: Json = False,
    target: Target = None,
    key: Key = None,
) -> None:
    """Rank the alternatives of a file, or show the stored ranking of a use case."""
    if (file is None) == (not use_case):
        raise typer.BadParameter("Give either a file or --use-case.", ctx=ctx)
    if normalization not in _NORMALIZATIONS:
        raise typer.BadParameter(f"It is one of {', '.join(_NORMALIZATIONS)}.", ctx=ctx)
    if file is None:
        stored = GetRankingsRequest(use_case=use_case, page_size=top)
        with open_client(ctx, target, key) as client:
            rankings = client.ranking.GetRankings(stored)
        print_message(rankings) if json else _print_rankings(rankings)
        return
    request = read_matrix(file, _objectives(objective), dict(_weights(weight)))
    request.normalization = Normalization.Value(
        f"NORMALIZATION_{normalization.upper().replace('-', '_')}"
    )
    with open_client(ctx, target, key) as client:
        response = client.ranking.RankMatrix(request)
    print_message(response) if json else _print_matrix(request, response, top)


def _objectives(texts: list[str] | None) -> dict[str, str]:
    found = {}
    for text in texts or []:
        name, separator, objective = text.partition("=")
        if not separator:
            raise CliError(f"--objective takes name=min or name=max, not {text!r}.")
        found[name.strip()] = objective
    return found


def _weights(texts: list[str] | None) -> list[tuple[str, float]]:
    return [parse_pair("--weight", text) for text in texts or []]


def _print_matrix(request: RankMatrixRequest, response: RankMatrixResponse, top: int) -> None:
    criteria = list(request.criteria)[:_MAX_CRITERIA]
    values = {alternative.id: alternative.values for alternative in request.alternatives}
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("#", justify="right")
    table.add_column("score", justify="right")
    table.add_column("front", justify="right")
    table.add_column("alternative", overflow="fold")
    for criterion in criteria:
        table.add_column(Text(criterion.name), justify="right", overflow="fold")
    for row in list(response.ranks)[:top]:
        table.add_row(
            str(row.rank),
            f"{row.score:.3f}",
            str(row.pareto_rank),
            Text(row.id),
            *(figure(value) for value in values[row.id][: len(criteria)]),
        )
    console = out()
    if response.ranks:
        console.print(table)
    if len(response.ranks) > top:
        console.print(f"... and {len(response.ranks) - top} more; --top shows them.")
    for excluded in response.excluded:
        reason = ExclusionReason.Name(excluded.reason).removeprefix("EXCLUSION_REASON_")
        what = reason.lower().replace("_", " ")
        console.print(Text(f"left out: {excluded.id} ({what}: {', '.join(excluded.criteria)})"))
    print_notices(console, response.notices)


def _print_rankings(response: GetRankingsResponse) -> None:
    generation, console = response.generation, out()
    calculated = generation.calculate_time.ToDatetime()
    console.print(
        Text(f"Ranking for {generation.use_case}", style="bold"),
        Text(f"calculated {calculated:%Y-%m-%d %H:%M} UTC", style="dim"),
    )
    shown = len(response.recommendations)
    if shown:
        print_ranked(console, response.recommendations, generation.weights, generation.limits)
    else:
        why = f"`servemark recommend --use-case {generation.use_case}` says why"
        console.print(Text(f"No configuration keeps its limits and has every figure; {why}."))
    if generation.ranked_count > shown:
        console.print(f"{shown} of {generation.ranked_count}; --top shows more.")
    print_criteria(console, generation.weights, generation.limits)
