"""`servemark storage migrate`: from native partitions to a TimescaleDB hypertable."""

import os
from typing import Annotated

import typer

from servemark.cli.output import CliError
from servemark.stack.errors import StackError
from servemark.stack.storage import drop_native_partitions, move_to_hypertable


def storage_migrate(
    drop_old: Annotated[
        bool,
        typer.Option(
            "--drop-old",
            help="Instead, drop the partitions that an earlier run moved results from.",
        ),
    ] = False,
) -> None:
    """Move results from native partitions into a TimescaleDB hypertable, while streams go on.

    Connects as the owner of the database SERVEMARK_DATABASE_URL. Needs room for a second copy of
    the results. Interrupted, it loses nothing and goes on with the next run.
    """
    database_url = os.environ.get("SERVEMARK_DATABASE_URL")
    if not database_url:
        raise CliError("SERVEMARK_DATABASE_URL is not set: the address of the database's owner.")
    try:
        if drop_old:
            size = drop_native_partitions(database_url)
            print(f"Dropped {size / 1e6:,.0f} MB." if size else "There is nothing to drop.")
            return
        moved = move_to_hypertable(database_url, lambda line: print(line, flush=True))
    except StackError as error:
        raise CliError(str(error)) from None
    if moved.was != "native":
        print(f"Old days of the hypertable are compressed from now on (profile {moved.profile}).")
        return
    print(
        f"{moved.rows:,} rows of {moved.days:,} days lie in a hypertable now (profile "
        f"{moved.profile}); count and checksum of each day are the same on both sides.\n"
        f"Streams waited {moved.locked_seconds:.1f} s, and go on.\n"
        f"The partitions are kept in the schema ingest_native ({moved.kept_bytes / 1e6:,.0f} MB). "
        "`servemark storage migrate --drop-old` drops them."
    )
