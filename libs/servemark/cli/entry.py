"""What the installed `servemark` runs: the command, or how to get the packages it needs."""

import importlib
import sys

_NEEDED = ("rich", "typer")


def main() -> None:
    """Runs the command; ends with a sentence where only the SDK is installed."""
    try:
        command = importlib.import_module("servemark.cli.__main__")
    except ModuleNotFoundError as error:
        if error.name not in _NEEDED:
            raise
        sys.exit(
            f"servemark: the command needs the package {error.name}, which the SDK alone does not."
            " Install it: pip install 'servemark[cli]'"
        )
    command.main()
