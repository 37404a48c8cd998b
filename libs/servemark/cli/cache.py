"""`servemark cache`: what the caches hold and how often they answer, and emptying them."""

import typer

from servemark.cli.hooks import add_hook

app = typer.Typer(no_args_is_help=True, help="See what the caches hold, and empty them.")

add_hook(app, "stats", "Say what Redis holds, and which level answered how often.", group="cache")
add_hook(app, "drop", "Forget a family of replies, one key or everything.", group="cache")
