"""`servemark import`: result files of benchmark tools, read and streamed."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from servemark.cli.connection import Key, Target, open_client
from servemark.cli.import_table import print_records
from servemark.cli.options import Json
from servemark.cli.output import SOME_REJECTED, CliError, err, out, print_json
from servemark.client.channel import Client
from servemark.client.load import LoadSummary, load_records
from servemark.client.record_fields import RecordError
from servemark.importers.base import Imported, Rejection
from servemark.importers.context import Context
from servemark.importers.detect import FORMATS, read_document
from servemark.importers.documents import SUFFIXES, find_files, read_documents
from servemark.importers.mapping import MappingImporter
from servemark.importers.mapping_file import MappingError, read_mapping

_MAX_SHOWN = 10


@dataclass
class _Read:
    """What the files gave."""

    imported: list[Imported] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)


def import_files(
    ctx: typer.Context,
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", exists=True, help="Result files, or folders of them."),
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
            help="JSON or TOML file that says what the files do not: model, quantization,"
            " hardware, gpu_count, framework, framework_version, workload_type, ...",
        ),
    ] = None,
    mapping: Annotated[
        Path | None,
        typer.Option(
            "--mapping",
            exists=True,
            dir_okay=False,
            help="TOML or YAML file that says where the figures lie in files of another format.",
        ),
    ] = None,
    time_from_file: Annotated[
        bool,
        typer.Option("--time-from-file", help="Where nothing else says it, a file's own time."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be sent, and send nothing.")
    ] = False,
    json: Json = False,
    target: Target = None,
    key: Key = None,
) -> None:
    """Import result files of benchmark tools. The same file twice stores nothing twice."""
    check_format(file_format)
    if mapping is not None and file_format != "auto":
        raise typer.BadParameter("It is the format; leave --format out.", param_hint="--mapping")
    read = _read_files(
        files, context_of(context), file_format, _mapping(mapping), time_from_file=time_from_file
    )
    if dry_run:
        _show(read, json=json)
    else:
        with open_client(ctx, target, key) as client:
            summary = _send(client, read)
        _report(read, summary, json=json)
    if read.rejections:
        raise typer.Exit(SOME_REJECTED)


def check_format(file_format: str) -> None:
    """Raises BadParameter for a format that there is not."""
    if file_format not in FORMATS:
        raise typer.BadParameter(
            f"{file_format!r} is not one of {', '.join(FORMATS)}.", param_hint="--format"
        )


def context_of(path: Path | None) -> Context:
    """The context that a file states; an empty one without a file. Raises CliError."""
    if path is None:
        return Context()
    try:
        return Context.from_file(path)
    except RecordError as error:
        wrong = "; ".join(f"{item.field} {item.description}" for item in error.problems)
        raise CliError(f"{path} cannot be used as the context: {wrong}.") from None
    except (OSError, ValueError) as error:
        raise CliError(f"{path} cannot be read as the context: {error}.") from None


def _mapping(path: Path | None) -> MappingImporter | None:
    if path is None:
        return None
    try:
        return MappingImporter(read_mapping(path))
    except MappingError as error:
        raise CliError(f"The mapping cannot be used: {error}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(f"{path} cannot be read as the mapping: {error}.") from None


def _read_files(
    paths: Iterable[Path],
    context: Context,
    file_format: str,
    mapping: MappingImporter | None,
    *,
    time_from_file: bool,
) -> _Read:
    read = _Read()
    files = list(find_files(paths))
    if not files:
        raise CliError(f"There is no {', '.join(SUFFIXES)} file in what was named.")
    for path in files:
        try:
            for document in read_documents(path, time_from_file=time_from_file):
                if isinstance(document, Rejection):
                    read.rejections.append(document)
                    continue
                for outcome in read_document(document, context, file_format, mapping):
                    if isinstance(outcome, Rejection):
                        read.rejections.append(outcome)
                    else:
                        read.imported.append(outcome)
        except OSError as error:
            raise CliError(f"{path} cannot be read: {error.strerror}.") from None
    return read


def _show(read: _Read, *, json: bool) -> None:
    if json:
        for item in read.imported:
            print_json(item.record.dry_run_json(item.file_format), indent=None)
        _print_rejections_json(read.rejections)
        return
    if read.imported:
        print_records(out(), [item.record for item in read.imported])
    rejected = f"; {len(read.rejections)} rejected" if read.rejections else ""
    out().print(f"{_count(len(read.imported))} would be sent{rejected}.")
    print_rejections(read.rejections)


def _send(client: Client, read: _Read) -> LoadSummary:
    """Streams the records; the server's refusals join those of the files."""
    records = [item.record for item in read.imported]
    console = err()
    columns = (TextColumn("Sending"), BarColumn(), MofNCompleteColumn(), TextColumn("results"))
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task("", total=len(records))
        summary = load_records(
            client, records, on_progress=lambda done: progress.update(task, completed=done)
        )
    places = {id(item.record): item.place for item in read.imported}
    read.rejections += [
        Rejection(item.reason, item.detail, places.get(id(item.record), ""))
        for item in summary.rejections
    ]
    return summary


def _report(read: _Read, summary: LoadSummary, *, json: bool) -> None:
    if json:
        _print_rejections_json(read.rejections)
        print_json(
            {
                "stored": summary.stored,
                "duplicates": summary.duplicates,
                "rejected": len(read.rejections),
                "replayed": summary.replayed,
            },
            indent=None,
        )
        return
    sentence = f"Stored {_count(summary.stored)}"
    if summary.duplicates:
        sentence += f"; {summary.duplicates} were stored before"
    if read.rejections:
        sentence += f"; {len(read.rejections)} rejected"
    out().print(f"{sentence}.")
    print_rejections(read.rejections)


def _count(results: int) -> str:
    return "1 result" if results == 1 else f"{results} results"


def _print_rejections_json(rejections: Iterable[Rejection]) -> None:
    for rejection in rejections:
        print_json(rejection.to_json(), indent=None)


def print_rejections(rejections: list[Rejection]) -> None:
    """Prints each distinct reason once, with how often it occurred and where first."""
    counts = Counter((item.reason, item.detail) for item in rejections)
    first = {(item.reason, item.detail): item.place for item in reversed(rejections)}
    console = err()
    for (reason, detail), count in counts.most_common(_MAX_SHOWN):
        times = f" ({count} times, first in {first[reason, detail]})"
        place = times if count > 1 else f" ({first[reason, detail]})"
        line = Text.assemble((f"rejected {reason}", "yellow"), f": {detail}{place}")
        console.print(line, soft_wrap=True)
    if len(counts) > _MAX_SHOWN:
        console.print(f"... and {len(counts) - _MAX_SHOWN} more reasons; --json lists them all.")
