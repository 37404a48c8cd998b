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
        add_hook(app, name, sentence)


def add_hook(app: typer.Typer, name: str, sentence: str, *, group: str = "") -> None:
    """Adds one such command; that of a group is `<group>_<name>` in the module of that name."""
    app.command(name, help=sentence, context_settings=_PASS_ON)(_hook(name, group))


def _hook(name: str, group: str):  # type: ignore[no-untyped-def]  # typer reads the inner signature
    words = [group, name] if group else [name]

    def run(ctx: typer.Context) -> None:
        command = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        command.command(name)(_load(words))
        command(args=ctx.args, prog_name=" ".join(["servemark", *words]))

    return run


def _load(words: list[str]):  # type: ignore[no-untyped-def]
    function, spoken = "_".join(words), " ".join(words)
    try:
        return getattr(importlib.import_module(f"servemark.cli.{function}"), function)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.split(".")[0] in ("servemark", "services"):
            raise CliError(f"`servemark {spoken}` is not part of this install.") from None
        raise CliError(
            f"`servemark {spoken}` needs the package {error.name}. Install the server's packages:"
            " pip install 'servemark[cli,server,embedded]'"
        ) from None
