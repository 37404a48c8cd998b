"""`servemark compare`: configurations side by side, and which differences are more than noise."""

from typing import Annotated

import typer

from servemark.cli.comparison import print_comparison
from servemark.cli.connection import Key, Target, open_client
from servemark.cli.metrics import parse_metric
from servemark.cli.options import Json, Prices, price_basis
from servemark.cli.output import CliError, out, print_message
from servemark.ranking.v1.compare_pb2 import CompareConfigurationsRequest

_MOST = 16


def compare(
    ctx: typer.Context,
    configs: Annotated[
        list[str],
        typer.Argument(metavar="CONFIG CONFIG...", help="Ids, as recommend and pareto show them."),
    ],
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", metavar="METRIC", help="Compare by this; may be repeated."),
    ] = None,
    price: Prices = None,
    all_pairs: Annotated[
        bool, typer.Option("--all-pairs", help="Show each two, not only each against the first.")
    ] = False,
    json: Json = False,
    target: Target = None,
    key: Key = None,
) -> None:
    """Compare configurations metric by metric, each difference with its 90 % interval."""
    if len(set(configs)) != len(configs) or not 2 <= len(configs) <= _MOST:
        raise CliError(f"Give 2 to {_MOST} different configurations.")
    request = CompareConfigurationsRequest(
        config_ids=configs,
        metrics=[parse_metric(name) for name in metric or []],
        price_basis=price_basis(price),
    )
    with open_client(ctx, target, key) as client:
        response = client.ranking.CompareConfigurations(request)
    if json:
        print_message(response)
    else:
        print_comparison(out(), response, all_pairs=all_pairs)
