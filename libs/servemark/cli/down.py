"""`servemark down`: stops what `servemark up` started in a data directory."""

from servemark.cli.output import CliError
from servemark.cli.up import DataDir
from servemark.stack.errors import StackError
from servemark.stack.files import data_dir_from_environment
from servemark.stack.up import down as stop_stack


def down(data_dir: DataDir = None) -> None:
    """Stop what `servemark up` started, and wait until it has stopped."""
    try:
        print(stop_stack(data_dir or data_dir_from_environment()))
    except StackError as error:
        raise CliError(str(error)) from None
