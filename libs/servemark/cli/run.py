"""`servemark run -- CMD…`: a benchmark's command, and then an import of what it wrote."""

import os
from pathlib import Path
from typing import Annotated

import typer

from servemark.cli.child import NotStartedError, run_command
from servemark.cli.connection import Key, Target, open_client
from servemark.cli.environment import environment_of
from servemark.cli.import_ import check_format, context_of, print_rejections
from servemark.cli.output import NOT_IMPORTED, SOME_REJECTED, CliError, err, say_error
from servemark.cli.push import SpoolFolder
from servemark.cli.written import MAX_FILES, Watch
from servemark.client.errors import ServemarkCallError, ServemarkError
from servemark.client.ledger import StreamError
from servemark.client.load import load_records
from servemark.client.spool import Spool, spool_records
from servemark.importers.base import FORMAT_UNKNOWN, Imported, Rejection
from servemark.importers.context import Context
from servemark.importers.detect import FORMATS, read_document
from servemark.importers.documents import read_documents

_MAX_BYTES = 512 * 1024 * 1024
_IDLE_SECONDS = 10.0


def run(
    ctx: typer.Context,
    command: Annotated[
        list[str],
        typer.Argument(metavar="-- COMMAND...", help="The command, as you would type it."),
    ],
    file_format: Annotated[
        str, typer.Option("--format", metavar="|".join(FORMATS), help="The files' format.")
    ] = "auto",
    context: Annotated[
        Path | None,
        typer.Option(
            "--context",
            exists=True,
            dir_okay=False,
            help="JSON or TOML file that says what the result files do not, as for import.",
        ),
    ] = None,
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
    stated = context_of(context)
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
        imported, rejections = _read(watch.written(), stated, file_format)
        own = _keep(ctx, imported, rejections, environment, Spool.at(spool), target, key)
    except (CliError, ServemarkError) as error:
        say_error(f"The results were not imported. {error}")
        own = NOT_IMPORTED
    raise typer.Exit(code or own)


def _read(
    paths: list[Path], context: Context, file_format: str
) -> tuple[list[Imported], list[Rejection]]:
    """What the files hold that an importer recognises; the others are not results."""
    imported: list[Imported] = []
    rejections: list[Rejection] = []
    for path in paths:
        try:
            if path.stat().st_size > _MAX_BYTES:
                rejections.append(Rejection("TOO_LARGE", "Import it by itself.", str(path)))
                continue
            for document in read_documents(path, time_from_file=True):
                if isinstance(document, Rejection):
                    continue
                for outcome in read_document(document, context, file_format):
                    if isinstance(outcome, Imported):
                        imported.append(outcome)
                    elif outcome.reason != FORMAT_UNKNOWN:
                        rejections.append(outcome)
        except OSError as error:
            raise CliError(f"{path} cannot be read: {error.strerror}.") from None
    return imported, rejections


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
        print_rejections(rejections)
        say_error(
            "The command wrote no result file that could be imported: looked for new and changed"
            f" ones below {os.getcwd()} and at what the command line names."
        )
        return NOT_IMPORTED
    records = [item.record for item in imported]
    with open_client(ctx, target, key) as client:
        try:
            summary = load_records(
                client, records, idle_timeout=_IDLE_SECONDS, environment=environment
            )
        except (ServemarkCallError, StreamError) as error:
            paths = spool_records(spool, records, client.target, environment)
            err().print(
                f"{error}\n{len(records)} results wait in {paths[0].parent}. Send them with"
                " `servemark push`.",
                markup=False,
                soft_wrap=True,
            )
            print_rejections(rejections)
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
        f"servemark: stored {summary.stored} of {len(records)} results{stored_before}.",
        soft_wrap=True,
    )
    print_rejections(rejections)
    if not summary.stored and not summary.duplicates:
        return NOT_IMPORTED
    return SOME_REJECTED if rejections else 0
