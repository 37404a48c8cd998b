"""`servemark migrate`: brings the database's schemas up to date."""

import os

from servemark.cli.output import CliError
from servemark.stack.errors import StackError
from servemark.stack.up import migrate as run_migrations


def migrate() -> None:
    """Bring every schema of the database SERVEMARK_DATABASE_URL to its newest revision."""
    database_url = os.environ.get("SERVEMARK_DATABASE_URL")
    if not database_url:
        raise CliError(
            "SERVEMARK_DATABASE_URL is not set. `servemark up` migrates its own database;"
            " set the variable to migrate another."
        )
    try:
        run_migrations(database_url)
    except StackError as error:
        raise CliError(str(error)) from None
    print("Every schema is at its newest revision.")
