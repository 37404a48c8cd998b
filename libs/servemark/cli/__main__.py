"""The `servemark` command: wiring, and the last word on errors."""

import os
import sys
from collections.abc import Sequence
from typing import Annotated

# gRPC tells people about connections it lost in its own words; ours follow.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

import typer

from servemark.cli import (
    archive,
    audit,
    cache,
    catalog,
    check,
    compare,
    events,
    explain,
    import_,
    key,
    org,
    pareto,
    push,
    rank,
    recommend,
    results,
    run,
    spool,
    stats,
    storage,
    user,
)
from servemark.cli.connection import AllowPlaintextKey, Ca, Key, Target
from servemark.cli.hooks import add_hooks
from servemark.cli.output import FAILED, CliError, out, say_error
from servemark.client.errors import ServemarkError

app = typer.Typer(
    name="servemark",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="The data platform for LLM serving benchmarks: which model, quantization, hardware and"
    " framework for a use case, under limits and a budget, and why.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        out().print(f"servemark {version('servemark')}")
        raise typer.Exit


@app.callback()
def before(
    ctx: typer.Context,
    target: Target = None,
    key: Key = None,
    ca: Ca = None,
    allow_plaintext_key: AllowPlaintextKey = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Options before the command count for every command."""
    ctx.obj = {
        "target": target,
        "key": key,
        "ca": ca,
        "allow_plaintext_key": allow_plaintext_key,
    }


add_hooks(app)
app.command("import", no_args_is_help=True)(import_.import_files)
app.command("run", no_args_is_help=True, context_settings={"allow_interspersed_args": False})(
    run.run
)
app.command("push")(push.push)
app.command("resume", help="The same as push.")(push.push)
app.command("recommend", no_args_is_help=True)(recommend.recommend)
app.command("explain", no_args_is_help=True)(explain.explain)
app.command("compare", no_args_is_help=True)(compare.compare)
app.command("check", no_args_is_help=True)(check.check)
app.command("rank", no_args_is_help=True)(rank.rank)
app.command("pareto", no_args_is_help=True)(pareto.pareto)
app.command("results")(results.results)
app.command("stats")(stats.stats)
app.add_typer(catalog.app, name="catalog")
app.add_typer(key.app, name="key")
app.add_typer(org.app, name="org")
app.add_typer(user.app, name="user")
app.command("audit")(audit.audit)
app.add_typer(spool.app, name="spool")
app.add_typer(storage.app, name="storage")
app.add_typer(archive.app, name="archive")
app.add_typer(cache.app, name="cache")
app.add_typer(events.app, name="events")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command and exits with its status.

    0 done, 1 failed, 2 wrong usage, 3 some rows rejected, 4 not imported, 5 results got worse.

    `servemark run` exits as the command that it ran, and with 4 where nothing could be imported.

    Whatever a person can put right is said in a sentence on stderr, never as a traceback.
    """
    try:
        app(args=arguments, prog_name="servemark")
    except (CliError, ServemarkError) as error:
        say_error(str(error))
        sys.exit(FAILED)
    except KeyboardInterrupt:
        say_error("Interrupted.")
        sys.exit(130)


if __name__ == "__main__":
    main()
