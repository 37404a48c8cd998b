"""`servemark run -- CMD…`: a benchmark's command, and then an import of what it wrote."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from servemark.cli.child import NotStartedError, run_command
from servemark.cli.connection import Key, Target, open_client
from servemark.cli.environment import environment_of
from servemark.cli.import_ import check_format
from servemark.cli.import_context import ContextFile, MappingFile, mapping_of, typed_context
from servemark.cli.import_reading import refused
from servemark.cli.import_summary import RejectionCounts
from servemark.cli.output import NOT_IMPORTED, SOME_REJECTED, CliError, err, say_error
from servemark.cli.push import SpoolFolder
from servemark.cli.resolving import Resolver
from servemark.cli.written import MAX_FILES, Watch
from servemark.client.channel import Client
from servemark.client.errors import ServemarkCallError, ServemarkError
from servemark.client.ledger import StreamError
from servemark.client.load import load_records
from servemark.client.spool import Spool, spool_records
from servemark.importers.base import (
    FORMAT_UNKNOWN,
    NOT_JSON,
    TOO_LARGE,
    Imported,
    Rejection,
)
from servemark.importers.detect import FORMATS
from servemark.importers.documents import Found
from servemark.importers.reading import Reader

_MAX_BYTES = 512 * 1024 * 1024
_IDLE_SECONDS = 10.0
_NO_RESULTS = (FORMAT_UNKNOWN, NOT_JSON)


def run(
    ctx: typer.Context,
    command: Annotated[
        list[str],
        typer.Argument(metavar="-- COMMAND...", help="The command, as you would type it."),
    ],
    file_format: Annotated[
        str, typer.Option("--format", metavar="|".join(FORMATS), help="The files' format.")
    ] = "auto",
    context: ContextFile = None,
    mapping: MappingFile = None,
    spool: SpoolFolder = None,
    target: Target = None,
    key: Key = None,
) -> None:
    """Run a benchmark's command unchanged, then import the result files that it wrote.

    The exit code is the command's. Where that is 0: 3 if some results were rejected, 4 if nothing
    could be imported. Results that the server cannot take now wait in the spool, for `servemark
    push`.
    """
    check_format(file_format)
    if mapping is not None and file_format != "auto":
        raise typer.BadParameter("It is the format; leave --format out.", param_hint="--mapping")
    reader = Reader(typed_context(context), file_format, mapping_of(mapping), time_from_file=True)
    watch = Watch(command, Path.cwd())
    if not watch.is_complete:
        raise CliError(
            f"There are more than {MAX_FILES} result files below {Path.cwd()}. Run the command in"
            " a folder of its own."
        )
    environment = environment_of(command)
    try:
        code = run_command(command)
    except NotStartedError as error:
        say_error(str(error))
        raise typer.Exit(error.code) from None
    try:
        imported, rejections = _read(watch.written(), reader)
        own = _keep(ctx, imported, rejections, environment, Spool.at(spool), target, key)
    except (CliError, ServemarkError) as error:
        say_error(f"The results were not imported. {error}")
        own = NOT_IMPORTED
    raise typer.Exit(code or own)


def _read(paths: list[Path], reader: Reader) -> tuple[list[Imported], list[Rejection]]:
    """What the files hold that an importer recognises; the others are not results."""
    imported: list[Imported] = []
    rejections: list[Rejection] = []
    for path in paths:
        if path.stat().st_size > _MAX_BYTES:
            rejections.append(Rejection(TOO_LARGE, "Import it by itself.", str(path)))
            continue
        for outcome in reader.read(Found(path, _root(path), is_named=False)):
            if isinstance(outcome, Imported):
                imported.append(outcome)
            elif outcome.reason not in _NO_RESULTS:
                rejections.append(outcome)
    return imported, rejections


def _root(path: Path) -> Path:
    """The folder whose side-cars are the farthest to count for a file."""
    here = Path.cwd().resolve()
    return here if path.is_relative_to(here) else path.parent


def _resolved(client: Client, imported: list[Imported]) -> tuple[list[Imported], list[Rejection]]:
    """The results with the catalog's names, and a rejection for each that cannot have them."""
    resolver = Resolver(client)
    named: list[Imported] = []
    rejections: list[Rejection] = []
    for item in imported:
        record, unresolved = resolver.resolve(item.record, item.hardware)
        if unresolved:
            rejections.append(refused(item, unresolved))
        else:
            named.append(replace(item, record=record))
    return named, rejections


def _keep(
    ctx: typer.Context,
    imported: list[Imported],
    rejections: list[Rejection],
    environment: dict[str, object],
    spool: Spool,
    target: str | None,
    key: str | None,
) -> int:
    """Sends or spools what was read, says so, and returns the exit code that it gives."""
    if not imported:
        RejectionCounts(rejections).print()
        say_error(
            "The command wrote no result file that could be imported: looked for new and changed"
            f" ones below {os.getcwd()} and at what the command line names."
        )
        return NOT_IMPORTED
    count = len(imported)
    with open_client(ctx, target, key) as client:
        try:
            imported, unresolved = _resolved(client, imported)
            rejections = [*rejections, *unresolved]
            records = [item.record for item in imported]
            summary = load_records(
                client, records, idle_timeout=_IDLE_SECONDS, environment=environment
            )
        except (ServemarkCallError, StreamError) as error:
            records = [item.record for item in imported]
            paths = spool_records(spool, records, client.target, environment)
            err().print(
                f"{error}\n{len(records)} results wait in {paths[0].parent}. Send them with"
                " `servemark push`.",
                markup=False,
                soft_wrap=True,
            )
            RejectionCounts(rejections).print()
            return SOME_REJECTED if rejections else 0
    places = {id(item.record): item.place for item in imported}
    rejections = [
        *rejections,
        *(
            Rejection(item.reason, item.detail, places[id(item.record)])
            for item in summary.rejections
        ),
    ]
    stored_before = f"; {summary.duplicates} were stored before" if summary.duplicates else ""
    err().print(
        f"servemark: stored {summary.stored} of {count} results{stored_before}.",
        soft_wrap=True,
    )
    RejectionCounts(rejections).print()
    if not summary.stored and not summary.duplicates:
        return NOT_IMPORTED
    return SOME_REJECTED if rejections else 0
