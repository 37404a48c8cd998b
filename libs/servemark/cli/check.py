"""`servemark check`: whether new runs are worse than those before, by more than the noise."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

import typer
from google.protobuf.timestamp_pb2 import Timestamp

from servemark.cli.check_report import Report, print_markdown, print_report, report_to_json
from servemark.cli.connection import Key, Target, open_client
from servemark.cli.metrics import parse_metric
from servemark.cli.names import Names, framework_ids, hardware_ids, model_ids
from servemark.cli.options import Frameworks, Models, Provenances, Workloads, parse_provenances
from servemark.cli.output import REGRESSED, CliError, out, print_json
from servemark.cli.times import parse_span, parse_time
from servemark.client.channel import Client
from servemark.ingest.v1 import regression_pb2 as regression
from servemark.ingest.v1.result_query_pb2 import ResultFilter
from servemark.type.v1.range_pb2 import TimeRange

_PAGE = 200
_PANEL = "New runs"


class Format(StrEnum):
    """How the report is written."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"


def check(
    ctx: typer.Context,
    baseline: Annotated[
        list[str],
        typer.Option(
            "--baseline",
            metavar="SPAN|DATE|STREAM",
            help="Compare with runs of this span before the new ones (30d), from this day on"
            " (2025-09-14), or of a stream, by its id; streams may be several.",
        ),
    ],
    since: Annotated[
        str,
        typer.Option(
            "--since",
            metavar="SPAN|DATE",
            help="Runs of the last so long (6h), or from this day or time (UTC) on; 1d if no"
            " stream is named.",
            rich_help_panel=_PANEL,
        ),
    ] = "",
    until: Annotated[
        str,
        typer.Option(
            "--until",
            metavar="DATE",
            help="Up to this day or time, without it.",
            rich_help_panel=_PANEL,
        ),
    ] = "",
    stream: Annotated[
        list[str] | None,
        typer.Option(
            "--stream",
            metavar="ID",
            help="Runs of this stream; may be repeated.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            "--metric",
            metavar="METRIC",
            help="Judge this; may be repeated. If none: TTFT and TPOT p50 and p90, throughput and"
            " requests per second.",
        ),
    ] = None,
    min_effect: Annotated[
        str,
        typer.Option("--min-effect", metavar="PERCENT", help="Smallest change worth reporting."),
    ] = "5%",
    form: Annotated[
        Format, typer.Option("--format", help="Markdown is for a comment on GitHub.")
    ] = Format.TEXT,
    config: Annotated[
        list[str] | None,
        typer.Option(
            "--config",
            metavar="ID",
            help="Keep this configuration.",
            rich_help_panel="Filters (each may be given several times)",
        ),
    ] = None,
    model: Models = None,
    hardware: Annotated[
        list[str] | None,
        typer.Option(
            "--hardware",
            "--gpu",
            metavar="NAME",
            help="Keep this hardware, by name or GPU type.",
            rich_help_panel="Filters (each may be given several times)",
        ),
    ] = None,
    framework: Frameworks = None,
    workload: Workloads = None,
    provenance: Provenances = None,
    target: Target = None,
    key: Key = None,
) -> None:
    """Check whether new runs are worse than those before, by more than runs differ anyway.

    Exit codes: 0 nothing got worse, 5 something did, 2 wrong usage, 1 it cannot be said.

    It cannot be said either where every configuration has too few runs.
    """
    with _wrong_usage():
        request = regression.DetectRegressionsRequest(
            filter=ResultFilter(
                config_ids=config or [],
                workload_types=[name.lower() for name in workload or []],
                provenances=parse_provenances(provenance),
            ),
            new_runs=_new_runs(since, until, stream or []),
            metrics=[parse_metric(name) for name in metric or []],
            min_effect=_share("--min-effect", min_effect),
            page_size=_PAGE,
        )
        request.history.CopyFrom(_history(baseline, request.new_runs))
    with open_client(ctx, target, key) as client:
        request.filter.model_ids.extend(model_ids(client, model or []))
        request.filter.hardware_config_ids.extend(hardware_ids(client, hardware or []))
        request.filter.framework_ids.extend(framework_ids(client, framework or []))
        changes = _all_changes(client, request)
        report = Report(changes, Names(client, (one.config for one in changes)), request.min_effect)
    if form is Format.JSON:
        print_json(report_to_json(report))
    elif form is Format.MARKDOWN:
        print_markdown(report)
    else:
        print_report(out(), report)
    if report.has_regression:
        raise typer.Exit(REGRESSED)
    if not report.has_judged:
        raise CliError("No configuration has enough runs to be judged.")


def _all_changes(
    client: Client, request: regression.DetectRegressionsRequest
) -> list[regression.ConfigChange]:
    found: list[regression.ConfigChange] = []
    while True:
        answer = client.ingest.DetectRegressions(request)
        found.extend(answer.config_changes)
        if not answer.next_page_token:
            return found
        request.page_token = answer.next_page_token


@contextmanager
def _wrong_usage() -> Iterator[None]:
    """Makes what is wrong with an option wrong usage, so that no script takes it for a verdict."""
    try:
        yield
    except CliError as error:
        raise typer.BadParameter(str(error)) from None


def _new_runs(since: str, until: str, streams: list[str]) -> regression.RunSelection:
    new = regression.RunSelection(stream_ids=[_stream("--stream", one) for one in streams])
    if since or not streams:
        new.benchmark_time.start_time.CopyFrom(_moment("--since", since or "1d", _now()))
    if until:
        new.benchmark_time.end_time.CopyFrom(parse_time("--until", until))
    return new


def _history(baseline: list[str], new: regression.RunSelection) -> regression.RunSelection:
    if len(baseline) > 1 or _is_stream(baseline[0]):
        streams = [_stream("--baseline", one) for one in baseline]
        return regression.RunSelection(stream_ids=streams)
    has_start = new.benchmark_time.HasField("start_time")
    start = _moment(
        "--baseline", baseline[0], new.benchmark_time.start_time if has_start else _now()
    )
    return regression.RunSelection(benchmark_time=TimeRange(start_time=start))


def _moment(option: str, text: str, end: Timestamp) -> Timestamp:
    """The day or time, or the moment so long before the end."""
    if re.fullmatch(r"\s*\d+[a-zA-Z]\s*", text):
        return Timestamp(seconds=end.seconds - parse_span(option, text).seconds)
    try:
        return parse_time(option, text)
    except CliError:
        known = "30d, a day such as 2025-09-14"
        streams = ", or the id of a stream" if option == "--baseline" else ""
        raise CliError(f"{option} takes a span such as {known}{streams}, not {text!r}.") from None


def _is_stream(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def _stream(option: str, text: str) -> str:
    if not _is_stream(text):
        raise CliError(f"{option} takes the id of a stream here, not {text!r}.")
    return text


def _share(option: str, text: str) -> float:
    """The share that a percentage is: 0.05 for `5%`. Raises CliError, naming the option."""
    found = re.fullmatch(r"\s*(\d{1,3}(?:\.\d+)?)\s*%\s*", text)
    if found is None:
        raise CliError(f"{option} takes a percentage such as 5%, not {text!r}.")
    return float(found[1]) / 100


def _now() -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(datetime.now(UTC))
    return stamp
