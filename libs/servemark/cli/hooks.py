"""Commands that need the server's packages, loaded only when they are asked for."""

import importlib

import typer

from servemark.cli.output import CliError

# Each is a module `servemark.cli.<name>` with a function `<name>` that typer can read.
HOOKS = {
    "up": "Start everything on this machine and print a first recommendation.",
    "down": "Stop what `servemark up` started in this folder.",
    "doctor": "Say what runs, what is there and what is missing.",
    "migrate": "Bring the database's schemas up to date.",
}

_PASS_ON = {
    "allow_extra_args": True,
    "ignore_unknown_options": True,
    # `servemark up --help` is answered by the command itself.
    "help_option_names": [],
}


def add_hooks(app: typer.Typer) -> None:
    """Adds a command for each hook that loads its module and hands the arguments over."""
    for name, sentence in HOOKS.items():
        app.command(name, help=sentence, context_settings=_PASS_ON)(_hook(name))


def _hook(name: str):  # type: ignore[no-untyped-def]  # typer reads the inner signature
    def run(ctx: typer.Context) -> None:
        command = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        command.command(name)(_load(name))
        command(args=ctx.args, prog_name=f"servemark {name}")

    return run


def _load(name: str):  # type: ignore[no-untyped-def]
    module = f"servemark.cli.{name}"
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.split(".")[0] in ("servemark", "services"):
            raise CliError(f"`servemark {name}` is not part of this install.") from None
        raise CliError(
            f"`servemark {name}` needs the package {error.name}. Install the server's packages:"
            " pip install 'servemark[cli,server,embedded]'"
        ) from None
