"""`servemark cache drop`: forgets replies, in Redis and in every process."""

from typing import Annotated

import typer

from servemark.cli.output import CliError
from servemark.cli.quantities import counted
from servemark.cli.up import DataDir
from servemark.runtime.cache.families import FAMILIES
from servemark.stack.cache import drop
from servemark.stack.errors import StackError
from servemark.stack.files import data_dir_from_environment


def cache_drop(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="[FAMILY|KEY]",
            help=f"One of {', '.join(FAMILIES)}, or a key: model:ID:details. All if left out.",
        ),
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Forget a family of replies, one key or everything; they are read anew when asked for."""
    try:
        count = drop(data_dir or data_dir_from_environment(), what)
    except LookupError:
        text = f"{what!r} is no key and none of {', '.join(FAMILIES)}."
        raise typer.BadParameter(text) from None
    except StackError as error:
        raise CliError(str(error)) from None
    print(f"{counted(count, 'key')} dropped.")
