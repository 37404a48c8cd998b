"""`servemark up`: everything on this machine, and a first recommendation."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from servemark.cli.output import CliError, out
from servemark.cli.recommendation import print_recommendation
from servemark.embedded.errors import EmbeddedServerError
from servemark.ranking.v1.recommend_pb2 import RecommendResponse
from servemark.stack.errors import StackError
from servemark.stack.files import data_dir_from_environment
from servemark.stack.up import FIRST_USE_CASE, Stack
from servemark.stack.up import up as run_stack

DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Where data is kept. [default: .servemark]"),
]


def up(
    data_dir: DataDir = None,
    no_sample: Annotated[
        bool, typer.Option("--no-sample", help="Start empty, without catalog and results.")
    ] = False,
) -> None:
    """Start everything on this machine, print a first recommendation, and run until Ctrl-C."""
    try:
        run_stack(data_dir or data_dir_from_environment(), sample=not no_sample, present=_present)
    except (StackError, EmbeddedServerError) as error:
        raise CliError(str(error)) from None


def _command(name: str) -> str:
    """How the reader types a command: as installed beside this one, if it is."""
    beside = Path(sys.executable).with_name(name)
    if not beside.exists():
        return name
    here = Path.cwd()
    return str(beside.relative_to(here) if beside.is_relative_to(here) else beside)


def _present(stack: Stack, first: RecommendResponse | None) -> None:
    console = out()
    if first is not None:
        print_recommendation(console, first)
    settings = stack.settings
    host, ca = settings.own_host, settings.peer_tls_ca
    grpcurl, curl = ("-plaintext", "") if ca is None else (f"-cacert {ca}", f" --cacert {ca}")
    lines = [
        "",
        f"Page      {settings.http_url}/",
        f"Gateway   {stack.target} (gRPC), {settings.http_url} (HTTP)",
        f"Services  catalog {settings.target('catalog')}, ingest {settings.target('ingest')}, "
        f"ranking {settings.target('ranking')}",
    ]
    metrics_port = settings.metrics_port_of("gateway")
    if metrics_port:
        lines.append(f"Metrics   http://{host}:{metrics_port}/metrics, and the next three ports")
    lines += [
        f"Data      {stack.data.root}",
        f"API key   {stack.key}",
        "",
        "Try:",
        f"  {_command('servemark')} recommend --use-case {FIRST_USE_CASE} "
        "--ttft-p99 500 --budget 60",
        f"  {_command('grpcurl')} {grpcurl} -H 'authorization: Bearer {stack.key}' \\",
        f'    -d \'{{"use_case": "{FIRST_USE_CASE}", "max_results": 3}}\' \\',
        f"    {stack.target} servemark.ranking.v1.RankingService/Recommend",
        f'  curl -s{curl} -d \'{{"use_case": "{FIRST_USE_CASE}", "max_results": 3}}\' \\',
        f"    {settings.http_url}/servemark.ranking.v1.RankingService/Recommend",
    ]
    if metrics_port:
        lines.append(
            f"  curl -s http://{host}:{metrics_port}/metrics | grep servemark_grpc_handled"
        )
    lines += ["", "Ctrl-C stops it; the data stays."]
    print("\n".join(lines), flush=True)
