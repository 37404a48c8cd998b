"""`servemark import`: result files of benchmark tools, read and streamed."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from servemark.cli.asking import Answers, can_ask
from servemark.cli.connection import Key, Target, open_client
from servemark.cli.import_context import (
    ContextFile,
    Framework,
    FrameworkVersion,
    GpuCount,
    Hardware,
    InputTokens,
    MappingFile,
    Model,
    ModelVersion,
    OutputTokens,
    ProvenanceOption,
    Quantization,
    Workload,
    mapping_of,
    typed_context,
)
from servemark.cli.import_progress import ImportProgress
from servemark.cli.import_reading import Reading
from servemark.cli.import_sending import Sending
from servemark.cli.import_summary import ImportSummary, in_words
from servemark.cli.import_table import MAX_ROWS, print_records
from servemark.cli.options import Json
from servemark.cli.output import SOME_REJECTED, CliError, err, out, print_json
from servemark.cli.resolving import Resolver
from servemark.client.records import ResultRecord
from servemark.importers.base import Imported, Rejection
from servemark.importers.detect import FORMATS
from servemark.importers.documents import SUFFIXES, find_files
from servemark.importers.reading import Reader
from servemark.importers.workers import WorkerLostError

_INTERRUPTED = 130


def import_files(
    ctx: typer.Context,
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", exists=True, help="Result files, or folders of them."),
    ],
    file_format: Annotated[
        str, typer.Option("--format", metavar="|".join(FORMATS), help="The files' format.")
    ] = "auto",
    context: ContextFile = None,
    model: Model = None,
    model_version: ModelVersion = None,
    quantization: Quantization = None,
    hardware: Hardware = None,
    gpu_count: GpuCount = None,
    framework: Framework = None,
    framework_version: FrameworkVersion = None,
    workload: Workload = None,
    input_tokens: InputTokens = None,
    output_tokens: OutputTokens = None,
    provenance: ProvenanceOption = None,
    mapping: MappingFile = None,
    time_from_file: Annotated[
        bool,
        typer.Option("--time-from-file", help="Where nothing else says it, a file's own time."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be sent, and send nothing.")
    ] = False,
    no_input: Annotated[
        bool, typer.Option("--no-input", help="Ask nothing, also on a terminal.")
    ] = False,
    json: Json = False,
    target: Target = None,
    key: Key = None,
) -> None:
    """Import result files of benchmark tools. The same file twice stores nothing twice.

    What a file does not say comes from the options, from --context, or from a servemark.yaml in
    its folder or above it. What is still missing is asked for once on a terminal.
    """
    check_format(file_format)
    if mapping is not None and file_format != "auto":
        raise typer.BadParameter("It is the format; leave --format out.", param_hint="--mapping")
    typed = typed_context(
        context,
        model=model,
        model_version=model_version,
        quantization=quantization,
        hardware=hardware,
        gpu_count=gpu_count,
        framework=framework,
        framework_version=framework_version,
        workload_type=workload,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        provenance=provenance,
    )
    reader = Reader(typed, file_format, mapping_of(mapping), time_from_file)
    asks = can_ask() and not json and not no_input
    if dry_run:
        rejected = _dry_run(files, reader, asks=asks, json=json)
    else:
        rejected = _import(ctx, files, reader, asks=asks, json=json, target=target, key=key)
    if rejected:
        raise typer.Exit(SOME_REJECTED)


def check_format(file_format: str) -> None:
    """Raises BadParameter for a format that there is not."""
    if file_format not in FORMATS:
        raise typer.BadParameter(
            f"{file_format!r} is not one of {', '.join(FORMATS)}.", param_hint="--format"
        )


@dataclass
class _Shown:
    """What a dry run found: the first records, and counts of the rest."""

    summary: ImportSummary = field(default_factory=ImportSummary)
    first: list[ResultRecord] = field(default_factory=list)


def _dry_run(files: list[Path], reader: Reader, *, asks: bool, json: bool) -> int:
    shown = _Shown()
    with ImportProgress(files) as progress:
        answers = Answers(asks=asks)
        for outcome in _outcomes(files, reader, shown.summary, progress, answers):
            if isinstance(outcome, Rejection):
                shown.summary.add_rejection(outcome)
                if json:
                    print_json(outcome.to_json(), indent=None)
            elif json:
                print_json(outcome.record.dry_run_json(outcome.file_format), indent=None)
            elif len(shown.first) < MAX_ROWS:
                shown.first.append(outcome.record)
    if not json:
        _print_dry_run(shown)
    return shown.summary.rejected


def _print_dry_run(shown: _Shown) -> None:
    summary = shown.summary
    if shown.first:
        print_records(out(), shown.first)
    if summary.read > len(shown.first):
        out().print(f"... and {summary.read - len(shown.first)} more; --json lists them all.")
    rejected = f"; {summary.rejected} rejected" if summary.rejected else ""
    out().print(f"{in_words(summary.read)} would be sent{rejected}.")
    summary.rejections.print()


def _import(
    ctx: typer.Context,
    files: list[Path],
    reader: Reader,
    *,
    asks: bool,
    json: bool,
    target: str | None,
    key: str | None,
) -> int:
    summary = ImportSummary()

    def reject(rejection: Rejection) -> None:
        summary.add_rejection(rejection)
        if json:
            print_json(rejection.to_json(), indent=None)

    with ExitStack() as stack:
        client = stack.enter_context(open_client(ctx, target, key))
        progress = stack.enter_context(ImportProgress(files))
        resolver = Resolver(client)
        answers = Answers(asks=asks, candidates=resolver.candidates)
        sending = Sending(client, summary, reject)
        try:
            for outcome in _outcomes(files, reader, summary, progress, answers, resolver):
                if isinstance(outcome, Rejection):
                    reject(outcome)
                else:
                    sending.add(outcome)
            sending.close()
        except KeyboardInterrupt:
            sending.stop()
            progress.stop()
            _report(summary, json=json)
            err().print("Interrupted. Import the same again: what is stored is not stored twice.")
            raise typer.Exit(_INTERRUPTED) from None
        except BaseException:
            sending.stop()
            progress.stop()
            if summary.stored:
                _report(summary, json=json)
            raise
        progress.stop()
        _report(summary, json=json)
        answers.offer_to_write(files[0] if files[0].is_dir() else files[0].parent)
    return summary.rejected


def _report(summary: ImportSummary, *, json: bool) -> None:
    if json:
        print_json(summary.to_json(), indent=None)
    else:
        summary.print()


def _outcomes(
    files: list[Path],
    reader: Reader,
    summary: ImportSummary,
    progress: ImportProgress,
    answers: Answers,
    resolver: Resolver | None = None,
) -> Iterator[Imported | Rejection]:
    """What the files hold, in order, with the gaps filled and the names resolved."""
    reading = Reading(reader, answers, resolver, progress)
    try:
        for outcome in reading.outcomes(find_files(files)):
            if outcome is None:
                summary.files += 1
                progress.show(summary)
                continue
            summary.read += isinstance(outcome, Imported)
            yield outcome
    except WorkerLostError as error:
        raise CliError(f"{error} What was stored stays; import the same again.") from None
    except OSError as error:
        raise CliError(f"{error.filename} cannot be read: {error.strerror}.") from None
    if not summary.files:
        raise CliError(f"There is no {', '.join(SUFFIXES)} file in what was named.")
