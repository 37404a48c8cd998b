"""`servemark storage`: how results are stored, and keeping that in order."""

import typer

from servemark.cli.hooks import add_hook

app = typer.Typer(no_args_is_help=True, help="See how results are stored, and keep it in order.")

add_hook(
    app,
    "migrate",
    "Move results into a TimescaleDB hypertable, while streams go on.",
    group="storage",
)
